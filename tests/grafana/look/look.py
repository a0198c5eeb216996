"""Draws every panel of the dashboards with Grafana's own components, over a made history, into pictures.

    tests/grafana/look/run                                     # all: dashboards, scenarios, themes
    tests/grafana/look/run --only health --theme dark          # one, in seconds
    tests/grafana/look/run --dashboards DIR --out DIR          # edited copies

The history and the components are made once, in target/look, and kept. Several may run at a time with a folder
of pictures each.
"""

import argparse
import contextlib
import fcntl
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import browser
import dashboard as dashboards
import edges
import health
import history
import layout
import store

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / "target/look"
HERE = Path(__file__).resolve().parent
SCENARIOS = {
    "full": "150 days of scans, and one of everything that can be wrong",
    "firstday": "the registry is there, and nothing was scanned yet",
    "noregistry": "scans, and no registry in the store",
    "nocountry": "no country database",
    "unscraped": "Prometheus has no edge yet (edge alone; it has full, firstday and this)",
}
DATABASES = ("full", "firstday", "noregistry", "nocountry")
WIDTHS = {"dark": ("dark", 1600), "light": ("light", 1600), "phone": ("dark", 400)}
BOARDS = ("usage", "sign", "health", "edge")


def options():
    parser = argparse.ArgumentParser(
        prog="tests/grafana/look/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dashboards",
        type=Path,
        default=ROOT / "grafana/dashboards",
        metavar="DIR",
        help="the dashboards' folder (grafana/dashboards)",
    )
    parser.add_argument(
        "--out", type=Path, default=KEPT / "pictures", metavar="DIR", help="where pictures go (target/look/pictures)"
    )
    parser.add_argument("--only", default=",".join(BOARDS), help=f"some of {','.join(BOARDS)}")
    parser.add_argument(
        "--scenario",
        default="",
        help="some of " + "; ".join(f"{name}: {what}" for name, what in SCENARIOS.items()) + " (all)",
    )
    parser.add_argument(
        "--theme",
        default="",
        help="some of dark, light, phone (dark for all scenarios, light and phone for the full one)",
    )
    parser.add_argument("--panels", default="", metavar="IDS", help="these panels alone: 8,9")
    parser.add_argument("--expand", action="store_true", help="open collapsed rows")
    parser.add_argument(
        "--var",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a variable; of sign also a word: busy, silent, quiet, never, rare, new, street, retired, planned, abroad",
    )
    parser.add_argument(
        "--new", action="store_true", help="make the history anew (otherwise when its code has changed)"
    )
    parser.add_argument("--edge-seconds", type=int, default=300, metavar="N", help="how long the made edges run (300)")
    parser.add_argument("--no-pictures", action="store_true", help="ask the queries only")
    chosen = parser.parse_args()
    chosen.only, chosen.scenario, chosen.theme = (
        list(filter(None, text.split(","))) for text in (chosen.only, chosen.scenario, chosen.theme)
    )
    for given, known in ((chosen.only, BOARDS), (chosen.scenario, SCENARIOS), (chosen.theme, WIDTHS)):
        if unknown := set(given) - set(known):
            parser.error(f"expected some of {', '.join(known)}, found {', '.join(sorted(unknown))}")
    return chosen


def make_history(folder, now):
    """A database for each scenario, in one folder."""
    shutil.rmtree(folder, ignore_errors=True)
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    made = history.of_the_sample(ROOT / "config", now)
    database = store.Store(unfinished)
    statements = store.schema(ROOT)
    for scenario in DATABASES:
        store.create(database, statements, scenario)
        if scenario != "noregistry":
            history.fill_signs(database, made, scenario)
    history.fill_scans(database, made, "full")
    for scenario, country in (("noregistry", "country"), ("nocountry", "''")):
        columns = history.SCAN_COLUMNS.replace(" country,", f" {country} AS country,")
        database.do(f"INSERT INTO {scenario}.scans ({history.SCAN_COLUMNS}) SELECT {columns} FROM full.scans")
    for scenario, reasons in (
        ("full", ("planned", "retired", "abroad", "burst")),
        ("nocountry", ("planned", "retired", "burst")),
    ):
        health.fill_health(database, made, scenario, reasons=reasons)
    database.close()
    (unfinished / "made.json").write_text(json.dumps({"now": now, "notable": made.notable}))
    unfinished.rename(folder)


def current(folder, sources):
    """Whether what is kept was made by these sources."""
    mark = "\n".join(f"{source.name} {source.read_text(encoding='utf-8')}" for source in sources)
    file = folder / "made-by"
    return (file.exists() and file.read_text(encoding="utf-8") == mark), lambda: file.write_text(mark, encoding="utf-8")


