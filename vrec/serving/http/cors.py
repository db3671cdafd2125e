"""Access for pages of other origins (CORS), to the operations that browser keys are for."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from vrec.serving.http.multipart import ASSISTANT_FILE_PATH

BROWSER_PATHS = frozenset(
    {"/v1/recommend", "/v1/recommend:slots", "/v1/events", "/v1/assistant", ASSISTANT_FILE_PATH}
)
"""Paths that pages of the allowed origins may call."""
CONVERSATION_PATH = "/v1/assistant/"
"""Beginning of the paths of shoppers' conversations, which they may call too."""
REQUEST_HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "X-Shopper-Token")
"""Headers that a page may send."""
RESPONSE_HEADERS = ("Retry-After", "X-Request-ID")
"""Headers that a page may read besides those that are always readable."""
PREFLIGHT_MAX_AGE_S = 600
"""Seconds for which a browser need not ask again."""


class BrowserAccessMiddleware:
    """ASGI middleware with CORS for BROWSER_PATHS alone; others answer pages as if there were none."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._with_cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["POST", "GET", "DELETE"],
            allow_headers=REQUEST_HEADERS,
            expose_headers=RESPONSE_HEADERS,
            max_age=PREFLIGHT_MAX_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        for_pages = scope["type"] == "http" and is_for_pages(scope["path"])
        await (self._with_cors if for_pages else self._app)(scope, receive, send)


def is_for_pages(path: str) -> bool:
    """Return whether pages of the allowed origins may call a path."""
    return path in BROWSER_PATHS or path.startswith(CONVERSATION_PATH)
