"""Medians, ratios and tables: for the terminal, and for benches/README.md."""

import re
import statistics
from pathlib import Path

from .machine import ROOT, Failure

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


# Whose p99 and p99.9 are looked at, and whose threads: what a core that never idles shows.
NEVER_IDLE = ("kept alive", "kept alive, into SQLite")
# Most that a scan may cost, in nginx's cost (of a build without the compiler's profile), and whether recording is
# looked at by itself.
MOST = {
    "kept alive": ("0.92", True), "new connection": ("0.62", True),
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
                yield [f"what recording adds, {load}, visitors from all of the internet", "≤ 1.0 µs", f"{added.show(2)} µs"]
        if load in NEVER_IDLE:
            for key in ("p99", "p99.9"):
                ratio = of(ours["Waypost"], key).over(of(ours["nginx"], key))
                yield [f"{key}, {load}, a core that never idles", "≤ 1.5 × nginx", f"{ratio} × nginx"]
    for store, one in growth.get("keeping up", {}).items():
        left = f"{one['left']['segments']}, and {one['left']['scans']:,} of {one['requests']:,} scans, those of the open one too"
        yield [f"sealed segments left after {one['seconds']:.0f} s on a core that never idles, {store}", "≤ 2", left]
    if idle := growth.get("idle"):
        yield ["heap for one more idle connection, plain", "≤ 18 kB", f"{idle['plain']['Waypost'] / 1000:.1f} kB"]
    for signs, start in growth.get("starts", {}).items():
        if int(signs) == 10_000_000:
            yield ["10,000,000 signs ready, on two cores", "≤ 8 s", f"{start['wall']:.1f} s"]
            most = start["peak"] / start["held"]
            yield ["most memory meanwhile ÷ what it holds afterwards, both resident", "≤ 1.5", f"{most:.2f}"]
    if memory := growth.get("memory"):
        what = "a sign in memory without its URL text, 1,000 to 1,000,000 signs of one place"
        yield [what, "≤ 64 bytes", f"{memory['sign']:.1f} bytes"]
    if check := growth.get("check"):
        took = f"{of(check, 'cpu').show(2)} s of CPU, {of(check, 'wall').show(2)} s"
        yield ["reading and checking 1,000,000 signs", "≤ 2 s of one core", took]


def threads(results):
    """Who had the server's core, in turns of what length, and how long each turn was waited for."""
    yield ["load", "server", "thread", "CPU ms a second", "turns a second", "ms a turn", "waited ms a second", "ms a wait"]
    for load, server, rounds, _ in each(results):
        if load in NEVER_IDLE and server in ("nginx", "Waypost"):
            seconds = sum(one["took"] for one in rounds)
            for thread in sorted({name for one in rounds for name in one["threads"]}):
                total = lambda key: sum(one["threads"].get(thread, {key: 0})[key] for one in rounds)
                cpu, waited, turns = total("cpu") * 1e3, total("waited") * 1e3, total("turns")
                # What does next to nothing takes nobody's core.
                if cpu / seconds >= 0.1:
                    per_second = f"{cpu / seconds:.1f}", f"{turns / seconds:,.0f}", f"{waited / seconds:.1f}"
                    each_turn = f"{cpu / turns:.2f}", f"{waited / turns:.2f}"
                    yield [load, server, thread, *per_second[:2], each_turn[0], per_second[2], each_turn[1]]


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


def grown(results):
    """One line for each single figure of what grows, and for what is wrong with them."""
    growth = results["growth"]
    for signs, start in growth.get("starts", {}).items():
        yield (
            f"{int(signs):,} signs: ready after {start['wall']:.1f} s ({start['cpu']:.1f} s of CPU until nothing is left "
            f"to do), {start['heap'] / 1e6:,.0f} MB of heap, {start['held'] / 1e6:,.0f} MB resident, at most "
            f"{start['peak'] / 1e6:,.0f} MB"
        )
    for scans, store in growth.get("stored", {}).items():
        rates, asked = store["rates"], ", ".join(f"{question} {took:.2f} s" for question, took in store["asked"].items())
        yield (
            f"{int(scans):,} scans into SQLite: the first {len(rates)}th at {rates[0]:,.0f} rows/s, the last at "
            f"{rates[-1]:,.0f}; {store['bytes'] / int(scans):,.0f} bytes a scan; `waypost usage`: {asked}"
        )
    if drain := growth.get("drain"):
        rate = drain["rows"] / drain["seconds"]
        yield (
            f"a backlog of {drain['rows']:,} scans was delivered in {drain['seconds']:.1f} s, {rate:,.0f} rows/s, "
            f"{drain['cpu'] / drain['rows'] * 1e9:,.0f} ns of CPU a row"
        )
    yield from (remark for remark in results["remarks"] if of_growth(results, remark))


def of_growth(results, remark):
    """A remark begins with what it is about."""
    return remark.startswith(tuple(results["growth"].get("pairs", {})))


def remarks(results):
    """What is left: figures of no table, and what is wrong with the run."""
    growth = results["growth"]
    for kind, servers in growth.get("idle", {}).items():
        sizes = ", ".join(f"{name} {size / 1000:,.1f} kB" for name, size in servers.items())
        yield f"heap for one more idle {kind} connection: {sizes}; without what the kernel has"
    yield from (remark for remark in results["remarks"] if not of_growth(results, remark))


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
    """By part of benches/README.md: all there is, the tables made by `table`; a table without rows is left out."""

    def tables(*all_rows):
        return [table(rows) for rows in map(list, all_rows) if len(rows) > 1]

    def listed(lines):
        return ["\n".join(f"- {line}" for line in lines)] if lines else []

    compared = tables(targets(results), costs(results), latencies(results), threads(results))
    if results["loads"]:
        compared.append(" ".join(notes(results)))
    yield "compare", [heading(results), *compared, *listed(list(remarks(results)))]
    yield "growth", [*tables(growing(results)), *listed(list(grown(results)))]


def show(results):
    return "\n\n".join(text for _, texts in sections(results, aligned) for text in texts)


def write(results, path=ROOT / "benches/README.md"):
    """Replaces what is between the markers of each part that the run has all of."""
    parts = results["settings"]["parts"]
    if not parts:
        raise Failure("only the results of a full run, or of --only growth, are written")
    text = Path(path).read_text(encoding="utf-8")
    for part, texts in sections(results, markdown):
        if part in parts:
            begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
            between = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.S)
            if len(between.findall(text)) != 1:
                raise Failure(f"{path} needs one line {begin} and, after it, one line {end}")
            # The first part says where all of them were measured.
            heads = [] if "compare" in parts else [heading(results)]
            body = "\n\n".join(heads + texts) + "\n"
            text = between.sub(lambda _: body, text)
    Path(path).write_text(text, encoding="utf-8")
