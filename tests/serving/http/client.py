"""Client of an ASGI app in the test's own process, which controls the pieces of a body."""

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    left: int = 0
    """Number of pieces of the request's body that were not read."""

    @property
    def json(self):
        return json.loads(self.body)


def call(app, method, path, body=b"", headers=None, **more):
    """Return the reply to one request; `body` is bytes, or a list of pieces without a Content-Length."""
    return asyncio.run(acall(app, method, path, body, headers, **more))


async def acall(app, method, path, body=b"", headers=None, client="198.51.100.7", *, leaves=False):
    """Return the reply likewise; None for a client that `leaves` in the middle of the body."""
    raw, _, query = path.partition("?")
    given = {"host": "shop.test", **(headers or {})}
    pieces = list(body) if isinstance(body, list) else [body]
    if isinstance(body, bytes) and body:
        given.setdefault("content-length", str(len(body)))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()],
        "client": (client, 1),
        "server": ("shop.test", 80),
    }
    sent = []

    async def receive():
        if not pieces:
            if not leaves:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces) or leaves}

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    start = sent[0]
    names = {k.decode(): v.decode() for k, v in start["headers"]}
    return Reply(start["status"], names, b"".join(m.get("body", b"") for m in sent[1:]), len(pieces))


def call_json(app, method, path, content=None, headers=None, **more):
    """Return the reply to a request with a JSON body."""
    body = b"" if content is None else json.dumps(content).encode()
    kind = {} if content is None else {"content-type": "application/json"}
    return call(app, method, path, body, kind | (headers or {}), **more)


def form(fields, file=None, boundary="cut-here"):
    """Return body and headers of a form with these fields, as pairs, and the bytes of its file."""
    parts = []
    for name, value in fields:
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        )
    if file is not None:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="../../etc/clip.mp4"\r\n'
        )
        parts.append(head.encode() + b"Content-Type: video/mp4\r\n\r\n" + file + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"content-type": f"multipart/form-data; boundary={boundary}"}
