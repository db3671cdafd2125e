"""The operations on events and on what follows from them: profiles, arms, the export."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ValidationError

from vrec.config.serve import ServeConfig
from vrec.core.protocols import EXPORT_ROWS
from vrec.core.schema import EVENTS, TIMESTAMP
from vrec.profiles.profile import Profile
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.experiments import ArmStatistics
from vrec.serving.http.errors import HttpProblem, error_responses, validation_problem
from vrec.serving.http.keys import ApiKeyring, require_scope
from vrec.serving.http.routes.recommendations import COMMON_ERRORS, read_json
from vrec.serving.http.schemas.requests import EVENTS_BODY, EventRequest, EventsRequest, Id
from vrec.serving.http.schemas.responses import EraseResponse, EventsResponse, ProfileResponse, json_response

PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
CURSOR = "X-Next-Cursor"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCHEMA = EVENTS.arrow()
ResponseSpecs = dict[int | str, dict[str, Any]]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": "#/components/schemas/EventGiven"},
                        {"$ref": "#/components/schemas/EventsGiven"},
                    ]
                }
            }
        },
    }
}


def routes(nodes: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """`/v1/events`, `/v1/profiles/{user_id}` and `/v1/arms`."""
    router = APIRouter(tags=["events"])
    usual = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)
    _add_events(router, nodes, keys, usual)
    _add_profiles(router, nodes, keys, usual)

    @router.get(
        "/v1/arms",
        responses={200: {"model": ArmStatistics}, **usual},
        dependencies=require_scope("read", keys),
    )
    async def arms() -> Response:
        """What each arm's shoppers saw and did, with intervals that hold at however many looks."""
        return json_response(await nodes.arms())

    return router


def _add_events(
    router: APIRouter, nodes: ServingBackend, keys: ApiKeyring | None, usual: ResponseSpecs
) -> None:
    @router.post(
        "/v1/events",
        status_code=202,
        responses={202: {"model": EventsResponse}, **usual, **error_responses(415)},
        openapi_extra=_BODY,
        dependencies=require_scope("events", keys),
    )
    async def add_events(request: Request) -> Response:
        """Keeps one event, or all of `events` or none; answers once they survive whatever happens to the
        service. An event counts once, however often it is sent."""
        applied = await nodes.apply(parse_events(await read_json(request), datetime.now(UTC)))
        return json_response({"new": applied.new, "repeated": applied.repeated}, 202)

    @router.get(
        "/v1/events",
        responses={200: _export_response(), **usual},
        response_class=Response,
        dependencies=require_scope("manage", keys),
    )
    async def export_events(
        after: Annotated[int, Query(ge=0, le=2**62, description="The cursor of the call before.")] = 0,
        limit: Annotated[int, Query(ge=1, le=EXPORT_ROWS, description="Events at most.")] = EXPORT_ROWS,
        form: Annotated[Literal["parquet", "arrow"], Query(alias="format")] = "parquet",
    ) -> Response:
        """The next EVENTS of the log in the order they came; `X-Next-Cursor` is where to go on. No rows: that
        is all by now."""
        table, cursor = await nodes.export(after, limit)
        content = await asyncio.to_thread(_file_of, table, form)
        kind = PARQUET if form == "parquet" else ARROW
        return Response(content, 200, {CURSOR: str(cursor)}, kind)


def _add_profiles(
    router: APIRouter, nodes: ServingBackend, keys: ApiKeyring | None, usual: ResponseSpecs
) -> None:
    @router.get(
        "/v1/profiles/{user_id:path}",
        responses={200: {"model": ProfileResponse}, **usual, **error_responses(404)},
        dependencies=require_scope("read", keys),
    )
    async def profile(user_id: Annotated[Id, Path()]) -> Response:
        """What is known of a shopper."""
        found = await nodes.profile(user_id)
        if found is None:
            raise HttpProblem(
                404, "unknown-profile", f"there is no event of {user_id}: send some, and ask again"
            )
        return json_response(_profile_body(found))

    @router.delete(
        "/v1/profiles/{user_id:path}",
        responses={200: {"model": EraseResponse}, **usual},
        dependencies=require_scope("manage", keys),
    )
    async def erase(user_id: Annotated[Id, Path()]) -> Response:
        """Removes a shopper's events and profile for good; none of these events can come back."""
        return json_response({"user_id": user_id, "erased": await nodes.erase(user_id)})


def parse_events(body: bytes, now: datetime) -> pa.Table:
    """EVENTS of a request's body; raises the problem of one that is not as it should be, naming every wrong
    field of every event."""
    try:
        given = EVENTS_BODY.validate_json(body, context={"now": now})
    except ValidationError as error:
        raise validation_problem(error, 1) from None
    return _table_of(given.events if isinstance(given, EventsRequest) else [given], now)


def _table_of(events: Sequence[EventRequest], now: datetime) -> pa.Table:
    def micros(at: datetime | None) -> int:
        return ((at or now) - _EPOCH) // _MICROSECOND

    columns: list[list[Any]] = [
        [event.event_id for event in events],
        [event.user_key for event in events],
        [event.video_id for event in events],
        [event.kind for event in events],
        [event.value for event in events],
        [event.position for event in events],
        [event.request_id for event in events],
        [event.propensity for event in events],
        [event.surface for event in events],
        [micros(event.at) for event in events],
    ]
    arrays = [
        pa.array(column, pa.int64()).cast(TIMESTAMP)
        if field.type == TIMESTAMP
        else pa.array(column, field.type)
        for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _profile_body(profile: Profile) -> dict[str, Any]:
    history = [
        {
            "video_id": one.video_id,
            "weight": one.weight,
            "at": (_EPOCH + one.at * _MICROSECOND).isoformat(),
        }
        for one in profile.history
    ]
    return {
        "user_id": profile.entity_id,
        "events": len(profile.seen),
        "counts": dict(profile.counts),
        "history": history,
    }


def _file_of(table: pa.Table, form: Literal["parquet", "arrow"]) -> bytes:
    sink = pa.BufferOutputStream()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _export_response() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    cursor = {"description": "The next call's `after`.", "schema": {"type": "string"}, "required": True}
    return {
        "description": "EVENTS",
        "content": {PARQUET: binary, ARROW: binary},
        "headers": {CURSOR: cursor},
    }
