"""Medians, ratios and tables: for the terminal, and for benches/README.md."""

import re
import statistics
from pathlib import Path

from .machine import ROOT, Failure

BEGIN, END = "<!-- compare:begin -->", "<!-- compare:end -->"
# With less of its core in use a server was waiting for the load.
SATURATED = 0.95


class Figure:
    """One value of each round, shown as the median and the least and most."""

    def __init__(self, values):
        self.values = list(values)
        self.median = statistics.median(self.values)

    def show(self, digits):
        least, middle, most = (f"{value:,.{digits}f}" for value in (min(self.values), self.median, max(self.values)))
        return f"{middle} ({least} to {most})" if least != most else middle

    def over(self, other, digits=2):
        """The ratio of each round to the other's same round."""
        return Figure(mine / theirs for mine, theirs in zip(self.values, other.values)).show(digits)

    def minus(self, other):
        return Figure(mine - theirs for mine, theirs in zip(self.values, other.values))


def of(rounds, key):
    return Figure(one[key] for one in rounds)


def costs(results):
    """What each server costs under each load; the first row is the head."""
    yield ["load", "server", "CPU µs a request", "user + system", "× nginx", "requests/s", "× nginx", "peak MB"]
    for load, server, rounds, nginx in each(results):
        cpu, rate = of(rounds, "cpu"), of(rounds, "rate")
        split = f"{of(rounds, 'user').median:.2f} + {of(rounds, 'system').median:.2f}"
        bound = "≥ " if of(rounds, "busy").median < SATURATED else ""
        ratios = cpu.over(of(nginx, "cpu")), rate.over(of(nginx, "rate"))
        yield [load, server, cpu.show(2), split, ratios[0], bound + rate.show(0), ratios[1], peak(rounds)]


def latencies(results):
    """How long an answer takes."""
    yield ["load", "server", "p50 µs", "× nginx", "p99 µs", "× nginx", "p99.9 µs", "× nginx"]
    for load, server, rounds, nginx in each(results):
        both = ((of(rounds, key), of(nginx, key)) for key in ("p50", "p99", "p99.9"))
        yield [load, server, *(cell for mine, theirs in both for cell in (mine.show(0), mine.over(theirs)))]


def each(results):
    for load, servers in results["loads"].items():
        for server, rounds in servers.items():
            yield load, server, rounds, servers["nginx"]


def peak(rounds):
    return f"{max(of(rounds, 'peak').values) / 1e6:,.0f}"


# Most that a scan may cost, in nginx's cost, and whether recording is looked at by itself.
MOST = {
    "kept alive": ("0.80", True), "new connection": ("0.80", True),
    "new TLS connection": ("0.90", False), "TLS, kept alive": ("1.00", False),
}


def targets(results):
    """What was asked for, and what was measured."""
    yield ["target", "asked for", "measured"]
    loads, growth = results["loads"], results["growth"]
    for load, ours in loads.items():
        if load in MOST:
            most, and_recording = MOST[load]
            ratio = of(ours["Waypost"], "cpu").over(of(ours["nginx"], "cpu"))
            yield [f"CPU a scan, {load}, everything on", f"≤ {most} × nginx", f"{ratio} × nginx"]
            without = ours.get("Waypost, not recording")
            if without and and_recording:
                added = of(ours["Waypost"], "cpu").minus(of(without, "cpu"))
                yield [f"what recording adds, {load}", "≤ 1.0 µs", f"{added.show(2)} µs"]
    if memory := growth.get("memory"):
        what = "a sign in memory without its URL text, 1,000 to 1,000,000 signs of one place"
        yield [what, "≤ 64 bytes", f"{memory['sign']:.1f} bytes"]
    if check := growth.get("check"):
        took = f"{of(check, 'cpu').show(2)} s of CPU, {of(check, 'wall').show(2)} s"
        yield ["reading and checking 1,000,000 signs", "≤ 2 s of one core", took]


def growing(results):
    """One quantity at a time is changed and nothing else."""
    growth = results["growth"]
    yield ["what grows", "CPU µs a scan", "ratio", "p50 µs", "p99 µs", "p99.9 µs", "peak MB"]
    for what, cases in growth.get("pairs", {}).items():
        base = None
        for case, rounds in cases.items():
            base = base or rounds
            cpu = of(rounds, "cpu")
            ratio = "" if rounds is base else cpu.over(of(base, "cpu"))
            latency = [of(rounds, key).show(0) for key in ("p50", "p99", "p99.9")]
            yield [f"{what}: {case}", cpu.show(2), ratio, *latency, peak(rounds)]