@contextlib.contextmanager
def alone(name):
    """What is kept is made by one at a time; the others wait."""
    with open(KEPT / f"{name}.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def kept_history(again):
    folder = KEPT / "history"
    fresh, mark = current(folder, [HERE / name for name in ("history.py", "health.py")])
    if again or not fresh:
        print("making the history (once)", flush=True)
        make_history(folder, int(time.time()) // 60 * 60)
        mark()
    return folder


def kept_edges(again, seconds):
    folder = KEPT / "edges"
    fresh, mark = current(folder, [HERE / "edges.py"])
    if again or not fresh:
        print(f"running two edges for {seconds} s (once)", flush=True)
        edges.make(folder, ROOT, seconds)
        mark()
    return folder


def kept_ui():
    """Grafana's components and our page, built once for each state of the page."""
    sources = sorted(path for path in (HERE / "ui").rglob("*") if path.is_file())
    fresh, mark = current(KEPT / "dist", [HERE / "package.json", *sources])
    if not fresh:
        print("building the page (once)", flush=True)
        ui = KEPT / "ui"
        shutil.rmtree(ui / "src", ignore_errors=True)
        shutil.copytree(HERE / "ui", ui, dirs_exist_ok=True)
        subprocess.run(
            ["npx", "vite", "build", "--logLevel", "error", "--outDir", KEPT / "dist", "--emptyOutDir"],
            cwd=ui,
            check=True,
        )
        mark()


class Files(SimpleHTTPRequestHandler):
    """The built page, the made descriptions, and Grafana's icons and fonts where its components look for them."""

    def __init__(self, *rest, data):
        self.places = {
            "/data/": data,
            "/public/fonts/inter/": KEPT / "ui/node_modules/inter-ui/web",
            "/public/build/": KEPT / "ui/node_modules/@grafana/ui/dist/public",
            "/public/": KEPT / "ui/node_modules/@grafana/ui/dist/public",
            "/": KEPT / "dist",
        }
        super().__init__(*rest)

    def translate_path(self, path):
        path = path.split("?")[0]
        prefix = next(prefix for prefix in self.places if path.startswith(prefix))
        return str(self.places[prefix] / (path[len(prefix) :] or "index.html"))

    def log_message(self, *_):
        pass


def answers(chosen, work):
    """(scenario, name, dashboard, results, lists, values, now, time range) of everything that was asked for."""
    others = [name for name in chosen.only if name != "edge"]
    scenarios = chosen.scenario or list(SCENARIOS)
    variables = dict(text.split("=", 1) for text in chosen.var)
    if others:
        with alone("history"):
            kept = kept_history(chosen.new)
            shutil.copytree(kept, work / "history", symlinks=True)
        made = json.loads((work / "history/made.json").read_text())
        engine = store.Store(work / "history")
        for scenario in filter(DATABASES.__contains__, scenarios):
            for name in others:
                board = dashboards.load(chosen.dashboards, name)
                given = dict(variables)
                if "sign" in given or name == "sign":
                    given["sign"] = made["notable"].get(given.get("sign", "busy"), given.get("sign"))
                results, lists, values = dashboards.clickhouse(
                    board, functools.partial(engine.ask, scenario), made["now"], given
                )
                yield scenario, name, board, results, lists, values, made["now"], None
        engine.close()
    if "edge" in chosen.only:
        board = dashboards.load(chosen.dashboards, "edge")
        with alone("edges"):
            kept = kept_edges(chosen.new, chosen.edge_seconds)
            shutil.copytree(kept, work / "edges")
        with edges.Prometheus(work / "edges") as prometheus:
            for scenario in scenarios:
                if span := edges.spans(work / "edges").get(scenario):
                    results, lists, values = edges.answers(board, prometheus, span, variables)
                    yield scenario, "edge", board, results, lists, values, span[1], span


def main():
    chosen = options()
    chosen.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="look-", dir=KEPT) as work:
        work = Path(work)
        (work / "data").mkdir()
        pictures = []
        for scenario, name, board, results, lists, values, now, span in answers(chosen, work):
            titles = {str(panel["id"]): panel.get("title", "") for panel in dashboards.panels(board)}
            for panel, some in results.items():
                for answer in some:
                    if "error" in answer:
                        failed += 1
                        print(
                            f"{scenario} {name}: panel {panel} ({titles[panel]}) {answer['refId']}: {answer['error']}",
                            flush=True,
                        )
            for theme in chosen.theme or (list(WIDTHS) if scenario == "full" else ["dark"]):
                only = {int(number) for number in chosen.panels.split(",")} if chosen.panels else None
                page = layout.page(board, results, lists, values, now, WIDTHS[theme][1], chosen.expand, only, span)
                key = f"{name}-{scenario}-{theme}"
                (work / "data" / f"{key}.json").write_text(json.dumps(page, ensure_ascii=False), encoding="utf-8")
                pictures.append((key, WIDTHS[theme], page["height"]))
        if not chosen.no_pictures:
            with alone("page"):
                kept_ui()
            server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, data=work / "data"))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            chromium = browser.Browser()
            for key, (theme, width), height in pictures:
                file = chosen.out / f"{key}.png"
                for complaint in chromium.picture(
                    f"http://127.0.0.1:{server.server_address[1]}/?s={key}&theme={theme}", width, height, file
                ):
                    print(f"{key}: {complaint}")
                print(file, flush=True)
            chromium.close()
            server.shutdown()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
