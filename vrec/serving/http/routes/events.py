"""Routes for events and what derives from them: export, profiles and statistics of arms."""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Path, Query, Request, Response

from vrec.config.serve import ServeConfig
from vrec.core.protocols import EXPORT_ROWS
from vrec.profiles.profile import Profile
from vrec.profiles.stores.codec import EventRow
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.experiments import ArmStatistics
from vrec.serving.http.body import COMMON_ERRORS, openapi_body, read_json, validate_body
from vrec.serving.http.errors import FieldProblem, HttpProblem, error_responses
from vrec.serving.http.keys import ApiKeyring, ShopperToken, require_scope
from vrec.serving.http.routers import service_router
from vrec.serving.http.schemas.events import (
    EVENTS_BODY,
    EventRequest,
    EventsRequest,
    SessionEventRequest,
    UserEventRequest,
)
from vrec.serving.http.schemas.records import EraseShopperResponse, erasure_digest, receipt_body
from vrec.serving.http.schemas.requests import Id
from vrec.serving.http.schemas.responses import EventsResponse, ProfileResponse, json_response

PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
CURSOR = "X-Next-Cursor"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ResponseSpecs = dict[int | str, dict[str, Any]]


def routes(backend: ServingBackend, config: ServeConfig, keys: ApiKeyring | None) -> APIRouter:
    """Return the routes `/v1/events`, `/v1/profiles/{user_id}` and `/v1/arms`."""
    router = service_router("events")
    errors = error_responses(*((401,) if keys else ()), *COMMON_ERRORS)
    _add_events(router, backend, config, keys, errors)
    _add_profiles(router, backend, keys, errors)

    @router.get(
        "/v1/arms",
        responses={200: {"model": ArmStatistics}, **errors},
        dependencies=require_scope("read", keys),
    )
    async def arm_statistics() -> Response:
        """Return impressions, clicks, watch time and purchases by arm of the A/B test, with confidence
        intervals that stay valid however often they are read."""
        return json_response(await backend.arms())

    return router


def _add_events(
    router: APIRouter,
    backend: ServingBackend,
    config: ServeConfig,
    keys: ApiKeyring | None,
    errors: ResponseSpecs,
) -> None:
    @router.post(
        "/v1/events",
        status_code=202,
        responses={202: {"model": EventsResponse}, **errors, **error_responses(404, 415)},
        openapi_extra=openapi_body(UserEventRequest, SessionEventRequest, EventsRequest),
        dependencies=require_scope("events", keys, browsers=True),
    )
    async def add_events(request: Request, shopper_token: ShopperToken = None) -> Response:
        """Store one event, or all of `events` or none, and respond once they are durable. An event counts
        once, however often it is sent."""
        now = datetime.now(UTC)
        sent = read_events(await read_json(request), now, config.own_kinds)
        rows = [_row_of(event, now) for event in _events_of(sent)]
        if keys is not None:
            keys.check_shopper(request, shopper_token, (row[1] for row in rows))
            keys.check_surfaces(request, (row[8] for row in rows), config.guard.orders_surface)
        rows = await _with_linked_accounts(sent, rows, backend)
        applied = await backend.apply(rows)
        unused = backend.links.unused(rows)
        counts = {"new": applied.new, "repeated": applied.repeated, "unused": unused}
        return json_response(counts | {"refused": applied.refused}, 202)

    @router.get(
        "/v1/events",
        responses={200: _export_response(), **errors},
        response_class=Response,
        dependencies=require_scope("manage", keys),
    )
    async def export_events(
        after: Annotated[int, Query(ge=0, le=2**62, description="Cursor of the previous call.")] = 0,
        limit: Annotated[int, Query(ge=1, le=EXPORT_ROWS, description="Maximum of events.")] = EXPORT_ROWS,
        file_format: Annotated[Literal["parquet", "arrow"], Query(alias="format")] = "parquet",
    ) -> Response:
        """Return the next EVENTS of the log in order of arrival. `X-Next-Cursor` is the `after` of the next
        call; a file without rows is the end of the log. A cursor past the end counts as the end."""
        table, cursor = await backend.export(after, limit)
        content = await asyncio.to_thread(_file_of, table, file_format)
        media_type = PARQUET if file_format == "parquet" else ARROW
        return Response(content, 200, {CURSOR: str(cursor)}, media_type)

    @router.delete(
        "/v1/events/{event_id:id}",
        status_code=204,
        response_class=Response,
        responses={**errors, **error_responses(404)},
        dependencies=require_scope("manage", keys),
    )
    async def remove_event(event_id: Annotated[Id, Path()]) -> Response:
        """Remove an event for good: profiles, counts and figures are then those without it. It is not
        accepted again. Removing it again changes nothing."""
        await backend.remove_event(event_id)
        return Response(status_code=204)


