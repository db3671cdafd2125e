"""Routes of the consents of shoppers."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.consents import (
    ConsentRequest,
    ConsentResponse,
    ConsentsResponse,
    ListConsentsQuery,
    ShopperId,
    consent_body,
    consent_rows,
)
from vrec.serving.http.schemas.responses import json_response


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes of `/v1/users/{user_id}/consent` and `/v1/consents`."""
    router = service_router("users")
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.get(
        "/v1/users/{user_id:id}/consent",
        responses={200: {"model": ConsentResponse}, **errors},
        dependencies=require_scope("read", keys),
    )
    async def get_consent(user_id: Annotated[ShopperId, Path()]) -> Response:
        """Return for which purposes a shopper consents. A session that has joined an account has the
        account's consents."""
        answers = await backend.consents.of(user_id)
        return json_response(consent_body(user_id, answers, default=backend.consents.default))

    @router.put(
        "/v1/users/{user_id:id}/consent",
        responses={200: {"model": ConsentResponse}, **errors, **error_responses(415)},
        openapi_extra=openapi_body(ConsentRequest),
        dependencies=require_scope("events", keys),
    )
    async def put_consent(request: Request, user_id: Annotated[ShopperId, Path()]) -> Response:
        """Put what a shopper has answered, durably; it is in effect for the next request. An answer that is
        known already stays as it was."""
        body, key = await read_body(request, ConsentRequest), request.state.key
        answers = body.to_answers(now_us(), None if key is None else key.name)
        known = await backend.consents.put(user_id, answers)
        return json_response(consent_body(user_id, known, default=backend.consents.default))

    @router.get(
        "/v1/consents",
        responses={200: {"model": ConsentsResponse}, **errors},
        dependencies=require_scope("manage", keys),
    )
    async def list_consents(query: Annotated[ListConsentsQuery, Query()]) -> Response:
        """Return a page of the answers of all shoppers. Over all pages they are a CONSENTS table for `vrec
        fit --consent`; one that changes meanwhile may come again."""
        after = 0 if query.cursor is None else decode_cursor(query.cursor, ("list_consents",), int, "cursor")
        found, following = await backend.consents.after(after, query.limit)
        rows = [row for user_id, answers in found for row in consent_rows(user_id, answers)]
        more = encode_cursor(("list_consents",), following) if following else None
        return json_response({"consents": rows, "next_cursor": more})

    return router
