"""Two real edges, scraped by a real Prometheus with the project's rules; one of them breaks its table and is stopped.

Kept as Prometheus' own data folder, so that a dashboard is asked again without running anything.
"""

import contextlib
import http.client
import json
import math
import random
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from dashboard import choices, panels

SCRAPE = 2  # seconds; in production 15, over a day instead of minutes
QUIET = 30  # seconds in the beginning, without a scan
BROKEN, STOPPED = 0.3, 0.5  # of the time: a bad table is written, an edge is stopped
VISITORS = [
    (
        "Mozilla/5.0 (Linux; Android 14; SM-A546E) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Mobile Safari/537.36 Zalo/24.10",
        "vi-VN,vi;q=0.9",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
        "vi-VN",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; 23127PN0CC) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36 MicroMessenger/8.0.50",
        "zh-CN,zh;q=0.9",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Mobile/15E148 Safari/604.1",
        "en-GB,en;q=0.9",
    ),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", ""),
]
CONFIG = """
[edge]
name = "{name}"
listen = ["127.0.0.1:{port}"]
public_url = "https://qr.langson.gov.vn"
workers = 1
[admin]
listen = "127.0.0.1:{admin}"
[registry]
places = "places.csv"
signs = "signs.csv"
overrides = "overrides.csv"
allowed_hosts = ["*.langson.gov.vn", "langson.gov.vn"]
poll = "1s"
[observe]
repeat_window = "1s"
[journal]
dir = "journal"
seal_after = "2s"
[store]
path = "scans.db"
"""
TLS = """
[edge.tls]
listen = ["127.0.0.1:{tls}"]
certificates = [{{ certificate = "tls.pem", key = "tls.key" }}]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def binary(root):
    """The project's release build."""
    built = subprocess.run(
        ["cargo", "build", "--release", "--quiet", "--message-format=json", "--bin", "waypost"],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    messages = (json.loads(line) for line in built.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))


def until(what, holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not after {seconds} s")
        time.sleep(0.05)


def make_certificate(folder, days):
    """A certificate and its key, as an ACME client leaves them."""
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=qr.langson.gov.vn"]
    names = ["-addext", "subjectAltName=DNS:qr.langson.gov.vn", "-days", str(days)]
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.pem"]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
    (folder / "tls.key").chmod(0o600)


class Edge:
    def __init__(self, program, config, folder, name, certificate_days=None):
        self.folder, self.name, self.port, self.admin = folder / name, name, free_port(), free_port()
        self.tls = free_port() if certificate_days else None
        self.folder.mkdir()
        for table in ("places.csv", "signs.csv", "overrides.csv"):
            shutil.copy(config / table, self.folder)
        settings = CONFIG + (TLS if self.tls else "")
        (self.folder / "waypost.toml").write_text(settings.format(**vars(self)), encoding="utf-8")
        if self.tls:
            make_certificate(self.folder, certificate_days)
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [program, "--config", self.folder / "waypost.toml", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        until(f"{name} is ready", self.ready)

    def ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {(self.folder / 'log').read_text()}")
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2).status == 200

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        self.log.close()


def visit(edge, dice, codes):
    """One visitor; now and then a guessed code, a HEAD, or something that is no HTTP."""
    agent, language = dice.choices(VISITORS, [50, 25, 10, 10, 5])[0]
    chance = dice.random()
    with contextlib.suppress(OSError, http.client.HTTPException):
        if chance < 0.01:
            # TLS where none is spoken; where it is, a handshake that comes to nothing.
            port = dice.choice([edge.port, edge.tls or edge.port])
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                connection.recv(100)
            return
        connection = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=2)
        code = "".join(dice.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=8)) if chance < 0.06 else dice.choice(codes)
        connection.request(
            "HEAD" if chance > 0.98 else "GET", f"/{code}", headers={"User-Agent": agent, "Accept-Language": language}
        )
        connection.getresponse().read()
        connection.close()


def load(edges, codes, began, seconds):
    """Some visitors a second, more in the middle, until the time is over."""
    dice = random.Random(5)
    while (elapsed := time.monotonic() - began) < seconds:
        if elapsed < QUIET:
            time.sleep(0.2)
            continue
        wave = 4 + 3 * math.sin(elapsed / seconds * math.tau * 2)
        for edge in edges:
            if edge.process.poll() is None:
                visit(edge, dice, codes)
        time.sleep(dice.expovariate(wave))


def rules(root, folder, targets):
    """The project's prometheus.yml for these targets."""
    config = (root / "config/prometheus/prometheus.yml").read_text(encoding="utf-8")
    static = "".join(
        f'      - {{targets: ["127.0.0.1:{port}"], labels: {{instance: "{name}"}}}}\n' for port, name in targets
    )
    for old, new in [
        ("scrape_interval: 15s", f"scrape_interval: {SCRAPE}s"),
        ("evaluation_interval: 30s", f"evaluation_interval: {SCRAPE}s"),
        ("- rules/", f"- {root}/config/prometheus/rules/"),
        ('      - targets: ["waypost:9090"]\n', static),
    ]:
        if config.count(old) != 1:
            raise RuntimeError(f"expected {old!r} once in prometheus.yml, found {config.count(old)}")
        config = config.replace(old, new)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")


