#!/usr/bin/env python3
"""ClickHouse's HTTP interface in front of ClickHouse's own engine, for tests.

The engine is chdb: ClickHouse 26.9 as a library in this process. What a query means, what an insert
does, which token repeats and what an error says is therefore ClickHouse itself; only the HTTP in
front is written here, as much of it as the Rust crate `clickhouse` and curl use.

    python server.py --port 0 --data FOLDER [--user NAME --password PW] [--tls CERTIFICATE KEY]

prints `listening 127.0.0.1:PORT` when it is ready, and with --tls before it `tls 127.0.0.1:PORT` of a second port, which
is for https alone. FOLDER may be one left by an earlier process, also
by one that was killed. SIGTERM lets the running query end, and ends.

What it is not: a server.
- One query at a time, whoever asks; an answer is sent when it is whole.
- No replication, no Keeper, no clusters, no query log, no quotas.
- No users and roles: `CREATE USER`, `CREATE ROLE` and `GRANT` reach the engine, which refuses them.
  `--user` is one name and one password, checked here, and whoever knows them may do everything.
- Every insert is synchronous: the engine takes `async_insert=1`, and stores the rows at once.
- No sessions and no roles: `session_id` and `role` are refused rather than ignored.
- Encodings: the native LZ4 blocks of `compress` and `decompress`, and `Accept-Encoding: lz4`.
- Killed in the middle of an insert, the engine may keep its token and not its rows (seen once in 181 such kills).
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import signal
import ssl
import struct
import sys
import threading
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl, urlsplit

import lz4.block
import lz4.frame
from chdb import _chdb
from clickhouse_cityhash.cityhash import CityHash128

# Parameters of a URL that belong to HTTP; every other one is a setting, or a query's parameter.
HTTP_PARAMETERS = frozenset(
    "query database default_format user password quota_key role query_id compress decompress buffer_size"
    " wait_end_of_query stacktrace session_id session_timeout session_check close_session"
    " client_protocol_version".split()
)

# As exceptionCodeToHTTPStatus.cpp has it; every other code is a 500.
STATUSES: dict[int, set[int]] = {
    400: {6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676},
    401: {194},
    403: {192, 193, 497, 512, 516},
    404: {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511},
    408: {159},
    501: {48},
    503: {76, 209, 439},
}

TEXT = "text/plain; charset=UTF-8"
CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}


class Refused(Exception):
    """An exception of ClickHouse: `Code: N. DB::Exception: text`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = next((status for status, codes in STATUSES.items() if code in codes), 500)

    @classmethod
    def here(cls, code: int, name: str, why: str) -> Refused:
        """One that this file throws, where a server's HTTP handler would."""
        return cls(code, f"Code: {code}. DB::Exception: {why}. ({name})")

    @classmethod
    def by_engine(cls, error: RuntimeError) -> Refused:
        code = re.match(r"Code: (\d+)\.", str(error))
        return cls(int(code[1]), str(error)) if code else cls.here(1002, "UNKNOWN_EXCEPTION", str(error))


# The body, the name of its format, and what `X-ClickHouse-Summary` says.
Answer = tuple[bytes, str, dict[str, int]]


