"""Routes of batches: lists for many shoppers, as for e-mail."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from vrec.config.serve import ServeConfig
from vrec.serving.batches.folder import BatchState
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_body
from vrec.serving.http.errors import error_responses, request_id_of
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.routes.events import PARQUET
from vrec.serving.http.schemas.batches import BatchId, BatchRequest, BatchResponse
from vrec.serving.http.schemas.responses import json_response
from vrec.serving.messages import RecommendQuery

CHUNK_BYTES = 1_000_000
"""Bytes of a result that are read at a time."""


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes below `/v1/batches`."""
    router = service_router("batches", require_scope("manage", keys))
    errors = (*((401,) if keys else ()), *COMMON_ERRORS)

    @router.post(
        "/v1/batches",
        status_code=202,
        responses={202: {"model": BatchResponse}, **error_responses(409, 415, *errors)},
        openapi_extra=openapi_body(BatchRequest),
    )
    async def start_batch(request: Request) -> Response:
        """Make lists for many shoppers, each the one of `POST /v1/recommend` at that moment. The batch runs
        beside the service; GET tells how far it is."""
        body = await read_body(request, BatchRequest)
        query = RecommendQuery(
            request_id=request_id_of(request),
            user_id="",
            surface=body.surface,
            k=body.k,
            at=now_us(),
            filters=body.filters.to_filters(body.kinds, body.exclude),
        )
        return json_response(_content(await backend.batches.start(query, body.user_ids)), 202)

    @router.get(
        "/v1/batches/{batch_id}",
        responses={200: {"model": BatchResponse}, **error_responses(404, *errors)},
    )
    async def get_batch(batch_id: Annotated[BatchId, Path()]) -> Response:
        """Return the state of a batch."""
        return json_response(_content(await backend.batches.state(batch_id)))

    @router.delete(
        "/v1/batches/{batch_id}",
        status_code=204,
        response_class=Response,
        responses=error_responses(404, *errors),
    )
    async def cancel_batch(batch_id: Annotated[BatchId, Path()]) -> Response:
        """Cancel a batch, or remove the result of one that is done. No part of a result stays."""
        await backend.batches.cancel(batch_id)
        return Response(status_code=204)

    _add_result(router, backend, errors)
    return router


def _add_result(router: APIRouter, backend: ServingBackend, errors: Sequence[int]) -> None:
    content = {PARQUET: {"schema": {"type": "string", "format": "binary"}}}
    result = {"description": "RANKED, with `propensity`, as Parquet.", "content": content}

    @router.get(
        "/v1/batches/{batch_id}/result",
        responses={200: result, **error_responses(404, 409, *errors)},
        response_class=Response,
    )
    async def get_batch_result(batch_id: Annotated[BatchId, Path()]) -> Response:
        """Return the lists of a batch that is done: a row per shopper and video, best first."""
        stream, size = await backend.batches.result(batch_id)
        headers = {"content-length": str(size)}
        return StreamingResponse(_chunks(stream), headers=headers, media_type=PARQUET)


async def _chunks(stream: pa.NativeFile) -> AsyncIterator[bytes]:
    with stream:
        while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
            yield chunk


def _content(state: BatchState) -> dict[str, Any]:
    """Return a BatchResponse as a dict."""
    return {
        "batch_id": state.batch_id,
        "state": state.state,
        "users": state.users,
        "done": state.done,
        "created_at": datetime.fromtimestamp(state.created_at / 1e6, UTC),
        "why": state.why,
    }
