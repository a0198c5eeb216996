"""The servers, each on one core with the same codes: how it is configured, and what it has to have written down."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request

from .load import CLIENTS, anyone, answered, ask
from .machine import LOAD_CORE, SERVER_CORE, Failure, Process, free_port, on_cores, wait_for
from .registry import code

NGINX = """\
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 12000; }}
http {{
    log_format scan escape=json '{{"time":"$msec","path":"$uri","status":$status,"language":"$http_accept_language",'
        '"agent":"$http_user_agent","address":"$http_x_forwarded_for"}}';
    access_log {folder}/access.log scan buffer=64k flush=1s;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    # The default closes a connection after 1,000 requests and after 75 s; nobody else does within a round.
    keepalive_requests 1000000000; keepalive_timeout 1h;
    map_hash_max_size {slots}; map_hash_bucket_size 512;
    map $uri $target {{ default ""; include {map}; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{tls};
        location / {{
            if ($target = "") {{ return 404; }}
            add_header Cache-Control no-store always;
            add_header Vary Accept-Language always;
            return 302 $target;
        }}
    }}
}}
"""

# None of the three resumes a session. HAProxy can't be kept from sending a ticket that is good for nothing.
NGINX_TLS = """\
 ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
        ssl_session_cache off; ssl_session_tickets off; ssl_conf_command NumTickets 0"""

HAPROXY_TLS = " ssl crt {both} ssl-min-ver TLSv1.3 alpn http/1.1 no-tls-tickets"

WAYPOST_TLS = """\
[edge.tls]
listen = ["127.0.0.1:{port}"]
certificates = [{{ certificate = "{certificate}", key = "{key}" }}]
min_version = "1.3"
"""

HAPROXY = """\
global
    tune.ssl.cachesize 0
    nbthread 1
    maxconn 1000
    log stdout len 2048 format raw local0
defaults
    mode http
    option dontlognull
    timeout client 1h
    timeout http-keep-alive 1h
    timeout http-request 30s
    timeout connect 1s
    timeout server 1s
frontend codes
    bind 127.0.0.1:{port} backlog 4096{tls}
    log global
    http-request capture req.fhdr(User-Agent) len 320
    http-request capture req.fhdr(Accept-Language) len 64
    http-request capture req.fhdr(X-Forwarded-For) len 64
    log-format '{{"time":"%Ts.%ms","path":"%[capture.req.uri,json(utf8s)]","status":%ST,{captured}}}'
    http-request set-var(txn.target) path,map_str({map})
    http-request return status 404 unless {{ var(txn.target) -m found }}
    http-request return status 302 hdr Location %[var(txn.target)] hdr Cache-Control no-store hdr Vary Accept-Language
