"""Routes for single shoppers: profile and events, and sessions that join an account."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.core.schema import SESSION_PREFIX
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import HttpProblem, error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.requests import Cursor, Id, UserId
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.http.schemas.users import JoinSessionRequest, JoinSessionResponse, UserResponse
from vrec.serving.http.user_profiles import describe_user

MAX_RECENT = 1_000
"""Maximum number of events in one response."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/users`."""
    router = service_router("users")
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/users/{user_id:id}/sessions",
        responses={200: {"model": JoinSessionResponse}, **errors, **error_responses(409, 415)},
        openapi_extra=openapi_body(JoinSessionRequest),
        dependencies=require_scope("events", keys),
    )
    async def join_session(request: Request, user_id: Annotated[UserId, Path()]) -> Response:
        """Join a session to the account that logged in: its events, before and after, are then the shopper's.
        Joining it again changes nothing; a session of another account is refused."""
        session_id = (await read_body(request, JoinSessionRequest)).session_id
        moved = await backend.join(f"{SESSION_PREFIX}{session_id}", user_id)
        return json_response({"user_id": user_id, "session_id": session_id, "events": moved})

    @router.get(
        "/v1/users/{user_id:id}",
        responses={200: {"model": UserResponse}, **errors, **error_responses(404)},
        dependencies=require_scope("read", keys),
    )
    async def get_user(
        user_id: Annotated[Id, Path()],
        limit: Annotated[int, Query(ge=1, le=MAX_RECENT, description="Maximum of events in `recent`.")] = 50,
        cursor: Annotated[Cursor | None, Query(description="`next_cursor` of the page before.")] = None,
    ) -> Response:
        """Return a shopper's profile in plain words, and the last events in pages."""
        asked = ("get_user", user_id)
        before = None if cursor is None else decode_cursor(cursor, asked, int, "cursor")
        profile = await backend.profile(user_id)
        if profile is None:
            raise HttpProblem(404, "unknown-profile", f"there are no events of {user_id}: send some first")
        cards = await backend.cards([entry.video_id for entry in profile.history])
        events, following = await backend.events_of(user_id, before, limit)
        described = describe_user(profile, cards, config.currency)
        more = None if following is None else encode_cursor(asked, following)
        return json_response({**described, "recent": _rows(events), "next_cursor": more})

    return router


def _rows(events: pa.Table) -> list[dict[str, Any]]:
    at = events.column("at").cast(pa.int64()).to_pylist()
    names = ("event_id", "kind", "video_id", "value", "position", "request_id")
    rows = events.select([*names, "domain"]).to_pylist()
    return [
        {name: row[name] for name in names}
        | {"surface": row["domain"], "at": (_EPOCH + timedelta(microseconds=micros)).isoformat()}
        for row, micros in zip(rows, at, strict=True)
    ]
