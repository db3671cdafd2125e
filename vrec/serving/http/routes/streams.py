"""Routes of live streams: start, beat, end and read them."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from vrec.config.serve import ServeConfig
from vrec.core.errors import VrecError
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import FieldProblem, HttpProblem, error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.http.schemas.streams import (
    BEAT_SUFFIX,
    BeatRequest,
    BeatsRequest,
    BeatsResponse,
    FollowedStreamResponse,
    ListStreamsQuery,
    StreamId,
    StreamRequest,
    StreamResponse,
    StreamsResponse,
    content_body,
    stream_body,
)
from vrec.serving.streams.states import StreamOver, StreamState, StreamTaken


class _StreamPath(Convertor[str]):
    """Stream id in a path. An id may contain slashes, which are decoded before the path is matched."""

    # What ends like the path of beats is that path, which other methods do not have (405). The id that is
    # that end alone is an id, which is refused with the reason.
    regex = f"(?s:{BEAT_SUFFIX[1:]}|.+(?<!{BEAT_SUFFIX}))"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("stream", _StreamPath())


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/streams`."""
    router = service_router("streams")
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)
    _add_reading(router, backend, keys, errors)
    _add_changes(router, backend, keys, errors)

    # Beats come by the dozen per second: in the audit log they would push out all that is worth reading.
    @router.post(
        f"/v1/streams/{{stream_id:stream}}{BEAT_SUFFIX}",
        responses={200: {"model": StreamResponse}, **error_responses(404, 409, 415, *errors)},
        openapi_extra=openapi_body(BeatRequest),
        dependencies=require_scope("manage", keys, audited=False),
    )
    async def beat_stream(request: Request, stream_id: Annotated[StreamId, Path()]) -> Response:
        """Report that a stream is still live, and what changed. A stream without a beat for
        `serve.live.expiry_s` is over. Beats are not in the audit log."""
        beat = await read_body(request, BeatRequest)
        return await _response(backend, await backend.streams.beat(stream_id, beat.to_beat()))

    @router.post(
        "/v1/streams:beat",
        responses={200: {"model": BeatsResponse}, **error_responses(415, *errors)},
        openapi_extra=openapi_body(BeatsRequest),
        dependencies=require_scope("manage", keys, audited=False),
    )
    async def beat_streams(request: Request) -> Response:
        """Report that many streams are still live, and what changed: a fraction of the cost of as many
        requests. Streams that are over or unknown are named, and hinder no other."""
        body = await read_body(request, BeatsRequest)
        found = await backend.streams.beat_all({beat.stream_id: beat.to_beat() for beat in body.beats})
        outcomes = [{"stream_id": name, "outcome": _outcome(result)} for name, result in found.items()]
        return json_response({"beats": outcomes})

    return router


def _outcome(result: StreamState | VrecError) -> str:
    if isinstance(result, StreamState):
        return "live"
    return "over" if isinstance(result, StreamOver) else "unknown"


def _add_reading(
    router: APIRouter, backend: ServingBackend, keys: ApiKeyring | None, errors: Sequence[int]
) -> None:
    @router.get(
        "/v1/streams",
        responses={200: {"model": StreamsResponse}, **error_responses(*errors)},
        dependencies=require_scope("read", keys),
    )
    async def list_streams(query: Annotated[ListStreamsQuery, Query()]) -> Response:
        """Return a page of the streams that are live now, by id. Over all pages a stream that stays live
        comes once, whatever begins and ends between them."""
        common = ("list_streams",)
        after = decode_cursor(query.cursor, common, str, "cursor") if query.cursor is not None else ""
        live = await backend.streams.live()
        cards = await backend.cards([state.stream_id for state in live])
        live = [state for state in live if state.stream_id in cards]
        start = bisect_right(live, after, key=lambda state: state.stream_id)
        page = live[start : start + query.limit]
        has_more = len(live) > start + query.limit
        content = {
            "streams": [stream_body(state, None, cards[state.stream_id]) for state in page],
            "found": len(live),
            "next_cursor": encode_cursor(common, page[-1].stream_id) if has_more else None,
        }
        return json_response(content)

    @router.get(
        "/v1/streams/{stream_id:stream}",
        responses={200: {"model": FollowedStreamResponse}, **error_responses(404, *errors)},
        dependencies=require_scope("read", keys),
    )
    async def get_stream(stream_id: Annotated[StreamId, Path()]) -> Response:
        """Return a stream, live or over, with what became of its content: when it was embedded last, and why
        the last attempt failed."""
        state = await backend.streams.get(stream_id)
        content = content_body(await backend.streams.content(state))
        return json_response(await _body(backend, state) | {"content": content})


def _add_changes(
    router: APIRouter, backend: ServingBackend, keys: ApiKeyring | None, errors: Sequence[int]
) -> None:
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": StreamResponse, "description": "It was live, and is as described."},
        201: {"model": StreamResponse, "description": "It has started."},
        **error_responses(409, 415, *errors),
    }

    @router.put(
        "/v1/streams/{stream_id:stream}",
        responses=responses,
        openapi_extra=openapi_body(StreamRequest),
        dependencies=require_scope("manage", keys),
    )
    async def put_stream(request: Request, stream_id: Annotated[StreamId, Path()]) -> Response:
        """Start a stream, or describe a live one anew, which counts as a beat too. It is in lists within a
        second, as a video of kind `live` with the stream's id. A stream that is over starts again."""
        body = await read_body(request, StreamRequest)
        try:
            state, has_started = await backend.streams.put(stream_id, body.to_details())
        except StreamTaken as error:
            where = "streamer_id" if error.is_live else "stream_id"
            detail = f"{error}. Fix: {error.fix}"
            problem = FieldProblem(where=where, detail=str(error))
            raise HttpProblem(409, "stream-taken", detail, errors=[problem]) from None
        return await _response(backend, state, 201 if has_started else 200)

    @router.delete(
        "/v1/streams/{stream_id:stream}",
        status_code=204,
        response_class=Response,
        responses=error_responses(404, *errors),
        dependencies=require_scope("manage", keys),
    )
    async def end_stream(stream_id: Annotated[StreamId, Path()]) -> Response:
        """End a stream: no list has it from now on. One that is over stays so."""
        await backend.streams.end(stream_id)
        return Response(status_code=204)


async def _response(backend: ServingBackend, state: StreamState, status: int = 200) -> Response:
    return json_response(await _body(backend, state), status)


async def _body(backend: ServingBackend, state: StreamState) -> dict[str, Any]:
    cards = await backend.cards([state.stream_id])
    return stream_body(state, backend.streams.ends_at(state), cards.get(state.stream_id))
