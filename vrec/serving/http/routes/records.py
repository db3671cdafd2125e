"""Routes of the records of shoppers: all that is held of one, and receipts."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.held import counts_of
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.http.body import COMMON_ERRORS
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import error_responses
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.lists import now_us
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.records import ListReceiptsQuery, ReceiptsResponse, receipt_body, text_of
from vrec.serving.http.schemas.requests import Id
from vrec.serving.http.schemas.responses import json_response

EVENTS_PER_READ = 1_000
"""Events of a record that are read at a time."""


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes `/v1/users/{user_id}/export` and `/v1/receipts`."""
    router = service_router("users")
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)
    record = {"schema": {"type": "object", "additionalProperties": True}}

    @router.get(
        "/v1/users/{user_id:id}/export",
        responses={200: {"description": "Record.", "content": {"application/json": record}}, **errors},
        response_class=Response,
        dependencies=require_scope("manage", keys),
    )
    async def export_user(user_id: Annotated[Id, Path()]) -> Response:
        """Return all that is held of a shopper as one JSON object, which ends with a receipt."""
        held = await backend.records.held(user_id)
        return StreamingResponse(_record(backend, user_id, held), media_type="application/json")

    @router.get(
        "/v1/receipts",
        responses={200: {"model": ReceiptsResponse}, **errors},
        dependencies=require_scope("manage", keys),
    )
    async def list_receipts(request: Request, query: Annotated[ListReceiptsQuery, Query()]) -> Response:
        """Return the receipts of records that were told and of erasures, the latest first. They do not name
        shoppers."""
        asked = ("list_receipts",)
        before = None if query.cursor is None else decode_cursor(query.cursor, asked, int, "cursor")
        found = await backend.records.receipts(before, query.limit)
        more = encode_cursor(asked, found[-1].number) if len(found) == query.limit else None
        return json_response({"receipts": [receipt_body(one) for one in found], "next_cursor": more})

    return router


async def _record(backend: ServingBackend, user_id: str, held: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """Yield the bytes of a record: its parts, the events page by page, and the receipt."""
    digest, count = hashlib.sha256(), 0

    def told(content: bytes) -> bytes:
        digest.update(content)
        return content

    arm = {"arm": backend.experiment.arm_of(user_id).name, "salt": backend.experiment.config.salt}
    head = {"user_id": user_id, "at": text_of(now_us()), **_with_times(held), "experiment": arm}
    yield told(to_json(head)[:-1] + b',"events":[')
    before: int | None = None
    while True:
        events, before = await backend.events_of(user_id, before, EVENTS_PER_READ)
        rows = [to_json(row) for row in _rows(events)]
        if rows:
            yield told((b"," if count else b"") + b",".join(rows))
        count += len(rows)
        if before is None:
            break
    yield told(b"]")
    counts = counts_of(held) | {"events": count}
    receipt = await backend.records.keep_receipt("access", counts, digest.hexdigest())
    yield b',"receipt":' + to_json(receipt_body(receipt)) + b"}"


def _rows(events: pa.Table) -> list[dict[str, Any]]:
    at = events.column("at").cast(pa.int64()).to_pylist()
    rows = events.drop_columns(["at"]).to_pylist()
    return [row | {"at": text_of(micros)} for row, micros in zip(rows, at, strict=True)]


def _with_times(value: Any) -> Any:
    """Return JSON values with times, whose names end in `at`, as text."""
    if isinstance(value, Mapping):
        return {
            key: text_of(one) if key.endswith("at") and isinstance(one, int) else _with_times(one)
            for key, one in value.items()
        }
    return [_with_times(one) for one in value] if isinstance(value, list) else value
