"""What happens when one thing grows: signs, workers, open connections, the backlog."""

import contextlib
import os
import resource
import subprocess
import time

from .load import CLIENTS, CONNECTIONS, Load, held_open
from .loads import MANY_SIGNS, SIGNS
from .machine import LOAD_CORE, SERVER_CORE, Failure, on_cores, wait_for
from .registry import code
from .servers import Sink

BOTH = (SERVER_CORE, LOAD_CORE)
OPEN = 10_000
# Connections that are held to see how much memory one takes.
IDLE = 5_000
MOST_SIGNS = 10_000_000
# What reading 10 million signs needs, with room.
MEMORY_FOR_MOST_SIGNS = 8e9
# Seconds after which no segment is sealed any more: `journal.seal_after` and a bit.
SEALED = 7


def measure(bench):
    """Figures by question."""
    results = {"pairs": {}}
    for name, question in QUESTIONS.items():
        if name in bench.options.only:
            question(bench, results)
    return results


def memory(bench, results):
    """Heap for one more sign of the same place: no URL text comes with it.

    Without a country database: the 5 MB that reading one leaves to the allocator are returned
    in a small process and kept in a large one, and would pass for 5 bytes of each sign.
    """
    heap = {}
    for signs in (1_000, MANY_SIGNS):
        registry = bench.registry(signs, signs)
        with bench.waypost(registry, name="memory", countries=False) as server:
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


def workers(bench, results):
    """Server and load share two cores: with two workers there is none left for the load."""
    registry = bench.registry(SIGNS)
    load = Load(registry, cores=BOTH)
    with contextlib.ExitStack() as stack:
        servers = [bench.waypost(registry, name=f"workers-{count}", cores=BOTH, workers=count) for count in (1, 2)]
        cases = {str(server.workers): (stack.enter_context(server), load) for server in servers}
        results["pairs"]["workers, load on the same two cores"] = bench.interleaved("workers", cases)


def connections(bench, results):
    """Most of them idle; as many are active as ever."""
    registry = bench.registry(SIGNS)
    load, idle = Load(registry), OPEN - CONNECTIONS
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < OPEN + 1000:
        bench.remarks.append(f"{OPEN:,} open connections were not measured: too few descriptors (ulimit -Hn)")
        return

    @contextlib.contextmanager
    def crowd(server):
        with held_open(server.port, f"/{code(0)}", idle):
            server.process.wait_until_idle()
            yield idle
        server.process.wait_until_idle()

    for kind in (bench.nginx, bench.waypost):
        # One server for each, or both would have the memory that 10,000 connections have left behind.
        with kind(registry, name="few") as few, kind(registry, name="many") as many:
            cases = {f"{CONNECTIONS}": (few, load), f"{OPEN:,}, {CONNECTIONS} of them active": (many, load, crowd)}
            found = bench.interleaved(f"connections of {few.name}", cases)
            results["pairs"][f"open connections of {few.name}"] = found


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
    """CPU for a scan, start and memory with 1,000,000 and 10,000,000 signs."""
    most = MANY_SIGNS if bench.options.quick else MOST_SIGNS
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    if available < MEMORY_FOR_MOST_SIGNS and most == MOST_SIGNS:
        bench.remarks.append(f"{most:,} signs were not measured: too little memory")
        return
    results["starts"], cases = {}, {}
    with contextlib.ExitStack() as stack:
        for count in sorted({SIGNS, MANY_SIGNS, most}):
            server = bench.waypost(bench.registry(count), name=f"signs-{count}")
            began = time.monotonic()
            stack.enter_context(server)
            results["starts"][count] = {
                "wall": server.was_ready - began, "cpu": sum(server.process.cpu()),
                "heap": server.process.memory("RssAnon"), "peak": server.process.memory("VmHWM"),
            }
            print(f"signs: {count:,} ready after {server.was_ready - began:.2f} s", flush=True)
            cases[f"{count:,}"] = (server, Load(bench.registry(count)))
        results["pairs"]["signs"] = bench.interleaved("signs", cases)


def backlog(bench, results):
    """The store takes everything, or answers nothing; then what has gathered is delivered."""
    registry = bench.registry(SIGNS)
    load = Load(registry)
    with Sink(bench.binaries["clickhouse_sink"]) as sink, contextlib.ExitStack() as stack:
        stored = stack.enter_context(bench.waypost(registry, name="stored"))
        stuck = stack.enter_context(bench.waypost(registry, name="stuck", sink=sink))
        sink.answer(False)
        stuck.delivers = False
        cases = {"store answers": (stored, load), "store does not, delivery not counted": (stuck, load)}
        try:
            results["pairs"]["backlog"] = bench.interleaved("backlog", cases)
            # The last segment is sealed at its age.
            rests = lambda: time.time() - newest(stuck.segments("sealed")) > SEALED
            wait_for("the last scans are sealed", rests, pause=0.5)
            rows, began, before = stuck.scans()["pending"], time.monotonic(), sum(stuck.process.cpu())
        finally:
            sink.answer(True)
        wait_for("the backlog is delivered", lambda: not stuck.segments("sealed"), pause=0.005)
        cpu = sum(stuck.process.cpu()) - before
        results["drain"] = {"rows": rows, "seconds": time.monotonic() - began, "cpu": cpu}
        wait_for("the books balance", lambda: stuck.scans()["pending"] == 0)


def newest(files):
    return max(file.stat().st_ctime for file in files)


QUESTIONS = {
    "memory": memory,
    "check": check,
    "workers": workers,
    "connections": connections,
    "tls-idle": idle,
    "signs": signs,
    "backlog": backlog,
}
