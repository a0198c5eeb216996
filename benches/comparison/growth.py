"""What happens when one thing grows: workers, signs, connections, what is stored, addresses, languages, background work."""

import contextlib
import os
import resource
import subprocess
import threading
import time

from .load import CLIENTS, CONNECTIONS, Load, held_open
from .loads import MANY_SIGNS, SIGNS
from .machine import LOAD_CORE, SERVER_CORE, Failure, on_cores, wait_for
from .registry import LANGUAGES, code
from .servers import Sink

BOTH = (SERVER_CORE, LOAD_CORE)
# Most seconds of a round here: there are many, and they are compared with each other alone.
SECONDS = 2
OPEN = (1_000, 10_000)
# Connections that are held to see how much memory one takes.
IDLE = 5_000
MOST_SIGNS = 10_000_000
# What reading 10 million signs needs, with room.
MEMORY_FOR_MOST_SIGNS = 8e9
# Scans of a store that is asked and added to; its times are of so many days, and it is filled in so many parts.
STORED, DAYS, PARTS = (1_000_000, 10_000_000), 90, 10
# Far longer than it takes to store a part of 100 million.
FILLED = 600
# Addresses of visitors; 0 is all of the internet.
ADDRESSES = (1, 256, 65_536, 0)
# Each has a visitor, and a target of every place, or else the first is served.
SPOKEN = (*LANGUAGES, "fr", "de", "ja", "ko", "ru", "es", "it", "pt", "th", "lo", "km", "id", "ms", "hi", "ar", "pl", "nl")
SPEAKERS = [(CLIENTS[at % len(CLIENTS)][0], f"{language},{language};q=0.9", language) for at, language in enumerate(SPOKEN)]
# Seconds after which no segment is sealed any more: `journal.seal_after` and a bit.
SEALED = 3
# Longer than it takes to fill some segments.
NEVER_IDLE = 20


def measure(bench):
    """Figures by question."""
    results = {"pairs": {}}
    for name, question in QUESTIONS.items():
        if name in bench.options.only:
            question(bench, results)
    return results


def compare(bench, results, title, cases):
    results["pairs"][title] = bench.interleaved(title, cases, SECONDS)


def edge(bench, registry, name, journal="", look="", **options):
    """One that seals after a second, so that not most of a run is waiting; with further lines of two sections."""
    more = {"journal": f'seal_after = "1s"\n{journal}', "registry": look}
    return bench.waypost(registry, name=name, more=more, **options)


def memory(bench, results):
    """Heap for one more sign of the same place: no URL text comes with it.

    Without a country database: the 5 MB that reading one leaves to the allocator are returned
    in a small process and kept in a large one, and would pass for 5 bytes of each sign. Into SQLite:
    of the blocks of signs that ClickHouse is sent, one stays with the allocator, however many there
    were, and would pass for 16 bytes.
    """
    heap = {}
    for signs in (1_000, MANY_SIGNS):
        registry = bench.registry(signs, signs)
        with bench.waypost(registry, name="memory", countries=False, store="sqlite") as server:
            heap[signs] = server.process.memory("RssAnon")
            print(f"memory: {signs:,} signs of one place, {heap[signs] / 1e6:.1f} MB of heap", flush=True)
    results["memory"] = {"sign": (heap[MANY_SIGNS] - heap[1_000]) / (MANY_SIGNS - 1_000)}


