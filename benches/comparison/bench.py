"""The bench: what is started, and how a round is measured."""

import contextlib
import time

from . import machine
from .registry import SIGNS_OF_A_PLACE, Registry
from .servers import BareHyper, HAProxy, Nginx, Sink, Waypost

# More of the server's core taken by something else than this, and the figures are spoilt.
FOREIGN = 0.05


class Bench:
    """Everything that the questions share."""

    def __init__(self, stack, work, binaries, geoip, options):
        self.work, self.binaries, self.geoip, self.options = work, binaries, geoip, options
        self.sink = stack.enter_context(Sink(binaries["clickhouse_sink"]))
        self.remarks, self.registries = [], {}
        self.certificate = machine.Certificate(work)
        self.can_stop_recording = True

    def registry(self, signs, signs_of_a_place=SIGNS_OF_A_PLACE):
        key = (signs, signs_of_a_place)
        if key not in self.registries:
            self.registries[key] = Registry(self.work / f"registry-{signs}-{signs_of_a_place}", *key)
        return self.registries[key]

    def waypost(self, registry, name="waypost", sink=None, countries=True, tls=False, binary=None, **options):
        geoip = self.geoip if countries else None
        options["certificate"] = self.certificate if tls else None
        return Waypost(binary or self.binaries["waypost"], geoip, sink or self.sink, self.work / name, registry, **options)

    def nginx(self, registry, name="nginx", tls=False):
        return Nginx(self.work / name, registry, certificate=self.certificate if tls else None)

    def everybody(self, registry, tls=False):
        """In the order in which they run."""
        yield self.nginx(registry, tls=tls)
        yield HAProxy(self.work / "haproxy", registry, certificate=self.certificate if tls else None)
        if not tls:
            yield BareHyper(self.binaries["bare_hyper"], self.work / "hyper", registry)
        if self.can_stop_recording:
            yield self.waypost(registry, name="quiet", tls=tls, record=False)
        yield self.waypost(registry, tls=tls)

    def interleaved(self, what, cases):
        """Rounds of each case, by its name; a case is a server, a load, and what holds during its rounds."""
        rounds = {name: [] for name in cases}
        for number in range(-1, self.options.rounds):
            for name, (server, load, *around) in cases.items():
                with contextlib.ExitStack() as stack:
                    extra = sum(stack.enter_context(held(server)) for held in around)
                    # The first is to warm up, and not kept.
                    seconds = self.options.seconds if number >= 0 else 1
                    one = self.round(server, load, seconds, 1 + number, extra)
                if number >= 0:
                    rounds[name].append(one)
                    self.say(what, name, number, one)
        self.judge(what, rounds)
        return rounds

    def round(self, server, load, seconds, seed, extra=0):
        """One server under one load; `extra` requests more may turn up in its log."""
        server.begin()
        before, core, began = server.process.cpu(), machine.busy(machine.SERVER_CORE), time.monotonic()
        result = load.run(server.port, seconds, seed)
        loaded = sum(server.process.cpu()) - sum(before)
        # Longer than the load itself, which reads its codes first.
        core, took = machine.busy(machine.SERVER_CORE) - core, time.monotonic() - began
        # Nobody can tell where the load runs on the server's core as well.
        foreign = 0 if machine.SERVER_CORE in load.cores else max(0, core - loaded) / took
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
            "busy": loaded / result["seconds"], "foreign": foreign,
        }

    @staticmethod
    def say(what, name, number, one):
        print(
            f"{what}, round {number + 1}: {name:<24} {one['cpu']:6.2f} µs CPU  {one['rate']:9,.0f}/s  "
            f"p50 {one['p50']:6,.0f}  p99 {one['p99']:6,.0f} µs  core {one['busy']:4.0%}, others {one['foreign']:4.0%}",
            flush=True,
        )

    def judge(self, what, rounds):
        """Says what a reader must know about these figures."""
        for name, all_of_one in rounds.items():
            errors = {kind: sum(one[kind] for one in all_of_one) for kind in ("connect", "read", "write", "timeout")}
            if any(errors.values()):
                seen = ", ".join(f"{count} {kind}" for kind, count in errors.items() if count)
                self.remarks.append(f"{what}, {name}: errors seen by the load: {seen}")
        foreign = max(one["foreign"] for all_of_one in rounds.values() for one in all_of_one)
        if foreign > FOREIGN:
            remark = f"something else took up to {foreign:.0%} of the server's core, which spoils the figures"
            self.remarks.append(f"{what}: {remark}")
