"""Where panels are on the page, and what the page needs to draw them: what Grafana's server and scenes would do."""

import re
from pathlib import Path

from dashboard import panels as every_panel
from dashboard import time_range

ROOT = Path(__file__).resolve().parents[3]
CELL, GAP = 30, 8  # pixels of a row of the grid, and between panels


def placed(dashboard, width, phone, expand):
    """Each panel with its pixels, and the height of all. On a phone they stand one below the other."""
    column = (width - 23 * GAP) / 24
    order = lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"])
    result, top, moved = [], 0, 0
    for panel in sorted(dashboard["panels"], key=order):
        inner = sorted(panel.get("panels", []), key=order)
        shown = [panel | {"open": bool(expand or not panel.get("collapsed")), "panels": inner}]
        below = panel["gridPos"]["y"] + 1
        if inner and expand:
            # An opened row pushes what is below it down, as in Grafana.
            up = min(one["gridPos"]["y"] for one in inner) - below
            shown += [one | {"gridPos": one["gridPos"] | {"y": one["gridPos"]["y"] - up}} for one in inner]
        for one in shown:
            grid = one["gridPos"]
            box = {"x": grid["x"] * (column + GAP), "w": grid["w"] * (column + GAP) - GAP}
            box |= {"y": (grid["y"] + moved) * (CELL + GAP), "h": grid["h"] * (CELL + GAP) - GAP}
            if phone:
                box |= {"x": 0, "y": top, "w": width}
            top = max(top, box["y"] + box["h"] + GAP)
            result.append(one | box)
        if len(shown) > 1:
            moved += max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in shown[1:]) - below
    return result, top


def date_formats():
    """Grafana's formats of dates by the end of their settings' names, as config/compose.yaml sets them."""
    text = (ROOT / "config/compose.yaml").read_text(encoding="utf-8")
    return {name.lower(): form for name, form in re.findall(r"GF_DATE_FORMATS_(\w+): (.+)", text)}


def page(dashboard, results, lists, values, now, width, expand, only_panels, span=None):
    """The description that ui/src/main.jsx draws; of a board of edges `span` is the time that they ran."""
    phone, padding = width < 800, 8 if width < 800 else 16
    if only_panels:
        kept = [panel for panel in every_panel(dashboard) if panel["id"] in only_panels]
        if not kept:
            raise SystemExit(f"expected panels of {dashboard['title']}, found none with {sorted(only_panels)}")
        top = min(panel["gridPos"]["y"] for panel in kept)
        moved = (
            panel | {"gridPos": panel["gridPos"] | {"y": panel["gridPos"]["y"] - top}, "panels": []} for panel in kept
        )
        dashboard = dashboard | {"panels": list(moved)}
    panels, height = placed(dashboard, width - 2 * padding, phone, expand)
    shown, texts = [], []
    for variable in dashboard["templating"]["list"]:
        value = values.get(variable["name"])
        names = {str(row[0]): str(row[-1]) for row in lists.get(variable["name"], [])}
        text = "All" if value is None else " + ".join(names.get(one, one) for one in value)
        texts.append([variable["name"], text])
        if variable.get("hide", 0) != 2:
            source = variable["type"] == "datasource"
            shown.append(
                {
                    "label": variable.get("label") or variable["name"],
                    "text": variable["current"]["text"] if source else text,
                }
            )
    start, end = span or time_range(dashboard, now)
    bar = 0 if only_panels else 190 if phone else 80
    length = (
        f"{(end - start) // 60} minutes of real edges"
        if span
        else f"{dashboard['time']['from']} – {dashboard['time']['to']}"
    )
    return {
        "title": dashboard["title"],
        "range": length,
        "refresh": dashboard.get("refresh"),
        "dates": date_formats(),
        "from": start * 1000,
        "to": end * 1000,
        "variables": shown,
        "texts": texts,
        "links": [link["title"] for link in dashboard.get("links", [])],
        "results": results,
        "panels": panels,
        "width": width,
        "height": int(height + bar + 2 * padding),
        "padding": padding,
        "bar": bar,
    }