class Prometheus:
    """Over a folder of data. Without a prometheus.yml in it, it scrapes nothing and only answers."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __enter__(self):
        config, log = self.folder / "prometheus.yml", self.folder / "log"
        if not config.exists():
            config.write_text("{}")
        self.log = open(log, "wb")
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--storage.tsdb.retention.time=100y",
            "--web.listen-address=127.0.0.1:0",
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until("Prometheus is ready", lambda: "Server is ready" in log.read_text() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise RuntimeError(log.read_text())
        self.address = re.search(r'msg="Listening on" address=(\S+)', log.read_text())[1]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def ask(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["error"]) from None


def make(folder, root, seconds):
    program = binary(root)
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "work").mkdir(parents=True)
    with open(root / "config/signs.csv", encoding="utf-8") as file:
        codes = [line.split(",")[0] for line in file][1:]
    edges = []
    try:
        for name, days in (("langson-1", 90), ("langson-2", None)):
            edges.append(Edge(program, root / "config", unfinished / "work", name, days))
        rules(root, unfinished, [(edge.admin, f"10.0.0.{number}:9090") for number, edge in enumerate(edges, 11)])
        with Prometheus(unfinished):
            began, start = time.monotonic(), time.time()
            thread = threading.Thread(target=load, args=(edges, codes, began, seconds))
            thread.start()
            time.sleep(seconds * BROKEN)
            (edges[1].folder / "signs.csv").write_text("code,place\nnonsense\n", encoding="utf-8")
            time.sleep(seconds * (STOPPED - BROKEN))
            edges[1].stop()
            thread.join()
            end = time.time()
    finally:
        for edge in edges:
            edge.stop()
    shutil.rmtree(unfinished / "work")
    (unfinished / "prometheus.yml").unlink()
    (unfinished / "made.json").write_text(json.dumps({"start": int(start), "end": int(end)}))
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def spans(folder):
    """What each scenario looks at."""
    made = json.loads((folder / "made.json").read_text())
    return {
        "full": (made["start"], made["end"]),
        "firstday": (made["start"], made["start"] + QUIET - 2),
        "unscraped": (made["start"] - 7200, made["start"] - 3600),
    }


def frames(prometheus, target, panel, span, expr):
    """The answer as Grafana's data source makes frames of it."""
    start, end = span
    name = lambda metric: re.sub(
        r"\{\{\s*(\w+)\s*\}\}", lambda match: metric.get(match[1], ""), target.get("legendFormat") or ""
    )
    number = lambda text: None if text == "NaN" else float(text)
    step = max(SCRAPE, math.ceil((end - start) / (panel["gridPos"]["w"] * 65)))
    rate = max(step + SCRAPE, 4 * SCRAPE)
    for variable, value in (
        ("__rate_interval", f"{rate}s"),
        ("__interval", f"{step}s"),
        ("__range_s", str(end - start)),
        ("__range", f"{end - start}s"),
    ):
        expr = expr.replace(f"${{{variable}}}", value).replace(f"${variable}", value)
    if target.get("instant"):
        answer = prometheus.ask("query", query=expr, time=end)
        series = [{"metric": {}, "value": answer["result"]}] if answer["resultType"] == "scalar" else answer["result"]
        rows = [(one["metric"], [one["value"]]) for one in series]
    else:
        rows = [
            (one["metric"], one["values"])
            for one in prometheus.ask("query_range", query=expr, start=start // step * step, end=end, step=step)[
                "result"
            ]
        ]
    if target.get("format") == "table":
        labels = sorted({label for metric, _ in rows for label in metric})
        flat = [(metric, time_, value) for metric, values in rows for time_, value in values]
        fields = [{"name": "Time", "type": "time", "values": [time_ * 1000 for _, time_, _ in flat]}]
        fields += [
            {"name": label, "type": "string", "values": [metric.get(label, "") for metric, _, _ in flat]}
            for label in labels
        ]
        return (
            [
                {
                    "refId": target["refId"],
                    "fields": [
                        *fields,
                        {"name": "Value", "type": "number", "values": [number(value) for _, _, value in flat]},
                    ],
                }
            ]
            if flat
            else []
        )
    found = []
    for metric, values in rows:
        shown = {"displayNameFromDS": name(metric)} if name(metric) else {}
        found.append(
            {
                "refId": target["refId"],
                "fields": [
                    {
                        "name": "Time",
                        "type": "time",
                        "values": [time_ * 1000 for time_, _ in values],
                        "config": {"interval": step * 1000},
                    },
                    {
                        "name": "Value",
                        "type": "number",
                        "labels": metric,
                        "config": shown,
                        "values": [number(value) for _, value in values],
                    },
                ],
            }
        )
    return found


def answers(dashboard, prometheus, span, chosen):
    """The results of each panel by its id, and each variable's list, as `dashboard.clickhouse` gives them."""
    values, results, lists = choices(dashboard, chosen), {}, {}
    everything = {variable["name"]: variable.get("allValue") or ".*" for variable in dashboard["templating"]["list"]}

    def filled(text):
        for name, value in values.items():
            shown = everything[name] if value is None else "|".join(value)
            text = text.replace(f"${{{name}:regex}}", shown).replace(f"${{{name}}}", shown).replace(f"${name}", shown)
        return text

    for variable in dashboard["templating"]["list"]:
        query = variable.get("query")
        if (
            variable["type"] == "query"
            and isinstance(query, dict)
            and (match := re.fullmatch(r"label_values\((.*), *(\w+)\)", query.get("query", "")))
        ):
            found = prometheus.ask("series", **{"match[]": filled(match[1]), "start": span[0], "end": span[1]})
            lists[variable["name"]] = sorted({(one.get(match[2], ""),) for one in found})
    for panel in panels(dashboard):
        for target in panel.get("targets", []):
            if "expr" in target:
                try:
                    answer = {"frames": frames(prometheus, target, panel, span, filled(target["expr"]))}
                except RuntimeError as error:
                    answer = {"error": str(error)[:600]}
                results.setdefault(str(panel["id"]), []).append(answer | {"refId": target["refId"]})
    return results, lists, values