def remarks(results):
    """One line for each single figure, and for what is wrong with the run."""
    growth = results["growth"]
    for signs, start in growth.get("starts", {}).items():
        yield (
            f"{int(signs):,} signs: ready after {start['wall']:.1f} s ({start['cpu']:.1f} s of CPU until nothing is left "
            f"to do), {start['heap'] / 1e6:,.0f} MB of heap, at most {start['peak'] / 1e6:,.0f} MB resident"
        )
    for kind, servers in growth.get("idle", {}).items():
        sizes = ", ".join(f"{name} {size / 1000:,.1f} kB" for name, size in servers.items())
        yield f"heap for one more idle {kind} connection: {sizes}; without what the kernel has"
    if drain := growth.get("drain"):
        rate = drain["rows"] / drain["seconds"]
        yield (
            f"a backlog of {drain['rows']:,} scans was delivered in {drain['seconds']:.1f} s, {rate:,.0f} rows/s, "
            f"{drain['cpu'] / drain['rows'] * 1e9:,.0f} ns of CPU a row"
        )
    yield from results["remarks"]


def heading(results):
    machine, settings = results["machine"], results["settings"]
    kind = "virtual " if machine["virtual"] else ""
    return (
        f"Measured on {machine['date']} by `benches/compare` at {machine['commit']}: {machine['processor']}, "
        f"{machine['cores']} {kind}cores, Linux {machine['linux']}, nginx {machine['nginx']}, "
        f"HAProxy {machine['haproxy']}, wrk {machine['wrk']}, rustc {machine['rustc']}. Server on one core, load "
        f"({settings['connections']} connections, the next request when the answer is there) on the other; "
        f"{settings['rounds']} rounds of {settings['seconds']} s, the servers in turn; medians (least to most), ratios "
        "within each round."
    )


def notes(results):
    yield (
        "CPU is the server's own, of all its threads, until everything is logged or delivered. Everybody has the same "
        "codes and headers and writes down time, code, status, language, user agent and address: nginx in an access log "
        "with a buffer of 64 KiB, HAProxy by a write for each line to a file, since it has no buffered log to one; Waypost "
        "what it records of them; its 5 s until the last segment is sealed count as well, some 15 ms of CPU a round. nginx "
        "sends a short body with a redirect; only Waypost chooses the target by language, and answers an unknown code "
        "with a page."
    )
    if any("TLS" in load for load in results["loads"]):
        yield (
            "TLS: version 1.3, AES-256-GCM, X25519, the same P-256 certificate. Nobody resumes a session, which is tried "
            "before the rounds, so each new connection is one whole handshake; HAProxy alone sends tickets, good for nothing."
        )
    if any(of(rounds, "busy").median < SATURATED for _, _, rounds, _ in each(results)):
        yield "≥: the load was the limit and the server had some of its core left; the latencies are then also the load's."
    yield "Peak memory is resident, with the pages of mapped files; of nginx, the larger of its two processes."


def aligned(rows):
    """For the terminal."""
    rows = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def markdown(rows):
    head, *rows = list(rows)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows])


def sections(results, table):
    """All there is, the tables made by `table`; a table without rows is left out."""
    yield heading(results)
    for rows in (targets(results), costs(results), latencies(results), growing(results)):
        rows = list(rows)
        if len(rows) > 1:
            yield table(rows)
    if results["loads"]:
        yield " ".join(notes(results))
    if lines := list(remarks(results)):
        yield "\n".join(f"- {line}" for line in lines)


def show(results):
    return "\n\n".join(sections(results, aligned))


def write(results, path=ROOT / "benches/README.md"):
    """Replaces what is between the markers."""
    if not results["settings"]["full"]:
        raise Failure("only the results of a full run are written")
    text = Path(path).read_text(encoding="utf-8")
    between = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.S)
    if len(between.findall(text)) != 1:
        raise Failure(f"{path} needs one line {BEGIN} and, after it, one line {END}")
    body = "\n\n".join(sections(results, markdown)) + "\n"
    Path(path).write_text(between.sub(lambda _: body, text), encoding="utf-8")
