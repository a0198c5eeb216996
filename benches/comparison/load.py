"""The load: wrk with a phone's requests, and connections that are held open."""

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
from pathlib import Path

from .machine import LOAD_CORE, Failure, on_cores

CONNECTIONS = 64
HOST = "qr.example.vn"
ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
# User agent, Accept-Language, and the language of the target that Waypost chooses.
CLIENTS = [
    (
        "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile "
        "Safari/537.36 Zalo android/12070847 ZaloTheme/light ZaloLanguage/vi",
        "vi-VN,vi;q=0.9,en;q=0.8",
        "vi",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 "
        "Mobile/15E148 Safari/604.1",
        "vi-VN,vi;q=0.9",
        "vi",
    ),
    (
        "Mozilla/5.0 (Linux; Android 12; NOH-AN01) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        "Chrome/116.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.49 Language/zh_CN",
        "zh-CN,zh;q=0.9,en-US;q=0.8",
        "zh",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile "
        "Safari/537.36",
        "en-US,en;q=0.9",
        "en",
    ),
]


def headers(agent, language):
    return {
        "Host": HOST,
        "User-Agent": agent,
        "Accept": ACCEPT,
        "Accept-Language": language,
        "Accept-Encoding": "gzip, deflate, br",
    }


class Load:
    """Requests of one kind: `codes` are drawn from at random, one in so many is unknown."""

    connections = CONNECTIONS

    def __init__(
        self, registry, codes=None, unknown_one_in=0, close=False, tls=False, cores=(LOAD_CORE,), clients=CLIENTS, addresses=0
    ):
        """`addresses`: how many there are of visitors; 0 for all of the internet."""
        self.registry, self.codes, self.unknown_one_in = registry, codes or registry.codes(), unknown_one_in
        self.close, self.tls, self.cores, self.clients, self.addresses = close, tls, cores, clients, addresses

    def run(self, port, seconds, seed):
        """What wrk has counted: requests, seconds, percentiles in microseconds, errors."""
        plan = self.registry.folder / "load.lua"
        heads = ["".join(f"{name}: {value}\r\n" for name, value in headers(*client[:2]).items()) for client in self.clients]
        # A text in JSON is one in Lua, as long as it is ASCII.
        clients = ", ".join(json.dumps(f" HTTP/1.1\r\n{head}X-Forwarded-For: ") for head in heads)
        tail = "\r\nConnection: close\r\n\r\n" if self.close else "\r\n\r\n"
        plan.write_text(
            f"return {{ seed = {seed}, codes = {json.dumps(str(self.codes))}, tail = {json.dumps(tail)},\n"
            f"unknown = {json.dumps(str(self.registry.unknown()))}, unknown_one_in = {self.unknown_one_in},\n"
            f"addresses = {self.addresses},\n"
            f"clients = {{ {clients} }} }}\n"
        )
        options = ["-t1", f"-c{self.connections}", f"-d{seconds}s", "--timeout", "10s"]
        script = Path(__file__).with_name("load.lua")
        url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}/"
        command = on_cores(self.cores, "wrk", *options, "-s", script, url)
        environment = os.environ | {"WAYPOST_LOAD_PLAN": str(plan)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"wrk ended with {done.returncode}: {done.stdout}")
        return json.loads(done.stdout.splitlines()[-1])


def anyone():
    """A client's context that takes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def ask(port, path, client, tls=False):
    """One request on a connection of its own: status and headers."""
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=anyone())
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers(*client[:2]))
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}


@contextlib.contextmanager
def held_open(port, path, count, tls=False):
    """Connections that have had one answer each and stay open."""
    context = anyone() if tls else None
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            open_ones.enter_context(answered(port, path, context))
        yield


def answered(port, path, context=None, session=None):
    """A connection that has had its answer; with a context by TLS, which tries to resume a session if there is one."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers(*CLIENTS[1][:2]).items())
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    # Or the request would wait 40 ms for the handshake's last packet to be acknowledged.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context:
        connection = context.wrap_socket(connection, session=session)
    connection.sendall(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
    if not connection.recv(4096).startswith(b"HTTP/1.1 302 "):
        raise Failure("a connection that is to be held open was not answered")
    return connection
