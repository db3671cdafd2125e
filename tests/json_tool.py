"""A real HTTP server in the place of a shop's tool or of a model's endpoint, with their faults."""

import contextlib
import gzip
import http.server
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

HANG_S = 60.0
"""Seconds for which a server that hangs does so."""
SECRET = "sk-5ecret-of-the-tool"


@dataclass
class ToolRequest:
    """Request as the server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[["_Handler"], None]


class JsonTool(http.server.ThreadingHTTPServer):
    """Server that answers each request by `reply`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, reply: Reply) -> None:
        self.reply, self.requests, self.stopping = reply, list[ToolRequest](), threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tool"

    def handle_error(self, request, client_address):
        """Connections that clients or replies break off are no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JsonTool

    def do_GET(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.got = ToolRequest(self.command, self.path, headers, body)
        self.server.requests.append(self.got)
        self.server.reply(self)

    do_POST = do_GET  # noqa: N815

    def send(self, body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format, *args):  # noqa: A002
        """Say nothing."""


def answers(value: Any, status: int = 200) -> Reply:
    """Return a reply with JSON."""
    return lambda handler: handler.send(json.dumps(value, ensure_ascii=False).encode(), status)


def _hang(handler: _Handler) -> None:
    handler.server.stopping.wait(HANG_S)


def _drip(handler: _Handler) -> None:
    handler.begin()
    for _ in range(int(HANG_S / 0.05)):
        if handler.server.stopping.wait(0.05):
            return
        handler.wfile.write(b" ")
        handler.wfile.flush()


def _endless(handler: _Handler) -> None:
    handler.begin()
    while not handler.server.stopping.is_set():
        handler.wfile.write(b"[" + b"0," * 50_000)


def _reset(handler: _Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def _cut(handler: _Handler) -> None:
    handler.begin(Content_Length="1000")
    handler.wfile.write(b'{"user_id": ')


def _packed(handler: _Handler) -> None:
    handler.send(gzip.compress(b"0" * 10_000_000), Content_Encoding="gzip")


def _no_http(handler: _Handler) -> None:
    handler.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    handler.close_connection = True


def _redirect(handler: _Handler) -> None:
    handler.send(b"{}", 302, Location=f"http://127.0.0.1:{handler.server.server_port}/elsewhere")


FAULTS: dict[str, Reply] = {
    "hangs": _hang,
    "slow bytes": _drip,
    "endless stream": _endless,
    "resets": _reset,
    "ends early": _cut,
    "is compressed": _packed,
    "is no HTTP": _no_http,
    "redirects": _redirect,
    "500": answers({"detail": "no"}, 500),
    "429": answers({"detail": "slowly"}, 429),
    "503": answers({"detail": "later"}, 503),
    "401": answers({"detail": f"the key {SECRET} is not known"}, 401),
    "HTML": lambda handler: handler.send(b"<html><body>Login</body></html>", kind="text/html"),
    "HTML called JSON": lambda handler: handler.send(b"<html></html>"),
    "invalid JSON": lambda handler: handler.send(b'{"user_id": "u1", '),
    "deep JSON": lambda handler: handler.send(b"[" * 50_000 + b"]" * 50_000),
    "no UTF-8": lambda handler: handler.send(b'{"a": "\xff\xfe"}'),
    "empty": lambda handler: handler.send(b""),
    "null": answers(None),
    "a list": answers([1, 2]),
    "too big": lambda handler: handler.send(b'{"a": "' + b"x" * 2_000_000 + b'"}'),
}
"""What a server may do wrong, by name."""


@contextlib.contextmanager
def json_tool(reply: Reply) -> Iterator[JsonTool]:
    """Run a server."""
    with JsonTool(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


def closed_url() -> str:
    """Return an address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/tool"
