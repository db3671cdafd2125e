"""A real web server with files, and with every fault that a web server has."""

import contextlib
import http.server
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote, urlsplit

SIGNATURE = "5ecret-signature"


class WebFiles(http.server.ThreadingHTTPServer):
    """Server of `files` by path; the first step of a path names how it behaves: `/reset/a.mp4`."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: Counter[str] = Counter()
        """Requests by path."""
        self.ranges: list[str] = []
        self.times: dict[str, list[float]] = {}
        self.agents: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Connections that clients or routes break off are no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebFiles

    def do_GET(self):
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        _, route, name = unquote(parts.path).split("/", 2)
        self.name, key = name, unquote(parts.path)
        self.server.requests[key] += 1
        self.server.times.setdefault(key, []).append(time.monotonic())
        self.server.agents.add(self.headers.get("User-Agent", ""))
        if "Range" in self.headers:
            self.server.ranges.append(self.headers["Range"])
        self.first = self.server.requests[key] == 1
        data = self.server.files.get(name)
        if data is None and route != "redirect-to":
            return self.answer(404)
        return getattr(self, f"route_{route.replace('-', '_')}")(data)

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for header, value in {"content_length": str(len(data)), **headers}.items():
            if value:
                self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def reset(self) -> None:
        """Close with a reset, as a machine that goes down does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        # `close` would wait for the handler's own files on it.
        os.close(self.connection.detach())

    def route_ok(self, data: bytes, **headers: str) -> None:
        ranged = self.headers.get("Range", "").removeprefix("bytes=")
        if not ranged or self.headers.get("If-Range", '"v1"') != '"v1"':
            return self.answer(200, data, **headers)
        start, _, end = ranged.partition("-")
        if int(start) >= len(data):
            return self.answer(416, content_range=f"bytes */{len(data)}")
        part = data[int(start) : int(end) + 1 if end else None]
        place = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
        return self.answer(206, part, content_range=place, **headers)

    def route_redirect(self, data: bytes) -> None:
        self.answer(302, location=f"/ok/{self.name}")

    def route_redirect_for_ever(self, data: bytes) -> None:
        self.answer(302, location=self.path)

    def route_redirect_to(self, data: bytes) -> None:
        self.answer(302, location=self.query["to"][0])

    def route_forbidden(self, data: bytes) -> None:
        self.answer(403, b"no")

    def route_unauthorized(self, data: bytes) -> None:
        self.answer(401, b"no", www_authenticate="Basic")

    def route_gone(self, data: bytes) -> None:
        self.answer(410)

    def route_busy_once(self, data: bytes) -> None:
        self.answer(429, retry_after="1") if self.first else self.route_ok(data)

    def route_busy_until_a_date(self, data: bytes) -> None:
        at = self.date_time_string(int(time.time()) + 1)
        self.answer(503, retry_after=at) if self.first else self.route_ok(data)

    def route_busy_for_a_day(self, data: bytes) -> None:
        self.answer(429, retry_after="86400") if self.first else self.route_ok(data)

    def route_busy_for_ever(self, data: bytes) -> None:
        self.answer(429)

    def route_error_once(self, data: bytes) -> None:
        self.answer(500, b"oops") if self.first else self.route_ok(data)

    def route_error_for_ever(self, data: bytes) -> None:
        self.answer(500, b"oops")

    def route_teapot(self, data: bytes) -> None:
        self.answer(418)

    def route_signed(self, data: bytes) -> None:
        self.route_ok(data) if self.query.get("X-Amz-Signature") == [SIGNATURE] else self.answer(403)

    def route_basic(self, data: bytes) -> None:
        # "user:pass word" in base64.
        good = self.headers.get("Authorization") == "Basic dXNlcjpwYXNzIHdvcmQ="
        self.route_ok(data) if good else self.answer(401)

    def route_no_length(self, data: bytes) -> None:
        self.close_connection = True
        self.answer(200, data, content_length="", connection="close")

    def route_chunked(self, data: bytes) -> None:
        self.answer(200, content_length="", transfer_encoding="chunked")
        for start in range(0, len(data), 1000):
            part = data[start : start + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def route_chunked_short(self, data: bytes) -> None:
        """A chunked body that ends without its last chunk, once."""
        if not self.first:
            return self.route_chunked(data)
        self.answer(200, content_length="", transfer_encoding="chunked")
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data) // 2, data[: len(data) // 2]))
        self.close_connection = True
        return None

    def route_gzipped(self, data: bytes) -> None:
        """A server that compresses although nobody asked it to."""
        import gzip

        self.answer(200, gzip.compress(data), content_encoding="gzip")

    def _broken(self, data: bytes, end: Callable[[], None], **headers: str) -> None:
        ranged = self.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        start = int(ranged) if ranged.isdigit() else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(data[start : start + len(data) // 3 + 1])
        end()

    def route_reset(self, data: bytes) -> None:
        """Reset after a third, once; without ranges."""
        self._broken(data, self.reset) if self.first else self.answer(200, data)

    def route_reset_twice(self, data: bytes) -> None:
        """Reset after each third; goes on at a range."""
        self._broken(data, self.reset, ETag='"v1"')

    def route_reset_for_ever(self, data: bytes) -> None:
        del self.headers["Range"]
        self._broken(data, self.reset)

    def route_reset_first(self, data: bytes) -> None:
        """Reset before any answer, once."""
        self.reset() if self.first else self.route_ok(data)

    def route_short(self, data: bytes) -> None:
        """Close in an orderly way after a third, once."""
        self.close_connection = True
        self._broken(data, lambda: None) if self.first else self.answer(200, data)

    def route_changed(self, data: bytes) -> None:
        """Reset after a third; then it is another file."""
        self._broken(data, self.reset) if self.first else self.answer(200, bytes(len(data)))

    def route_slow(self, data: bytes) -> None:
        """All of it, in ten steps over half a second."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        step = len(data) // 10 + 1
        for start in range(0, len(data), step):
            time.sleep(0.05)
            self.wfile.write(data[start : start + step])

    def route_trickle(self, data: bytes) -> None:
        """A byte each 20 ms."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for byte in data:
            time.sleep(0.02)
            self.wfile.write(bytes([byte]))

    def route_endless(self, data: bytes) -> None:
        """The file, again and again, until the client has gone."""
        self.close_connection = True
        self.answer(200, content_length="", connection="close")
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(data)

    def route_without_ranges(self, data: bytes) -> None:
        """All of it, whatever part was asked for."""
        self.answer(200, data)

    def route_silent(self, data: bytes) -> None:
        """A header, then nothing until the client has gone."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.recv(1)

    def route_mute(self, data: bytes) -> None:
        """No answer at all until the client has gone."""
        with contextlib.suppress(OSError):
            self.connection.recv(1)

    def log_message(self, *_):
        """Keep the tests' output short."""


@contextlib.contextmanager
def web_files(files: dict[str, bytes]) -> Iterator[WebFiles]:
    """Serve files, by their names, until the block ends."""
    with WebFiles(files) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