def check(bench, results):
    """`waypost check` of a million signs, on one core."""
    server = bench.waypost(bench.registry(MANY_SIGNS), name="check")
    results["check"] = []
    for number in range(bench.options.rounds):
        began = time.monotonic()
        command = on_cores((SERVER_CORE,), bench.binaries["waypost"], "check", "--config", server.config)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise Failure(f"waypost check ended with {child.returncode}")
        one = {"wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}
        results["check"].append(one)
        print(f"check, round {number + 1}: {one['cpu']:.2f} s of CPU, {one['wall']:.2f} s", flush=True)


def keeping_up(bench, results):
    """A core that never idles: is what is recorded stored, by both stores? Long enough for several segments."""
    registry = bench.registry(SIGNS)
    load, results["keeping up"] = Load(registry), {}
    for store in ("clickhouse", "sqlite"):
        with bench.waypost(registry, name=f"keeping-up-{store}", store=store) as server:
            one = bench.round(server, load, bench.options.seconds if bench.options.quick else NEVER_IDLE, 1)
        results["keeping up"][store] = one
        bench.say("keeping up", store, 0, one)


def workers(bench, results):
    """Server and load share two cores: with two workers there is none left for the load."""
    registry = bench.registry(SIGNS)
    load = Load(registry, cores=BOTH)
    with contextlib.ExitStack() as stack:
        servers = [edge(bench, registry, f"workers-{count}", cores=BOTH, workers=count) for count in (1, 2)]
        cases = {str(server.workers): (stack.enter_context(server), load) for server in servers}
        compare(bench, results, "workers, load on the same two cores", cases)


def connections(bench, results):
    """Most of them idle; as many are active as ever."""
    registry = bench.registry(SIGNS)
    load = Load(registry)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < max(OPEN) + 1000:
        bench.remarks.append(f"{max(OPEN):,} open connections were not measured: too few descriptors (ulimit -Hn)")
        return

    def crowd(count):
        @contextlib.contextmanager
        def held(server):
            with held_open(server.port, f"/{code(0)}", count - CONNECTIONS):
                server.process.wait_until_idle()
                yield count - CONNECTIONS
            server.process.wait_until_idle()

        return held

    kinds = {"nginx": bench.nginx, "Waypost": lambda registry, name: edge(bench, registry, name)}
    for name, kind in kinds.items():
        # One server for each, or all would have the memory that 10,000 connections have left behind.
        with contextlib.ExitStack() as stack:
            begun = lambda count: stack.enter_context(kind(registry, name=f"open-{count}"))
            cases = {f"{CONNECTIONS}": (begun(CONNECTIONS), load)}
            cases |= {f"{count:,}, {CONNECTIONS} of them active": (begun(count), load, crowd(count)) for count in OPEN}
            compare(bench, results, f"open connections of {name}", cases)


def idle(bench, results):
    """Heap for one more connection that has had its answer; the kernel's part is not in it."""
    registry, count = bench.registry(SIGNS), IDLE // 10 if bench.options.quick else IDLE
    results["idle"] = {}
    for tls in (False, True):
        # Without a country database, as `memory`.
        for server in (bench.nginx(registry, tls=tls), bench.waypost(registry, tls=tls, countries=False)):
            with server:
                before = server.process.memory("RssAnon")
                with held_open(server.port, f"/{code(0)}", count, tls):
                    server.process.wait_until_idle()
                    each = (server.process.memory("RssAnon") - before) / count
            results["idle"].setdefault("TLS" if tls else "plain", {})[server.name] = each
            print(f"idle: {count:,} connections of {server.name}, TLS {tls}, {each:,.0f} bytes each", flush=True)


def signs(bench, results):
    """CPU for a scan, start and memory with 10,000 to 10,000,000 signs; a server starts on both cores."""
    most = MANY_SIGNS if bench.options.quick else MOST_SIGNS
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    if available < MEMORY_FOR_MOST_SIGNS and most == MOST_SIGNS:
        bench.remarks.append(f"{most:,} signs were not measured: too little memory")
        most = MANY_SIGNS
    results["starts"], cases = {}, {}
    with contextlib.ExitStack() as stack:
        for count in sorted({SIGNS, 10 * SIGNS, MANY_SIGNS, most}):
            server = edge(bench, bench.registry(count), f"signs-{count}", cores=BOTH)
            began = time.monotonic()
            stack.enter_context(server)
            results["starts"][count] = {
                "wall": server.was_ready - began, "cpu": sum(server.process.cpu()),
                "heap": server.process.memory("RssAnon"), "peak": server.process.memory("VmHWM"),
                "held": server.process.memory("VmRSS"),
            }
            server.process.move((SERVER_CORE,))
            print(f"signs: {count:,} ready after {server.was_ready - began:.2f} s", flush=True)
            cases[f"{count:,}"] = (server, Load(bench.registry(count)))
        compare(bench, results, "signs", cases)


def stored(bench, results):
    """What the embedded store has already: does adding to it, or asking it, get slower?"""
    registry = bench.registry(SIGNS)
    load = Load(registry)
    sizes = sorted({size // 10 if bench.options.quick else size for size in (*STORED, bench.options.stored)} - {0})
    results["stored"] = {}
    with contextlib.ExitStack() as stack:
        cases = {"none": (stack.enter_context(edge(bench, registry, "stored-0", store="sqlite")), load)}
        for size in sizes:
            server = edge(bench, registry, f"stored-{size}", store="sqlite")
            results["stored"][size] = filled(bench, server, size)
            cases[f"{size:,}"] = (stack.enter_context(server), load)
        compare(bench, results, "scans stored in SQLite", cases)


def filled(bench, server, size):
    """The edge itself stores so many scans, a part after another: how quickly each; then what asking costs."""
    rates, now, day = [], int(time.time() * 1000), 86_400_000
    at = lambda part: now - DAYS * day + DAYS * day * part // PARTS
    for part in range(PARTS):
        arguments = [server.folder / "journal", size // PARTS, server.registry.codes(), at(part), at(part + 1)]
        subprocess.run([bench.binaries["backlog"], *map(str, arguments)], check=True)
        server.start()
        try:
            waiting, began = server.scans()["pending"], time.monotonic()
            wait_for("a part is stored", lambda: not server.segments("sealed"), timeout=FILLED, pause=0.01)
            rates.append(waiting / (time.monotonic() - began))
        finally:
            server.process.stop()
    print(f"stored: {size:,} scans, rows/s {rates[0]:,.0f} at first, {rates[-1]:,.0f} at last", flush=True)
    questions = {
        "by day": ["--by", "day"], "by sign": ["--by", "sign"], "by country": ["--by", "country"],
        "the last week by sign": ["--by", "sign", "--from", time.strftime("%Y-%m-%d", time.localtime(now / 1000 - 7 * 86_400))],
    }
    asked = {}
    for question, words in questions.items():
        command = on_cores((SERVER_CORE,), bench.binaries["waypost"], "usage", "--config", server.config, *words)
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        asked[question] = time.monotonic() - began
        print(f"stored: usage {question} of {size:,} scans took {asked[question]:.2f} s", flush=True)
    return {"rates": rates, "asked": asked, "bytes": (server.folder / "waypost.db").stat().st_size}


def addresses(bench, results):
    """Visitors of one address, of some, of the whole internet: what is looked up is in the caches, or is not."""
    registry = bench.registry(SIGNS)
    with edge(bench, registry, "addresses") as server:
        names = {count: f"{count:,}" if count else "all of the internet" for count in ADDRESSES}
        cases = {names[count]: (server, Load(registry, addresses=count)) for count in ADDRESSES}
        compare(bench, results, "addresses of visitors", cases)


def languages(bench, results):
    """Languages of every target, the visitors' being 20."""
    with contextlib.ExitStack() as stack:
        cases = {}
        for count in (1, len(LANGUAGES), len(SPOKEN)):
            registry = bench.registry(SIGNS, languages=SPOKEN[:count])
            server = stack.enter_context(edge(bench, registry, f"languages-{count}"))
            server.verify(SPEAKERS)
            cases[str(count)] = (server, Load(registry, clients=SPEAKERS))
        compare(bench, results, "languages in the tables, of 20 visitors'", cases)


def background(bench, results):
    """What goes on beside the scans, one at a time less or more; at last the scans that were not delivered are."""
    registry = bench.registry(SIGNS)
    load = Load(registry)
    with Sink(bench.binaries["clickhouse_sink"]) as sink, contextlib.ExitStack() as stack:
        begun = lambda name, **options: stack.enter_context(edge(bench, registry, f"background-{name}", **options))
        on = begun("on")
        stuck = begun("stuck", sink=sink)
        sink.answer(False)
        stuck.delivers = False
        cases = {
            "all of it": (on, load),
            "metrics scraped each second": (on, load, scraped),
            "the store does not answer, delivery not counted": (stuck, load),
            "the journal synced every 60 s": (begun("unsynced", journal='sync_every = "60s"'), load),
            "the tables looked at once an hour": (begun("unwatched", look='poll = "1h"'), load),
            "no country database": (begun("countries", countries=False), load),
            "nothing recorded": (begun("record", record=False), load),
        }
        try:
            compare(bench, results, "background work", cases)
            # The last segment is sealed at its age.
            rests = lambda: time.time() - newest(stuck.segments("sealed")) > SEALED
            wait_for("the last scans are sealed", rests, pause=0.5)
            rows, began, before = stuck.scans()["pending"], time.monotonic(), sum(stuck.process.cpu())
        finally:
            sink.answer(True)
        wait_for("the backlog is delivered", lambda: not stuck.segments("sealed"), pause=0.005)
        cpu, seconds = sum(stuck.process.cpu()) - before, time.monotonic() - began
        # Without those of the segment that was not sealed.
        results["drain"] = {"rows": rows - stuck.scans()["pending"], "seconds": seconds, "cpu": cpu}
        wait_for("the books balance", lambda: stuck.scans()["pending"] == 0)


@contextlib.contextmanager
def scraped(server):
    over = threading.Event()

    def scrape():
        while not over.wait(1):
            server.get("/metrics")

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield 0
    finally:
        over.set()
        thread.join()


def newest(files):
    return max(file.stat().st_ctime for file in files)


# The chapter "growth".
CHAPTER = {
    "workers": workers,
    "signs": signs,
    "connections": connections,
    "stored": stored,
    "addresses": addresses,
    "languages": languages,
    "background": background,
}
QUESTIONS = {"memory": memory, "check": check, "tls-idle": idle, "keeping-up": keeping_up} | CHAPTER
