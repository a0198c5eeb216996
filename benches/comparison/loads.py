"""The loads that everybody is measured under."""

import contextlib
import subprocess

from .load import CONNECTIONS, Load
from .servers import Waypost

SIGNS, MANY_SIGNS = 10_000, 1_000_000

# The name in the table, how many signs there are, and the load.
LOADS = {
    "kept-alive": ("kept alive", SIGNS, Load),
    "kept-alive-sqlite": ("kept alive, into SQLite", SIGNS, Load),
    "new-connection": ("new connection", SIGNS, lambda registry: Load(registry, close=True)),
    "hot": ("one hot code", SIGNS, lambda registry: Load(registry, codes=registry.hot())),
    "million": ("1,000,000 signs", MANY_SIGNS, Load),
    "unknown": ("1 in 20 unknown", SIGNS, lambda registry: Load(registry, unknown_one_in=20)),
    "tls-new": ("new TLS connection", SIGNS, lambda registry: Load(registry, close=True, tls=True)),
    "tls-kept-alive": ("TLS, kept alive", SIGNS, lambda registry: Load(registry, tls=True)),
}
# Where Waypost delivers to, if not to the sink.
STORES = {"kept-alive-sqlite": "sqlite"}


def measure(bench):
    """Rounds by load and server."""
    wanted = {name: LOADS[name] for name in LOADS if name in bench.options.only}
    if wanted:
        bench.can_stop_recording = can_stop_recording(bench)
    return {
        title: rounds(bench, title, bench.registry(signs), load, STORES.get(name))
        for name, (title, signs, load) in wanted.items()
    }


def rounds(bench, title, registry, make_load, store):
    load = make_load(registry)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(server) for server in bench.everybody(registry, load.tls, store)]
        found = bench.interleaved(title, {server.name: (server, load) for server in servers})
        # With 1,000,000 signs /metrics is a page of 100 MB.
        if registry.signs == SIGNS:
            for server in servers:
                if isinstance(server, Waypost) and server.logs:
                    server.exact_books()
    return found


def can_stop_recording(bench):
    """Whether this Waypost knows `observe.record`."""
    quiet = bench.waypost(bench.registry(SIGNS), name="quiet", record=False)
    command = [bench.binaries["waypost"], "check", "--config", quiet.config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[0]
        bench.remarks.append(f"recording off was not measured: {said}")
    return done.returncode == 0
