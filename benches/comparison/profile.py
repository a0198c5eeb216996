"""Builds with the compiler's profile: instrumented, trained, merged, built again.

How rustc does it: https://doc.rust-lang.org/rustc/profile-guided-optimization.html
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import machine
from .bench import Bench
from .load import Load
from .loads import SIGNS

FOLDER = machine.ROOT / "target/pgo"
PROFILE = FOLDER / "waypost.profdata"
# Seconds of each load of the training, and signs of the table that is read anew under one of them.
SECONDS, RELOADED = 4, 100_000


def rustc():
    """The version of LLVM that the compiler has, as `22`, and the target that it builds for."""
    said = subprocess.run(["rustc", "-vV"], cwd=machine.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = {key: re.search(rf"^{key}: (\S+)", said, re.M).group(1) for key in ("LLVM version", "host")}
    return found["LLVM version"].split(".")[0], found["host"]


def tool(name, package):
    """A program of LLVM's of rustc's version: an older one can't read what rustc writes."""
    llvm, _ = rustc()
    path, package = Path(f"/usr/lib/llvm-{llvm}/bin/{name}"), f"{package}-{llvm}"
    if not path.exists():
        machine.install_packages([package])
    if not path.exists():
        raise machine.Failure(f"{path} is needed, of Debian's {package}")
    return path


def build(name, *flags, **profile):
    """The binary, built as a release with flags more (`profile`: other settings of it, such as lto="thin")."""
    settings = {f"CARGO_PROFILE_RELEASE_{key.upper()}": value for key, value in profile.items()}
    print(f"building: {name} {' '.join([*flags, *map('='.join, profile.items())])}", flush=True)
    # With a target named, build scripts and macros, which run here, are built without the flags.
    target = rustc()[1]
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--bin", "waypost", "--target", target]
    environment = os.environ | settings | {"RUSTFLAGS": " ".join(flags), "CARGO_TARGET_DIR": str(FOLDER / name)}
    subprocess.run(command, cwd=machine.ROOT, env=environment, check=True)
    return FOLDER / name / target / "release/waypost"


def profiled(name="profile", *flags, **profile):
    """The binary, built with the profile."""
    return build(name, f"-Cprofile-use={PROFILE}", *flags, **profile)


def make():
    """The profile: what an instrumented binary did under the loads of the bench."""
    merge, raw = tool("llvm-profdata", "llvm"), FOLDER / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    train(build("instrumented", f"-Cprofile-generate={raw}"))
    written = list(raw.glob("*.profraw"))
    if not written:
        raise machine.Failure("the instrumented binary has left no profile; it writes one when it ends by itself")
    subprocess.run([merge, "merge", "-o", PROFILE, *written], check=True)
    shutil.rmtree(raw)


def bolted():
    """The binary with the profile, its machine code laid out anew by BOLT."""
    bolt, counts = tool("llvm-bolt", "bolt"), FOLDER / "bolt.fdata"
    binary = profiled("bolt", "-Clink-arg=-Wl,--emit-relocs")
    counting, laid_out = binary.with_name("waypost-counting"), binary.with_name("waypost-bolt")
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([bolt, binary, "--instrument", f"--instrumentation-file={counts}", "-o", counting], **quiet)
    train(counting)
    layout = ["--reorder-blocks=ext-tsp", "--reorder-functions=cdsort", "--split-functions", "--split-all-cold", "--icf=all"]
    subprocess.run([bolt, binary, f"--data={counts}", *layout, "-o", laid_out], **quiet)
    return laid_out


def train(binary):
    """Runs what the binary is for: visitors by both kinds of connection, unknown codes, both stores, a reload."""
    binaries = machine.build("clickhouse_sink") | {"waypost": str(binary)}
    work = FOLDER / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        bench = Bench(stack, work, binaries, machine.geoip(), None)
        registry, many = bench.registry(SIGNS), bench.registry(RELOADED)
        plain = [Load(registry), Load(registry, close=True), Load(registry, unknown_one_in=20)]
        by_tls = [Load(registry, close=True, tls=True), Load(registry, tls=True)]
        run(bench, "to ClickHouse", registry, plain)
        run(bench, "by TLS", registry, by_tls, tls=True)
        run(bench, "to SQLite", registry, plain[:2], store="sqlite")
        run(bench, "while a table is read anew", many, [Load(many)], around=reloaded)
    shutil.rmtree(work)


def run(bench, what, registry, loads, around=contextlib.nullcontext, **options):
    """A start, some loads, and an end at which the profile is written."""
    with bench.waypost(registry, name="training", **options) as server:
        for load in loads:
            print(f"training: {'new connections' if load.close else 'kept alive'} {what}", flush=True)
            with around(server):
                server.begin()
                load.run(server.port, SECONDS, 1)
                server.finish(0, 0)


@contextlib.contextmanager
def reloaded(server):
    """A table changes as the load begins, and is read by its end."""
    places = server.registry.folder / "places.csv"
    generation = lambda: json.loads(server.get("/status"))["registry"]["generation"]
    before, text = generation(), places.read_text(encoding="utf-8")
    places.write_text(text.replace("Street 0,", "First street,", 1), encoding="utf-8")
    yield
    machine.wait_for("the table is read anew", lambda: generation() != before, pause=0.5)
