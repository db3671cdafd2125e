"""Route of the audit log."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.requests import Cursor
from vrec.serving.http.schemas.responses import AuditResponse, json_response

MAX_PAGE = 1_000
"""Maximum number of entries in a page."""
_CURSOR_OF = ("audit_log",)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the route `/v1/audit`."""
    router = service_router("audit", require_scope("manage", keys))
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get("/v1/audit", responses={200: {"model": AuditResponse}, **errors})
    async def audit_log(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of entries.")] = 100,
        cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before.")] = None,
    ) -> Response:
        """Return the calls of operations that need `manage`, the last first: who, when, what, and the status
        of the response. The last 100,000 are kept."""
        before = decode_cursor(cursor, _CURSOR_OF, int, "cursor") if cursor else None
        entries = await backend.audit.page(before, limit)
        content = [{**asdict(entry), "at": _EPOCH + timedelta(microseconds=entry.at)} for _, entry in entries]
        more = len(entries) == limit and entries[-1][0] > 1
        last = encode_cursor(_CURSOR_OF, entries[-1][0]) if more else None
        return json_response({"entries": content, "next_cursor": last})

    return router
