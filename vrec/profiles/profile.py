"""Profiles as immutable values, their mutable builder, and their rows in PROFILES."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import EventsError
from vrec.core.schema import (
    COUNTS,
    EVENT_KINDS,
    INTEREST,
    PROFILES,
    SEEN_EVENT,
    TIMESTAMP,
    conform,
    is_kind_name,
)

Entity = Literal["user", "video"]
ENTITIES: Final[tuple[Entity, Entity]] = ("user", "video")
ProfileVector = npt.NDArray[np.float32]
"""(dim,) float32."""


class InterestEvent(NamedTuple):
    """Event that showed interest in a video."""

    at: int
    """µs since 1970."""
    event_id: str
    video_id: str
    weight: float
    """The interest it showed, above 0 and rounded to float32 as PROFILES stores it."""
    kind: str
    """Kind of the event."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One row of EVENTS with the columns that profiles use.

    Raises:
        EventsError: The kind can be none, or the value is NaN, infinite or below 0.
    """

    event_id: str
    user_id: str
    video_id: str
    kind: str
    value: float | None
    """Seconds for a watch, money for a purchase."""
    domain: str
    at: int
    """µs since 1970."""

    def __post_init__(self) -> None:
        if not is_kind_name(self.kind):
            raise EventsError(
                f"event {self.event_id}: kind {self.kind} is not one of {', '.join(EVENT_KINDS)}, "
                "and no name of an own kind"
            )
        if self.value is not None and not 0 <= self.value < float("inf"):
            raise EventsError(
                f"event {self.event_id}: value is {self.value} for a {self.kind}, want a finite number from 0"
            )


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """Catalog data of a video that profiles use."""

    attributes: Mapping[str, float]
    """Category, creator, domain, kind and tags, such as {"category:mugs": 1, "tag:red": 1}."""
    duration_s: float | None = None
    """Seconds; None where unknown."""
    vector: ProfileVector | None = None
    """(dim,) embedding; None where there is none."""


@dataclass(frozen=True, eq=False)
class Profile:
    """State of one user or video after its events: one row of PROFILES."""

    entity: Entity
    entity_id: str
    vector: ProfileVector | None = None
    """(dim,) float32: for a user the decayed sum of liked videos' embeddings (only its direction is
    meaningful), for a video its embedding."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Counts and statistics by name, such as {"event:click": 3}."""
    seen: tuple[tuple[int, str], ...] = ()
    """Time in µs and id of the newest recorded events, ascending; used to detect repeated events."""
    history: tuple[InterestEvent, ...] = ()
    """For a user the newest events that showed interest, ascending by time and id; empty for a video."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        vectors = [None if p.vector is None else p.vector.tobytes() for p in (self, other)]
        rest = [(p.entity, p.entity_id, p.counts, p.seen, p.history) for p in (self, other)]
        return vectors[0] == vectors[1] and rest[0] == rest[1]

    __hash__ = None  # type: ignore[assignment]


class ProfileBuilder:
    """Mutable profile that records events; `build` returns its current state as a Profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.vector = profile.vector
        self.counts = dict(profile.counts)
        self._heap = list(profile.seen)
        self._ids = {event_id for _, event_id in profile.seen}
        self._history = list(profile.history)

    def remember_if_new(self, event: EventRecord, remember: int) -> bool:
        """Remember an event, and return whether it is new.

        An event counts as repeated if its id is remembered, or if it is older than all of the `remember`
        remembered events. So no event is ever recorded twice, and a late event is recorded unless that many
        newer ones came before it.
        """
        key = (event.at, event.event_id)
        if event.event_id in self._ids or (len(self._heap) >= remember and key < self._heap[0]):
            return False
        heapq.heappush(self._heap, key)
        self._ids.add(event.event_id)
        while len(self._heap) > remember:
            self._ids.discard(heapq.heappop(self._heap)[1])
        return True

    def increment(self, key: str, amount: float = 1.0) -> None:
        """Add to a count."""
        self.counts[key] = self.counts.get(key, 0.0) + amount

    def add_interest(self, interest: InterestEvent, most: int) -> None:
        """Add an event to the history, which keeps the newest `most` by time and id."""
        heapq.heappush(self._history, interest)
        while len(self._history) > most:
            heapq.heappop(self._history)

    def build(self) -> Profile:
        """Return the profile with everything recorded so far; later events do not change it."""
        seen, history = tuple(sorted(self._heap)), tuple(sorted(self._history))
        # Vectors are never changed in place, counts are.
        entity, entity_id = self.profile.entity, self.profile.entity_id
        return Profile(entity, entity_id, self.vector, dict(self.counts), seen, history)