def _add_profiles(
    router: APIRouter, backend: ServingBackend, keys: ApiKeyring | None, errors: ResponseSpecs
) -> None:
    @router.get(
        "/v1/profiles/{user_id:id}",
        responses={200: {"model": ProfileResponse}, **errors, **error_responses(404)},
        dependencies=require_scope("read", keys),
    )
    async def get_profile(user_id: Annotated[Id, Path()]) -> Response:
        """Return the profile of a shopper."""
        shopper = await backend.profile(user_id)
        if shopper is None:
            raise HttpProblem(404, "unknown-profile", f"there are no events of {user_id}: send some first")
        return json_response(_profile_body(shopper))

    @router.delete(
        "/v1/profiles/{user_id:id}",
        responses={200: {"model": EraseShopperResponse}, **errors},
        dependencies=require_scope("manage", keys),
    )
    async def erase_profile(user_id: Annotated[Id, Path()]) -> Response:
        """Delete all that is kept of a shopper for good, and return a receipt; the events are not accepted
        again."""
        salt = secrets.token_hex(16)
        receipt = await backend.records.erase(user_id, erasure_digest(salt, user_id))
        told = {"erased": receipt.counts["events"], "receipt": receipt_body(receipt) | {"salt": salt}}
        return json_response({"user_id": user_id, **told})


def read_events(body: bytes, now: datetime, own_kinds: Collection[str] = ()) -> EventRequest | EventsRequest:
    """Parse the body of a request that sends events.

    Args:
        body: JSON of one event or of `events`.
        now: Current time, for events without `at` and for the limits of `at`.
        own_kinds: Names of the shop's own kinds of events.

    Returns:
        One event or several.

    Raises:
        HttpProblem: A field is invalid; every invalid field of every event is listed.
    """
    return validate_body(body, EVENTS_BODY, {"now": now, "own_kinds": own_kinds})


def parse_events(body: bytes, now: datetime, own_kinds: Collection[str] = ()) -> list[EventRow]:
    """Return the rows of EVENTS of a body in its order, without linked accounts; see `read_events`."""
    return [_row_of(event, now) for event in _events_of(read_events(body, now, own_kinds))]


def _events_of(sent: EventRequest | EventsRequest) -> list[EventRequest]:
    return list(sent.events) if isinstance(sent, EventsRequest) else [sent]


async def _with_linked_accounts(
    sent: EventRequest | EventsRequest, rows: Sequence[EventRow], backend: ServingBackend
) -> list[EventRow]:
    """Return the rows, those that are `linked` with the shopper's account in place of the shopper.

    Raises:
        HttpProblem: No link holds; every such event is listed.
    """
    found, problems = list(rows), list[FieldProblem]()
    accounts: dict[tuple[str, str], str | None] = {}
    for place, event in enumerate(_events_of(sent)):
        if not isinstance(event, UserEventRequest) or not event.linked or event.domain is None:
            continue
        named = event.user_id, event.domain
        if named not in accounts:
            accounts[named] = await backend.links.account_of(*named)
        account = accounts[named]
        if account is None:
            where = f"events.{place}.linked" if isinstance(sent, EventsRequest) else "linked"
            detail = f"{event.user_id} is not linked to an account in {event.domain}"
            problems.append(FieldProblem(where=where, detail=detail))
        else:
            event_id, _, *rest = rows[place]
            found[place] = (event_id, account, *rest)
    if problems:
        detail = "the shopper has no link to that domain (any more), so none of these events is stored"
        raise HttpProblem(404, "unknown-link", detail, errors=problems)
    return found


def _row_of(event: EventRequest, now: datetime) -> EventRow:
    return (
        event.event_id,
        event.user_key,
        event.video_id,
        event.kind,
        event.value,
        event.position,
        event.request_id,
        event.propensity,
        event.surface,
        ((event.at or now) - _EPOCH) // _MICROSECOND,
    )


def _profile_body(profile: Profile) -> dict[str, Any]:
    history = [
        {
            "video_id": entry.video_id,
            "weight": entry.weight,
            "at": (_EPOCH + entry.at * _MICROSECOND).isoformat(),
        }
        for entry in profile.history
    ]
    return {
        "user_id": profile.entity_id,
        "events": len(profile.seen),
        "counts": dict(profile.counts),
        "history": history,
    }


def _file_of(table: pa.Table, file_format: Literal["parquet", "arrow"]) -> bytes:
    sink = pa.BufferOutputStream()
    if file_format == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _export_response() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    cursor = {"description": "`after` of the next call.", "schema": {"type": "string"}, "required": True}
    return {
        "description": "EVENTS",
        "content": {PARQUET: binary, ARROW: binary},
        "headers": {CURSOR: cursor},
    }