"""

WAYPOST = """\
[edge]
name = "edge-1"
listen = [{listen}]
workers = {workers}
public_url = "https://qr.example.vn"
idle_timeout = "1h"
{tls}[edge.trust]
proxies = ["127.0.0.1/32"]
[admin]
listen = "127.0.0.1:{admin}"
[registry]
places = "{tables}/places.csv"
signs = "{tables}/signs.csv"
overrides = "{tables}/overrides.csv"
allowed_hosts = ["example.vn"]
{registry}
[observe]
geoip = [{geoip}]
{observe}
[journal]
dir = "journal"
{journal}
[store]
{store}
"""

STORES = {
    "clickhouse": 'kind = "clickhouse"\nurl = ["http://{sink}"]\napply_schema = false\ntimeout = "10m"',
    "sqlite": 'kind = "sqlite"\npath = "waypost.db"',
}


# What OpenSSL's client, which wrk is, asks for first.
SUITE = ("TLS_AES_256_GCM_SHA384", "TLSv1.3")


class Server:
    """What every server has in common. `languages`: whether it chooses a target by language."""

    languages = False
    # Whether it writes down what it answers.
    logs = True

    def __init__(self, folder, registry, cores=(SERVER_CORE,), certificate=None):
        """With a certificate it serves by TLS."""
        self.folder, self.registry, self.cores, self.port = folder, registry, cores, free_port()
        self.certificate = certificate
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.process = None

    def start(self):
        self.process = Process(self.name, self.command(), cores=self.cores, log=self.folder / "output")
        wait_for(f"{self.name} answers", self.ready)
        self.was_ready = time.monotonic()

    def __enter__(self):
        try:
            self.start()
            self.process.wait_until_idle()
            self.verify()
        except Failure as failure:
            self.__exit__()
            output = (self.folder / "output").read_text(errors="replace").strip()
            raise Failure(f"{failure}\n{output[-2000:]}".strip()) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.stop()

    def ready(self):
        self.process.running()
        try:
            return bool(self.ask("/", CLIENTS[0]))
        except OSError:
            return False

    def ask(self, path, client):
        return ask(self.port, path, client, tls=bool(self.certificate))

    def tls(self, text):
        """A piece of configuration, if there is a certificate."""
        return text.format(port=self.port, **vars(self.certificate)) if self.certificate else ""

    def verify(self, clients=CLIENTS):
        """The right answers for some codes, before anything is timed, and each time a whole handshake."""
        step = max(1, self.registry.signs // 40)
        for number in range(0, self.registry.signs, step):
            for client in clients:
                expected = self.registry.target(number, client[2] if self.languages else "vi")
                status, headers = self.ask(f"/{code(number)}", client)
                seen = (status, headers.get("location"), headers.get("cache-control"), headers.get("vary"))
                # Where there is one language only, there is nothing to vary.
                varies = "Accept-Language" if len(self.registry.languages) > 1 else None
                if seen != (302, expected, "no-store", varies):
                    raise Failure(f"{self.name} answers {code(number)} with {seen}, not with {expected}")
        status, _ = self.ask(f"/{code(self.registry.signs)}", CLIENTS[0])
        if status != 404:
            raise Failure(f"{self.name} answers an unknown code with {status}")
        if self.certificate:
            self.verify_handshakes()

    def verify_handshakes(self):
        """All use the same version and suite, and a client that tries to resume its session is made to begin anew."""
        context, session = anyone(), None
        for _ in range(3):
            # A ticket would come with the answer, which is read.
            with answered(self.port, f"/{code(0)}", context, session) as connection:
                used, resumed, session = connection.cipher(), connection.session_reused, connection.session
            if used[:2] != SUITE or resumed:
                raise Failure(f"{self.name} speaks {used[:2]}, and has {'' if resumed else 'not '}resumed a session")

    def begin(self):
        """Before a round."""

    def left(self):
        """As a load ends: the sealed segments and the scans that are still to be stored."""
        return {"segments": 0, "scans": 0}

    def finish(self, answered, slack):
        """After a round: waits until what was answered is written down, all of it; up to `slack` requests more
        were under way when the load ended."""

    def check(self, answered, unknown, slack):
        """Once the CPU time has been read: what else has to hold."""


class LogsToFile(Server):
    """One line for each request, in a file that is emptied before each round."""

    def verify(self):
        super().verify()
        self.wait_for_log()
        self.log().write_bytes(b"")

    def finish(self, answered, slack):
        self.wait_for_log()
        with open(self.log(), "rb") as file:
            # HAProxy opens a hole where the file was emptied: it resets O_APPEND.
            file.seek(os.lseek(file.fileno(), 0, os.SEEK_DATA))
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        if not answered <= lines <= answered + slack:
            raise Failure(f"{self.name} answered {answered} requests and logged {lines}")
        # Else the kernel would write it to the disk while the next server is measured.
        self.log().write_bytes(b"")

    def wait_for_log(self):
        # The requests that were under way when the load ended.
        self.process.wait_until_idle()
        sizes = [-1]

        def rests():
            sizes.append(self.log().stat().st_size)
            return sizes[-1] == sizes[-2]

        wait_for(f"{self.name} has written its log", rests, pause=self.flush)


class Nginx(LogsToFile):
    name = "nginx"
    # Longer than the buffer is kept.
    flush = 1.1

    def command(self):
        # Without slots enough, nginx tries sizes for minutes.
        slots = max(65536, self.registry.signs)
        text = NGINX.format(folder=self.folder, port=self.port, map=self.registry.map(";"), slots=slots, tls=self.tls(NGINX_TLS))
        (self.folder / "nginx.conf").write_text(text)
        return ["nginx", "-p", self.folder, "-e", self.folder / "error.log", "-c", self.folder / "nginx.conf"]

    def log(self):
        return self.folder / "access.log"


class HAProxy(LogsToFile):
    name = "HAProxy"
    # It writes each line as it answers.
    flush = 0

    def command(self):
        fields = enumerate(("agent", "language", "address"))
        captured = ",".join(f'"{name}":"%[capture.req.hdr({number}),json(utf8s)]"' for number, name in fields)
        tls = self.tls(HAPROXY_TLS)
        text = HAPROXY.format(port=self.port, map=self.registry.map(), captured=captured, tls=tls)
        (self.folder / "haproxy.cfg").write_text(text)
        return ["haproxy", "-db", "-f", self.folder / "haproxy.cfg"]

    def log(self):
        return self.folder / "output"


class BareHyper(Server):
    name = "bare hyper"
    logs = False

    def __init__(self, binary, *arguments, **options):
        super().__init__(*arguments, **options)
        self.binary = binary

    def command(self):
        return [self.binary, f"127.0.0.1:{self.port}", self.registry.map()]


class Waypost(Server):
    """Country, agent, repeat window, journal, delivery to the sink; or with recording off."""

    languages = True
    # Whether the sink answers.
    delivers = True

    def __init__(self, binary, geoip, sink, *arguments, record=True, workers=1, store="clickhouse", preload=None, more=None, **options):
        """`preload`: a library that is put before the C library's, such as another allocator.

        `more`: further lines of the configuration, by section.
        """
        super().__init__(*arguments, **options)
        self.preload = preload
        self.name = "Waypost" if record else "Waypost, not recording"
        self.logs, self.binary, self.workers, self.admin = record, binary, workers, free_port()
        config = {
            "listen": "" if self.certificate else f'"127.0.0.1:{self.port}"', "tls": self.tls(WAYPOST_TLS),
            "admin": self.admin, "workers": workers, "tables": self.registry.tables(),
            "geoip": f'"{geoip}"' if geoip else "", "store": STORES[store].format(sink=sink.address),
            "observe": "" if record else "record = false", "registry": "", "journal": "",
        }
        config |= more or {}
        self.config = self.folder / "waypost.toml"
        self.config.write_text(WAYPOST.format(**config))

    def command(self):
        environment = ["env", f"LD_PRELOAD={self.preload}"] if self.preload else []
        return [*environment, self.binary, "serve", "--config", self.config]

    def ready(self):
        self.process.running()
        try:
            return self.get("/readyz") == "ready\n"
        except OSError:
            return False

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=60).read().decode()

    def scans(self):
        return json.loads(self.get("/status"))["scans"]

    def segments(self, kind):
        return set((self.folder / "journal").glob(f"*.{kind}"))

    def begin(self):
        self.before = self.scans()

    def left(self):
        # The folder first, as delivery goes on meanwhile.
        return {"segments": len(self.segments("sealed")) if self.delivers else 0, "scans": self.scans()["pending"]}

    def finish(self, answered, slack):
        if not self.logs or not self.delivers:
            return
        # The segments that were written last are sealed and delivered, which is part of what a scan costs. The
        # folder is watched and not /status, which takes CPU time of the server.
        last = self.segments("open")
        gone = lambda: len(last - self.segments("open")) >= self.workers and not self.segments("sealed")
        wait_for(f"{self.name} has sealed and delivered", gone)

    def check(self, answered, unknown, slack):
        """Every scan is recorded, none is dropped."""
        if self.delivers:
            wait_for(f"{self.name} has delivered", lambda: self.scans()["pending"] == 0, pause=0.5)
        scans = self.scans()
        if not self.logs:
            if scans != self.before:
                raise Failure(f"{self.name} has recorded something")
            return
        recorded = scans["recorded"] - self.before["recorded"]
        if any(scans["dropped"].values()) or scans["quarantined"]:
            raise Failure(f"{self.name} lost scans: {scans}")
        # Of unknown codes, up to 50 a second are recorded.
        if not answered - unknown <= recorded <= answered + slack:
            raise Failure(f"{self.name} answered {answered} requests and recorded {recorded}")

    def exact_books(self):
        """Every code that was asked for since the start was recorded, or counted as unknown."""
        metrics = self.get("/metrics")
        figure = lambda name: float(re.search(rf"^{re.escape(name)} (\S+)$", metrics, re.M).group(1))
        asked = figure('waypost_requests_total{outcome="found"}') + figure('waypost_requests_total{outcome="unknown"}')
        written = figure("waypost_scans_recorded_total") + figure("waypost_unknown_unrecorded_total")
        if asked != written:
            raise Failure(f"{self.name} was asked for {asked:.0f} codes and wrote down {written:.0f}")


class Sink:
    """Takes every insert, answered or not, and keeps nothing; shares the load's core, at the lowest priority."""

    def __init__(self, binary):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        self.child = subprocess.Popen(on_cores((LOAD_CORE,), binary), **pipes)
        self.address = self.child.stdout.readline().strip()

    def answer(self, whether):
        self.child.stdin.write("open\n" if whether else "shut\n")
        self.child.stdin.flush()
        self.child.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()
