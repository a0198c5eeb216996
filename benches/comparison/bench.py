"""The bench: what is started, and how a round is measured."""

import contextlib
import time

from . import machine
from .registry import LANGUAGES, SIGNS_OF_A_PLACE, Registry
from .servers import BareHyper, HAProxy, Nginx, Sink, Waypost

# More of the server's core taken by something else than this, and the figures are spoilt.
FOREIGN = 0.05
# Sealed segments that may wait when a load ends: one that is being delivered, and one that was sealed just then.
WAITING = 2


class Bench:
    """Everything that the questions share."""

    def __init__(self, stack, work, binaries, geoip, options):
        self.work, self.binaries, self.geoip, self.options = work, binaries, geoip, options
        self.sink = stack.enter_context(Sink(binaries["clickhouse_sink"]))
        self.remarks, self.registries = [], {}
        self.certificate = machine.Certificate(work)
        self.can_stop_recording = True

    def registry(self, signs, signs_of_a_place=SIGNS_OF_A_PLACE, languages=LANGUAGES):
        key = (signs, signs_of_a_place, languages)
        if key not in self.registries:
            folder = self.work / f"registry-{signs}-{signs_of_a_place}-{len(languages)}"
            self.registries[key] = Registry(folder, *key)
        return self.registries[key]

    def waypost(self, registry, name="waypost", sink=None, countries=True, tls=False, binary=None, **options):
        geoip = self.geoip if countries else None
        options["certificate"] = self.certificate if tls else None
        return Waypost(binary or self.binaries["waypost"], geoip, sink or self.sink, self.work / name, registry, **options)

    def nginx(self, registry, name="nginx", tls=False):
        return Nginx(self.work / name, registry, certificate=self.certificate if tls else None)

    def everybody(self, registry, tls=False, store=None):
        """In the order in which they run; with a store other than the sink, those alone that it concerns."""
        yield self.nginx(registry, tls=tls)
        if store:
            yield self.waypost(registry, tls=tls, store=store)
            return
        yield HAProxy(self.work / "haproxy", registry, certificate=self.certificate if tls else None)
        if not tls:
            yield BareHyper(self.binaries["bare_hyper"], self.work / "hyper", registry)
        if self.can_stop_recording:
            yield self.waypost(registry, name="quiet", tls=tls, record=False)
        yield self.waypost(registry, tls=tls)

    def interleaved(self, what, cases, most=None):
        """Rounds of each case, by its name; a case is a server, a load, and what holds during its rounds.

        `most`: the most seconds of each.
        """
        length = min(self.options.seconds, most or self.options.seconds)
        rounds = {name: [] for name in cases}
        for number in range(-1, self.options.rounds):
            for name, (server, load, *around) in cases.items():
                with contextlib.ExitStack() as stack:
                    extra = sum(stack.enter_context(held(server)) for held in around)
                    # The first is to warm up, and not kept.
                    seconds = length if number >= 0 else 1
                    one = self.round(server, load, seconds, 1 + number, extra)
                if number >= 0:
                    rounds[name].append(one)
                    self.say(what, name, number, one)
        self.judge(what, rounds)
        return rounds

    def round(self, server, load, seconds, seed, extra=0):
        """One server under one load; `extra` requests more may turn up in its log."""
        server.begin()
        threads = server.process.threads()
        before, core, began = server.process.cpu(), machine.busy(machine.SERVER_CORE), time.monotonic()
        result = load.run(server.port, seconds, seed)
        loaded, left = sum(server.process.cpu()) - sum(before), server.left()
        # Longer than the load itself, which reads its codes first.
        core, took = machine.busy(machine.SERVER_CORE) - core, time.monotonic() - began
        # Nobody can tell where the load runs on the server's core as well.
        foreign = 0 if machine.SERVER_CORE in load.cores else max(0, core - loaded) / took
        threads = machine.turns(threads, server.process.threads())
        found, slack = result["requests"] - result["refused"], load.connections + extra
        server.finish(result["requests"], slack)
        after, peak = server.process.cpu(), server.process.memory("VmHWM")
        server.check(result["requests"], result["refused"], slack)
        if load.unknown_one_in == 0 and result["refused"] or not found:
            raise machine.Failure(f"{server.name} refused {result['refused']} of {result['requests']} requests")
        user, system = ((end - start) / result["requests"] * 1e6 for start, end in zip(before, after))
        return result | {
            "cpu": user + system, "user": user, "system": system, "peak": peak,
            "rate": result["requests"] / result["seconds"],
            "busy": loaded / result["seconds"], "foreign": foreign, "took": took, "threads": threads, "left": left,
        }

    @staticmethod
    def say(what, name, number, one):
        # Of the thread that answers; of several workers, all together.
        waited = max(one["threads"].values(), key=lambda thread: thread["cpu"])["waited"] / one["took"]
        print(
            f"{what}, round {number + 1}: {name:<24} {one['cpu']:6.2f} µs CPU  {one['rate']:9,.0f}/s  "
            f"p50 {one['p50']:6,.0f}  p99 {one['p99']:6,.0f} µs  core {one['busy']:4.0%}, waited {waited:4.0%}, "
            f"others {one['foreign']:4.0%}, {one['left']['segments']} segments left",
            flush=True,
        )

    def judge(self, what, rounds):
        """Says what a reader must know about these figures."""
        for name, all_of_one in rounds.items():
            errors = {kind: sum(one[kind] for one in all_of_one) for kind in ("connect", "read", "write", "timeout")}
            if any(errors.values()):
                seen = ", ".join(f"{count} {kind}" for kind, count in errors.items() if count)
                self.remarks.append(f"{what}, {name}: errors seen by the load: {seen}")
        for name, all_of_one in rounds.items():
            left = max(one["left"]["segments"] for one in all_of_one)
            if left > WAITING:
                self.remarks.append(f"{what}, {name}: delivery did not keep up: up to {left} segments at the end of a round")
        foreign = max(one["foreign"] for all_of_one in rounds.values() for one in all_of_one)
        if foreign > FOREIGN:
            remark = f"something else took up to {foreign:.0%} of the server's core, which spoils the figures"
            self.remarks.append(f"{what}: {remark}")
