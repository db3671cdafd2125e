"""Compression of texts, such as JSON and the page. Videos and tables are compressed already."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEVEL = 5
"""Level of gzip, from 1 (fast) to 9 (small)."""
MIN_BYTES = 1_000
"""Minimum size of a compressed body; a smaller one fits a packet."""
BINARY_TYPES = (
    "application/octet-stream",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
    "multipart/*",
)
"""Media types besides those of Starlette that are sent as they are."""


class CompressionMiddleware:
    """Middleware that compresses texts by gzip for clients that accept it."""

    def __init__(self, app: ASGIApp) -> None:
        excluded = (*DEFAULT_EXCLUDED_CONTENT_TYPES, *BINARY_TYPES)
        self._app = GZipMiddleware(app, MIN_BYTES, LEVEL, exclude_content_types=excluded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        accepted = accepts_gzip(Headers(scope=scope).getlist("accept-encoding"))
        others = [pair for pair in scope["headers"] if pair[0].lower() != b"accept-encoding"]
        # Starlette looks for the letters gzip alone, and would take `gzip;q=0` for consent.
        scope = {**scope, "headers": [*others, *([(b"accept-encoding", b"gzip")] if accepted else [])]}

        async def send_with_weak_tag(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # A strong tag stands for the very bytes, which differ from those without compression.
                if "content-encoding" in headers and headers.get("etag", "").startswith('"'):
                    headers["etag"] = f"W/{headers['etag']}"
            await send(message)

        await self._app(scope, receive, send_with_weak_tag)


def accepts_gzip(values: list[str]) -> bool:
    """Return whether the values of Accept-Encoding accept gzip (RFC 9110, section 12.5.3)."""
    weights: dict[str, float] = {}
    for part in ",".join(values).split(","):
        coding, *parameters = (one.strip().lower() for one in part.split(";"))
        weights[coding] = min((_weight(one) for one in parameters if one.startswith("q=")), default=1.0)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