class Engine:
    """chdb on a folder, one query at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._one_at_a_time = threading.Lock()
        # The engine lives as long as its last connection.
        self._alive = _chdb.connect(self._folder)
        self._rows = folder / "rows_of_this_insert"

    def run(self, text: bytes, database: str, default_format: str, settings: dict[str, str]) -> Answer:
        """`text` is a statement, and behind an INSERT its rows; `settings` has the query's parameters (`param_x`) too.

        Each query has a connection of its own (0.5 ms): nothing it sets can leak into the next one.
        """
        with self._one_at_a_time:
            connection = _chdb.connect(self._folder)
            try:
                if database:
                    connection.query(f"USE {quoted(database, '`')}", "Null")
                # The embedded engine would read `sel` as `SELECT sel`; a server does not.
                changes = {"implicit_select": "0"} | settings
                changed = (f"{quoted(name, '`')} = {quoted(value)}" for name, value in changes.items())
                connection.query("SET " + ", ".join(changed), "Null")
                return self._run(connection, text, default_format)
            except RuntimeError as error:
                raise Refused.by_engine(error) from error
            finally:
                connection.close()
                self._rows.unlink(missing_ok=True)

    def close(self) -> None:
        with self._one_at_a_time:
            self._alive.close()

    def _run(self, connection: _chdb.connect, text: bytes, default_format: str) -> Answer:
        if insert := Insert.split(text):
            # By a file: chdb's own `send_insert` loses errors of the writing side (constraints, views, parts).
            self._rows.write_bytes(insert.rows)
            statement = f"{insert.into} FROM INFILE {quoted(str(self._rows))} {insert.settings} FORMAT {insert.format}"
        elif connection.classify_query(statement := utf8(text))["statement_count"] > 1:
            raise Refused.here(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        result = connection.query(statement, default_format)
        clause = re.search(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^()]*)?;?\s*$", statement, re.IGNORECASE)
        summary = {
            "read_rows": result.storage_rows_read(),
            "written_rows": result.rows_written(),
            "written_bytes": result.bytes_written(),
            "result_rows": result.rows_read(),
            "elapsed_ns": int(result.elapsed() * 1e9),
        }
        return bytes(result.bytes()), clause[1] if clause else default_format, summary


@dataclass
class Insert:
    """An INSERT with its rows behind it: `INSERT INTO t (a, b) SETTINGS … FORMAT X` and bytes of any kind."""

    into: str
    settings: str
    format: str
    rows: bytes

    TOKEN = re.compile(
        rb"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|(?P<word>\w+)|.""",
        re.DOTALL,
    )

    @classmethod
    def split(cls, text: bytes) -> Insert | None:
        """None for everything that has no rows behind it, an INSERT … SELECT among them."""
        depth, settings = 0, None
        tokens = (token for token in cls.TOKEN.finditer(text) if not token["space"])
        if (first := next(tokens, None)) is None or first[0].upper() != b"INSERT":
            return None
        for token in tokens:
            word = (token["word"] or b"").upper()
            depth += {b"(": 1, b")": -1}.get(token[0], 0)
            if depth:
                continue
            if word in (b"SELECT", b"WITH", b"FROM"):
                return None
            if word == b"SETTINGS":
                settings = token.start()
            if word in (b"FORMAT", b"VALUES"):
                name = next(tokens, token) if word == b"FORMAT" else token
                # As the server's parser: blanks and one line end part the statement from its rows.
                rows = re.compile(rb"[ \t\f]*\r?\n?").match(text, name.end()).end()
                end = token.start() if settings is None else settings
                return cls(utf8(text[:end]), utf8(text[end : token.start()]), utf8(name[0]), text[rows:])
        return None


def utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise Refused.here(62, "SYNTAX_ERROR", f"Syntax error: {error}") from error


def quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


# ---- ClickHouse's compressed blocks ----
# 16 bytes of checksum over the rest; method; compressed size with these 9 bytes; plain size; data.

LZ4 = 0x82


def checksum(block: bytes) -> bytes:
    return struct.pack("<QQ", *divmod(CityHash128(block), 1 << 64))


def compress(data: bytes) -> bytes:
    packed = lz4.block.compress(data, store_size=False)
    block = struct.pack("<BII", LZ4, len(packed) + 9, len(data)) + packed
    return checksum(block) + block if data else b""


