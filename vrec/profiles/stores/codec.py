"""Lossless encoding of events and profiles as bytes, the same in every store: MessagePack and raw vectors."""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa

from vrec.core.errors import StoreError
from vrec.core.schema import EVENTS, TIMESTAMP
from vrec.profiles.profile import EventRecord, InterestEvent, Profile
from vrec.profiles.update import validate_events

FORMAT = 2
"""The first value of every packed profile and event; other formats are refused."""
KEY_BYTES = 16
"""Length of an event's key."""
SECRET_BYTES = 32
"""Length of the secret that a store makes for its event keys."""
NAMES = tuple(column.name for column in EVENTS.columns)
"""The columns of EVENTS, in the order of an EventRow."""
PROFILE_VALUES = 6
"""Number of values of a packed profile after the format."""

EventRow = tuple[Any, ...]
"""One event's values in the order of EVENTS, `at` as µs since 1970."""


def event_key(event_id: str, secret: bytes) -> bytes:
    """Return 16 bytes that identify an event for good, also after its id has been erased.

    A hash keyed with the store's secret (RFC 7693), so that keys of two stores have nothing in common, and
    nobody without the secret can tell whether an id is among them.
    """
    return blake2b(event_id.encode(), digest_size=KEY_BYTES, key=secret).digest()


def rows_from_table(events: pa.Table, own_kinds: Collection[str] = ()) -> list[EventRow]:
    """Convert EVENTS to rows in their order.

    Args:
        events: EVENTS.
        own_kinds: Names of the shop's own kinds of events.

    Raises:
        EventsError: A kind is unknown, or a value is NaN, infinite or below 0.
        SchemaError: The columns are not those of EVENTS.
    """
    table = validate_events(events, own_kinds)
    columns = [table.column(name) for name in NAMES]
    plain = [column.cast(pa.int64()) if column.type == TIMESTAMP else column for column in columns]
    return list(zip(*(column.to_pylist() for column in plain), strict=True))


def table_from_rows(rows: Sequence[EventRow]) -> pa.Table:
    """Convert rows to EVENTS in their order, the inverse of `rows_from_table`."""
    return table_from_columns(list(zip(*rows, strict=True)) if rows else [()] * len(NAMES))


def table_from_columns(columns: Sequence[Sequence[Any]]) -> pa.Table:
    """Convert the values of each column of EVENTS, `at` as µs since 1970, to EVENTS."""
    schema = EVENTS.arrow()
    arrays = [
        pa.array(column, pa.int64()).cast(TIMESTAMP)
        if field.type == TIMESTAMP
        else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def event_from_row(row: EventRow, owner: str | None = None) -> EventRecord:
    """Return the part of an event that profiles use; `owner` is its user, by default as it was sent."""
    event_id, user_id, video_id, kind, value, _, _, _, domain, at = row
    return EventRecord(event_id, user_id if owner is None else owner, video_id, kind, value, domain, at)


def with_owner(row: EventRow, owner: str) -> EventRow:
    """Return a row as an event of another user."""
    event_id, _, *rest = row
    return (event_id, owner, *rest)


def pack_row(row: EventRow) -> bytes:
    """Encode an event as bytes."""
    return _pack((FORMAT, *row))


def unpack_row(data: bytes) -> EventRow:
    """Decode an event that `pack_row` encoded; raise StoreError for other bytes."""
    return _unpack(data, "an event", len(NAMES))


def pack_profile(profile: Profile) -> bytes:
    """Encode a profile as bytes."""
    vector = None if profile.vector is None else profile.vector.astype("<f4").tobytes()
    rest = (dict(profile.counts), profile.seen, profile.history)
    return _pack((FORMAT, profile.entity, profile.entity_id, vector, *rest))


def unpack_profile(data: bytes) -> Profile:
    """Decode a profile that `pack_profile` encoded, to the last bit; raise StoreError for other bytes."""
    entity, name, packed, counts, seen, history = _unpack(data, "a profile", PROFILE_VALUES)
    vector = None if packed is None else np.frombuffer(packed, "<f4").astype(np.float32)
    return Profile(entity, name, vector, counts, seen, tuple(map(InterestEvent._make, history)))


def _pack(values: tuple[Any, ...]) -> bytes:
    packed = msgpack.packb(values)
    assert packed is not None  # it is None for streaming packers only
    return packed


def _unpack(data: bytes, what: str, count: int) -> tuple[Any, ...]:
    try:
        form, *rest = msgpack.unpackb(data, use_list=False)
        readable = form == FORMAT and len(rest) == count
    except (ValueError, TypeError, msgpack.UnpackException):
        readable, rest = False, []
    if not readable:
        raise StoreError(
            f"the store holds {what} that this version of vrec cannot read",
            fix="open the store with the version of vrec that wrote it, or restore it from a backup",
        )
    return tuple(rest)
