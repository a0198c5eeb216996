"""Where panels are on the page, and what the page needs to draw them: what Grafana's server and scenes would do."""

from dashboard import time_range

CELL, GAP = 30, 8                     # pixels of a row of the grid, and between panels


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
            shown += [one | {"gridPos": one["gridPos"] | {"y": one["gridPos"]["y"] - min(p["gridPos"]["y"] for p in inner) + below}} for one in inner]
        for one in shown:
            grid = one["gridPos"]
            box = {"x": grid["x"] * (column + GAP), "y": (grid["y"] + moved) * (CELL + GAP), "w": grid["w"] * (column + GAP) - GAP, "h": grid["h"] * (CELL + GAP) - GAP}
            if phone:
                box |= {"x": 0, "y": top, "w": width}
            top = max(top, box["y"] + box["h"] + GAP)
            result.append(one | box)
        if len(shown) > 1:
            moved += max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in shown[1:]) - below
    return result, top


def page(dashboard, results, lists, values, now, width, expand, only_panels, span=None):
    """The description that ui/src/main.jsx draws."""
    phone, padding = width < 800, 8 if width < 800 else 16
    if only_panels:
        kept = [panel for row in dashboard["panels"] for panel in [row, *row.get("panels", [])] if panel["id"] in only_panels]
        top = min(panel["gridPos"]["y"] for panel in kept)
        dashboard = dashboard | {"panels": [panel | {"gridPos": panel["gridPos"] | {"y": panel["gridPos"]["y"] - top}, "panels": []} for panel in kept]}
    panels, height = placed(dashboard, width - 2 * padding, phone, expand)
    shown, texts = [], []
    for variable in dashboard["templating"]["list"]:
        value = values.get(variable["name"])
        names = {str(row[0]): str(row[-1]) for row in lists.get(variable["name"], [])}
        text = "All" if value is None else " + ".join(names.get(one, one) for one in value)
        texts.append([variable["name"], text])
        if variable.get("hide", 0) != 2:
            shown.append({"label": variable.get("label") or variable["name"], "text": variable["current"]["text"] if variable["type"] == "datasource" else text})
    start, end = span or time_range(dashboard, now)
    bar = 0 if only_panels else 190 if phone else 80
    return {
        "title": dashboard["title"], "range": f"{(end - start) // 60} minutes of real edges" if span else f"{dashboard['time']['from']} – {dashboard['time']['to']}", "refresh": dashboard.get("refresh"), "from": start * 1000, "to": end * 1000,
        "variables": shown, "texts": texts, "links": [link["title"] for link in dashboard.get("links", [])], "results": results, "panels": panels,
        "width": width, "height": int(height + bar + 2 * padding), "padding": padding, "bar": bar,
    }