def profiles_to_table(profiles: Sequence[Profile], dim: int) -> pa.Table:
    """Convert profiles to PROFILES rows in their order.

    Args:
        profiles: The profiles; each vector is (dim,) or None.
        dim: Length of the vectors.

    Returns:
        PROFILES; `updated_at` is 1970 for profiles without events.
    """
    zeros, mask = np.zeros(dim, np.float32), pa.array([p.vector is None for p in profiles], pa.bool_())
    vectors = np.concatenate([zeros[:0], *(zeros if p.vector is None else p.vector for p in profiles)])
    table = pa.table(
        {
            "entity": pa.array([p.entity for p in profiles], pa.string()),
            "entity_id": pa.array([p.entity_id for p in profiles], pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors, pa.float32()), dim, mask=mask),
            "counts": pa.array([sorted(p.counts.items()) for p in profiles], COUNTS),
            "last_event_id": pa.array([p.seen[-1][1] if p.seen else None for p in profiles], pa.string()),
            "updated_at": pa.array([p.seen[-1][0] if p.seen else 0 for p in profiles], pa.int64()).cast(
                TIMESTAMP
            ),
            "seen": _lists([p.seen for p in profiles], SEEN_EVENT),
            "history": _lists([p.history for p in profiles], INTEREST),
        }
    )
    return conform(table, PROFILES, stage="profiles")


def profiles_from_table(table: pa.Table) -> list[Profile]:
    """Convert PROFILES rows to profiles in their order, the inverse of `profiles_to_table`.

    Raises:
        EventsError: An entity is neither user nor video.
        SchemaError: The columns are not those of PROFILES.
    """
    table = conform(table, PROFILES, stage="profiles")
    column = table.column("vector").combine_chunks()
    dim = column.type.list_size
    flat = np.asarray(column.values.slice(column.offset * dim, len(column) * dim), np.float32)
    profiles: list[Profile] = []
    rows = zip(
        table.column("entity").to_pylist(),
        table.column("entity_id").to_pylist(),
        column.is_valid().to_pylist(),
        flat.reshape(-1, dim),
        table.column("counts").to_pylist(),
        _tuples(table.column("seen")),
        _tuples(table.column("history")),
        strict=True,
    )
    for entity, entity_id, has_vector, vector, counts, seen, history in rows:
        if entity not in ENTITIES:
            raise EventsError(f"profiles: entity is {entity} for {entity_id}, want user or video")
        own = vector.copy() if has_vector else None
        interests = tuple(InterestEvent(*entry) for entry in history)
        profiles.append(Profile(cast("Entity", entity), entity_id, own, dict(counts), seen, interests))
    return profiles


def _lists(rows: Sequence[Sequence[tuple[Any, ...]]], kind: pa.StructType) -> pa.ListArray:
    """Convert (P,) lists of tuples, in the order of the struct's fields with times in µs, to structs."""
    offsets = np.cumsum([0, *(len(row) for row in rows)])
    columns = list(zip(*(entry for row in rows for entry in row), strict=True)) or [()] * kind.num_fields
    arrays = [
        pa.array(column, pa.int64()).cast(TIMESTAMP)
        if field.type == TIMESTAMP
        else pa.array(column, field.type)
        for column, field in zip(columns, kind, strict=True)
    ]
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(arrays, fields=list(kind))
    )


def _tuples(column: pa.ChunkedArray) -> list[tuple[tuple[Any, ...], ...]]:
    """Convert lists of structs to tuples, the inverse of `_lists`; a null list is empty."""
    lists = column.combine_chunks()
    flat = lists.flatten()
    fields = [flat.field(name) for name in flat.type.names]
    values = [(f.cast(pa.int64()) if f.type == TIMESTAMP else f).to_pylist() for f in fields]
    entries = list(zip(*values, strict=True))
    offsets = np.cumsum([0, *pc.fill_null(pc.list_value_length(lists), 0).to_pylist()])
    return [tuple(entries[start:end]) for start, end in pairwise(offsets.tolist())]
