"""Routes of the assistant."""

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.sse import EventSourceResponse

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_json, validate_body
from vrec.serving.http.conversations import ConversationResponder, answer_events
from vrec.serving.http.errors import error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, ShopperToken, require_scope
from vrec.serving.http.multipart import ASSISTANT_FILE_PATH, FORM, read_example_form
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.assistant import (
    ASSISTANT_BODY,
    AssistantFileFields,
    AssistantForm,
    AssistantResponse,
    ConversationResponse,
    SessionAssistantRequest,
    UserAssistantRequest,
)
from vrec.serving.http.schemas.requests import Id
from vrec.serving.http.schemas.responses import json_response

EVENT_STREAM = "text/event-stream"


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/assistant`."""
    router = service_router("assistant")
    responder = ConversationResponder(backend, config)
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/assistant",
        responses={200: _answer_response(), **errors, **error_responses(415)},
        openapi_extra=openapi_body(UserAssistantRequest, SessionAssistantRequest),
        dependencies=require_scope("read", keys, browsers=True),
    )
    async def converse(request: Request, shopper_token: ShopperToken = None) -> Response:
        """Answer a shopper's message, from the catalog as it is now and the shop's documents. A message that
        is sent again, with the same id, gets the same answer. With `Accept: text/event-stream` the answer
        comes as events: `text` in pieces, `cards`, and `done` with all of it; or `error`."""
        body = validate_body(await read_json(request), ASSISTANT_BODY)
        if keys is not None:
            keys.check_shopper(request, shopper_token, [body.user_key])
        request_id = request_id_of(request)
        message = responder.message(body, request_id, vouched=keys is not None)
        return await _respond(request, responder.answer(body.user_key, message))

    _add_search_by_file(router, config, responder, keys, errors)
    _add_conversations(router, backend, responder, keys, errors)
    return router


def _add_search_by_file(
    router: APIRouter,
    config: ServeConfig,
    responder: ConversationResponder,
    keys: ApiKeyring | None,
    errors: dict[int | str, dict[str, Any]],
) -> None:
    @router.post(
        ASSISTANT_FILE_PATH,
        responses={200: _answer_response(), **errors, **error_responses(404, 415)},
        openapi_extra=openapi_body(AssistantForm, media_type=FORM),
        dependencies=require_scope("read", keys, browsers=True),
    )
    async def converse_by_file(request: Request, shopper_token: ShopperToken = None) -> Response:
        """Answer a shopper who shows a picture or a short clip, with or without a message: with the videos
        that look or sound most like it, of those that fit what is asked for so far."""
        body, content = await read_example_form(
            request, AssistantFileFields, config.security.most_example_bytes
        )
        user_key = body.shopper.user_key
        if keys is not None:
            keys.check_shopper(request, shopper_token, [user_key])
        message = await responder.message_by_file(
            body, content, request_id_of(request), vouched=keys is not None
        )
        return await _respond(request, responder.answer(user_key, message))


async def _respond(request: Request, answer: Awaitable[dict[str, Any]]) -> Response:
    """Return an answer as JSON, or as events if these are accepted."""
    if EVENT_STREAM in request.headers.get("accept", ""):
        headers = {"X-Accel-Buffering": "no"}
        return EventSourceResponse(answer_events(answer, request_id_of(request)), headers=headers)
    return json_response(await answer)


def _add_conversations(
    router: APIRouter,
    backend: ServingBackend,
    responder: ConversationResponder,
    keys: ApiKeyring | None,
    errors: dict[int | str, dict[str, Any]],
) -> None:
    reading = require_scope("read", keys, browsers=True)

    @router.get(
        "/v1/assistant/{user_id:id}",
        responses={200: {"model": ConversationResponse}, **errors},
        dependencies=reading,
    )
    async def get_conversation(
        request: Request, user_id: Annotated[Id, Path()], shopper_token: ShopperToken = None
    ) -> Response:
        """Return a shopper's conversation with the assistant; the id of a session is `session:` and its own.
        Without a conversation there are no turns."""
        if keys is not None:
            keys.check_shopper(request, shopper_token, [user_id])
        return json_response(await responder.get(user_id))

    @router.delete(
        "/v1/assistant/{user_id:id}",
        status_code=204,
        response_class=Response,
        responses=errors,
        dependencies=reading,
    )
    async def forget_conversation(
        request: Request, user_id: Annotated[Id, Path()], shopper_token: ShopperToken = None
    ) -> Response:
        """Forget a shopper's conversation with the assistant for good. Without one nothing changes."""
        if keys is not None:
            keys.check_shopper(request, shopper_token, [user_id])
        await backend.conversations.forget(user_id)
        return Response(status_code=204)


def _answer_response() -> dict[str, Any]:
    return {"model": AssistantResponse, "content": {EVENT_STREAM: {"schema": {"type": "string"}}}}