def decompress(blocks: bytes) -> bytes:
    data = bytearray()
    at = 0
    while at < len(blocks):
        method, size, plain = struct.unpack("<BII", blocks[at + 16 : at + 25].ljust(9, b"\0"))
        block = blocks[at + 16 : at + 16 + size]
        if len(block) < max(size, 9):
            raise Refused.here(33, "CANNOT_READ_ALL_DATA", "Cannot read all data of a compressed block")
        if checksum(block) != blocks[at : at + 16]:
            raise Refused.here(40, "CHECKSUM_DOESNT_MATCH", "Checksum doesn't match: corrupted data")
        if method != LZ4:
            raise Refused.here(89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown compression method {method:#x}")
        data += lz4.block.decompress(block[9:], uncompressed_size=plain)
        at += 16 + size
    return bytes(data)


# ---- HTTP ----

def chunked(stream: BinaryIO) -> bytes:
    """A chunked body, whole: a writer that gave up never sent the last chunk."""
    body = bytearray()
    while True:
        size = re.match(rb"([0-9a-fA-F]{1,8})[^\n]*\r\n", stream.readline(1024))
        wanted = int(size[1], 16) + 2 if size else 0
        chunk = stream.read(wanted)
        if not wanted or len(chunk) < wanted:
            raise Refused.here(3, "UNEXPECTED_END_OF_FILE", "Unexpected end of file while reading chunk of HTTP data")
        if wanted == 2:
            return bytes(body)
        body += chunk[:-2]


def form_fields(body: bytes, content_type: str) -> dict[str, str]:
    """The fields of `multipart/form-data`, in which the crate sends a query that has parameters."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    if not boundary:
        raise Refused.here(36, "BAD_ARGUMENTS", "multipart/form-data without a boundary")
    fields = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        if name := re.search(rb'\bname="([^"]*)"', head):
            fields[utf8(name[1])] = utf8(value)
    return fields


class Connection(BaseHTTPRequestHandler):
    """One client's connection, one request after another."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parameters = dict(parse_qsl(url.query, keep_blank_values=True))
        native = parameters.get("compress") == "1"
        about = {"X-ClickHouse-Query-Id": parameters.get("query_id") or str(uuid.uuid4())}
        try:
            body = self.read_body()
            if url.path == "/ping" or (url.path == "/" and not url.query and self.command != "POST"):
                self.reply(200, b"Ok.\n", about)
                return
            if url.path != "/":
                self.reply(404, f"There is no handle {url.path}\n".encode(), about)
                return
            answer, form, summary = self.answer(parameters, body)
        except Refused as error:
            about["X-ClickHouse-Exception-Code"] = str(error.code)
            self.reply(error.status, error.text.encode() + b"\n", about, native)
            return
        about["Content-Type"] = CONTENT_TYPES.get(form, TEXT)
        about["X-ClickHouse-Format"] = form
        about["X-ClickHouse-Summary"] = json.dumps({name: str(value) for name, value in summary.items()})
        self.reply(200, answer, about, native)

    do_POST = do_HEAD = do_GET

    def read_body(self) -> bytes:
        if encoding := self.headers["Content-Encoding"]:
            self.close_connection = True
            raise Refused.here(48, "NOT_IMPLEMENTED", f"This test server knows no Content-Encoding: {encoding}")
        if (self.headers["Transfer-Encoding"] or "").lower() == "chunked":
            try:
                return chunked(self.rfile)
            except Refused:
                self.close_connection = True
                raise
        length = int(self.headers["Content-Length"] or 0)
        body = self.rfile.read(length)
        # A server takes a body that ended before its length for the whole one, and so does this.
        self.close_connection |= len(body) < length
        return body

    def answer(self, parameters: dict[str, str], body: bytes) -> Answer:
        self.authenticate(parameters)
        if unknown := parameters.keys() & {"session_id", "role"}:
            raise Refused.here(48, "NOT_IMPLEMENTED", f"This test server knows no {unknown}")
        content_type = self.headers["Content-Type"] or ""
        if content_type.startswith("multipart/form-data"):
            parameters |= form_fields(body, content_type)
            body = b""
        if parameters.get("decompress") == "1":
            body = decompress(body)
        # The query is the parameter, then the body: either may hold all of it.
        text = b"\n".join(part for part in (parameters.get("query", "").encode(), body) if part)
        if not text.strip():
            raise Refused.here(62, "SYNTAX_ERROR", "Syntax error: Empty query")
        settings = {name: value for name, value in parameters.items() if name not in HTTP_PARAMETERS}
        if self.command != "POST":
            settings.setdefault("readonly", "2")
        database = parameters.get("database") or self.headers["X-ClickHouse-Database"] or ""
        default_format = parameters.get("default_format") or self.headers["X-ClickHouse-Format"] or "TabSeparated"
        return self.server.engine.run(text, database, default_format, settings)

    def authenticate(self, parameters: dict[str, str]) -> None:
        user, password = parameters.get("user", "default"), parameters.get("password", "")
        scheme, _, both = (self.headers["Authorization"] or "").partition(" ")
        if self.headers["X-ClickHouse-User"] is not None:
            user, password = self.headers["X-ClickHouse-User"], self.headers["X-ClickHouse-Key"] or ""
        elif scheme.lower() == "basic":
            user, _, password = base64.b64decode(both).decode(errors="replace").partition(":")
        if self.server.login not in (None, (user, password)):
            why = "Authentication failed: password is incorrect, or there is no user with such name"
            raise Refused.here(516, "AUTHENTICATION_FAILED", f"{user}: {why}")

    def reply(self, status: int, body: bytes, headers: dict[str, str], native: bool = False) -> None:
        if native:
            body = compress(body)
        elif body and "lz4" in (self.headers["Accept-Encoding"] or ""):
            body = lz4.frame.compress(body)
            headers["Content-Encoding"] = "lz4"
        headers.setdefault("Content-Type", TEXT)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: a test prints what it needs."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, port: int, engine: Engine, login: tuple[str, str] | None) -> None:
        super().__init__(("127.0.0.1", port), Connection)
        self.engine = engine
        self.login = login

    def handle_error(self, request: object, client_address: object) -> None:
        # Clients that hang up are what the tests are about.
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def serve_tls(server: Server, certificate: str, key: str) -> None:
    """Serves on a thread of its own. Each connection's own thread shakes hands, and not the one that accepts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(f"tls 127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--port", type=int, default=8123)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--user")
    arguments.add_argument("--password", default="")
    arguments.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    options = arguments.parse_args()
    engine = Engine(options.data.absolute())
    login = (options.user, options.password) if options.user else None
    server = Server(options.port, engine, login)
    if options.tls:
        serve_tls(Server(0, engine, login), *options.tls)
    # The exception ends `serve_forever`; `shutdown` would wait for the loop it was called from.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening 127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    finally:
        engine.close()


if __name__ == "__main__":
    main()
