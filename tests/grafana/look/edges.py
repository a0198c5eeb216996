def kept(*_): raise SystemExit("edges: not yet")
