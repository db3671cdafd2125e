"""Route of the conversations that a person takes over."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from vrec.config.serve import ServeConfig
from vrec.serving.conversation.hand_over_posts import hand_over_body
from vrec.serving.conversation.hand_overs import HandOver
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.hand_overs import HandOversResponse
from vrec.serving.http.schemas.requests import Cursor
from vrec.serving.http.schemas.responses import json_response

MAX_PAGE = 200
_CURSOR_OF = ("list_hand_overs",)


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the route `/v1/hand-overs`."""
    router = service_router("assistant", require_scope("manage", keys))
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get("/v1/hand-overs", responses={200: {"model": HandOversResponse}, **errors})
    async def list_hand_overs(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of hand-overs.")] = 50,
        cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before.")] = None,
    ) -> Response:
        """Return the conversations that a person takes over, those that changed longest ago first. Whoever
        goes on with `next_cursor` gets each at least once."""
        after = decode_cursor(cursor, _CURSOR_OF, int, "cursor") if cursor else 0
        found, last = await backend.conversations.hand_overs(after, limit)
        return json_response(
            {"hand_overs": [_entry(one) for one in found], "next_cursor": encode_cursor(_CURSOR_OF, last)}
        )

    return router


def _entry(hand_over: HandOver) -> dict[str, Any]:
    confirmed = hand_over.confirmed_at
    at = None if confirmed is None else datetime.fromtimestamp(confirmed / 1e6, UTC).isoformat()
    return {**hand_over_body(hand_over), "confirmed_at": at}
