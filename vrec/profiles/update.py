"""The update rule from events to profiles, for single events and for whole tables."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field

from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import EventsError
from vrec.core.pauses import pause_if_due
from vrec.core.schema import EMBEDDINGS, EVENT_KINDS, EVENTS, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.events.config import OwnKinds
from vrec.events.polars_tables import to_polars
from vrec.events.reversals import drop_reversed
from vrec.profiles.profile import (
    ENTITIES,
    EventRecord,
    Profile,
    ProfileBuilder,
    VideoMetadata,
    profiles_from_table,
    profiles_to_table,
)
from vrec.profiles.searches import VideoFacts
from vrec.profiles.user import UserProfileConfig, record_user_event
from vrec.profiles.video import VideoProfileConfig, record_video_event, set_catalog_attributes


class ProfilesConfig(BaseConfig):
    """Settings for building profiles of users and videos from events."""

    user: UserProfileConfig = Field(default_factory=UserProfileConfig)
    """User profiles."""
    video: VideoProfileConfig = Field(default_factory=VideoProfileConfig)
    """Video profiles."""
    remember: int = Field(default=64, ge=1)
    """Number of events that a profile remembers to detect repeated ones. An event that comes after this many
    newer ones of the same user or video is left out of that profile; each takes its id and 8 bytes."""

    @property
    def own_kinds(self) -> OwnKinds:
        """The shop's own kinds of events."""
        return self.user.interest.own_kinds

    def with_own_kinds(self, own_kinds: OwnKinds) -> Self:
        """Return these settings with more of the shop's own kinds; kinds that they have stay as they are."""
        interest = self.user.interest.model_copy(update={"own_kinds": {**own_kinds, **self.own_kinds}})
        return self.model_copy(update={"user": self.user.model_copy(update={"interest": interest})})


def apply_event(
    profile: Profile, event: EventRecord, facts: VideoMetadata | None, config: ProfilesConfig
) -> Profile:
    """Return the profile after one more event of its user or video; the profile given does not change.

    The result depends on the events alone and not on their batches: exactly where they come in the order of
    (at, event_id), and up to float rounding in another order, as long as none comes later than `remember`
    allows. An event that was recorded before changes nothing. What `unlike`, `unhide` and `refund` reverse
    stays in the profile, which does not hold all events; `build_profiles` and stores do reverse it.

    Args:
        profile: The profile before the event.
        event: An event of the profile's user or video.
        facts: Catalog data of the event's video; None where the catalog does not know it.
        config: The settings of all profiles.

    Raises:
        EventsError: The event is of another user or video.
    """
    owner = event.user_id if profile.entity == "user" else event.video_id
    if owner != profile.entity_id:
        raise EventsError(
            f"event {event.event_id} is of {owner}, not of {profile.entity} {profile.entity_id}",
            fix="apply each event to the profiles of its own user and video",
        )
    return _apply_all(profile, [event], {} if facts is None else {event.video_id: facts}, config)


def build_profiles(
    events: pa.Table, content: CatalogContent, config: ProfilesConfig, before: pa.Table | None = None
) -> pa.Table:
    """Build the profiles of many users and videos at once.

    Gives the same as `apply_event` event by event in the order of (at, event_id), to the last bit. The order
    of the rows of `events` does not matter. Events that others of `events` reverse, such as likes before an
    `unlike`, are left out; those that are in `before` stay there.

    Args:
        events: EVENTS.
        content: The catalog.
        config: The settings of all profiles.
        before: PROFILES to start from.

    Returns:
        PROFILES of all users and videos of `events` and `before`, and all videos of `content`, sorted by
        entity and id.

    Raises:
        EventsError: A kind is unknown, a value is impossible, or the embeddings have another length than the
            vectors in `before`.
        SchemaError: The columns of a table are not those of its schema.
    """
    facts = video_metadata(content)
    known = {} if before is None else {(p.entity, p.entity_id): p for p in profiles_from_table(before)}
    dim, valid_events = _vector_dim(content, before), validate_events(events, config.own_kinds)
    valid_events = _without_reversed(valid_events)
    results: list[Profile] = []
    for entity in ENTITIES:
        profiles = {owner: profile for (kind, owner), profile in known.items() if kind == entity}
        if entity == "video":
            # A video without events has a profile too, with its catalog attributes.
            profiles |= {
                i: _apply_all(profiles.get(i, Profile("video", i)), [], facts, config) for i in facts
            }
        rows = event_rows(sort_events(valid_events, f"{entity}_id"))
        for owner, group in groupby(rows, attrgetter(f"{entity}_id")):
            profiles[owner] = _apply_all(profiles.get(owner, Profile(entity, owner)), group, facts, config)
        results.extend(profile for _, profile in sorted(profiles.items()))
    return profiles_to_table(results, dim)


def video_metadata(content: CatalogContent) -> VideoFacts:
    """Return the metadata of every video in VIDEOS or EMBEDDINGS by id, which knows searches too."""
    vectors: dict[str, np.ndarray] = {}
    if content.embeddings is not None:
        table = conform(content.embeddings, EMBEDDINGS, stage="profiles")
        vectors = dict(zip(table.column("entity_id").to_pylist(), embedding_matrix(table), strict=True))
    facts = VideoFacts((video_id, VideoMetadata({}, None, vector)) for video_id, vector in vectors.items())
    if content.videos is None:
        return facts
    videos = conform(content.videos, VIDEOS, stage="profiles", extra=True)
    names = ("video_id", "kind", "creator_id", "domain", "category", "tags", "duration_s")
    for video_id, kind, creator, domain, category, tags, duration_s in zip(
        *(videos.column(name).to_pylist() for name in names), strict=True
    ):
        keys = [f"kind:{kind}", f"creator:{creator}", f"domain:{domain}", *(f"tag:{tag}" for tag in tags)]
        if category is not None:
            keys.append(f"category:{category}")
        facts[video_id] = VideoMetadata(dict.fromkeys(keys, 1.0), duration_s, vectors.get(video_id))
        pause_if_due()
    return facts


def embedding_matrix(embeddings: pa.Table) -> np.ndarray:
    """Return the (N, dim) float32 vectors of EMBEDDINGS rows."""
    column = embeddings.column("vector").combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(len(column), column.type.list_size)


def record_event(
    builder: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: ProfilesConfig
) -> None:
    """Record an event in its user's or video's builder, unless it was recorded before; see `apply_event`."""
    if not builder.remember_if_new(event, config.remember):
        return
    if builder.profile.entity == "user":
        record_user_event(builder, event, facts, config.user)
    else:
        record_video_event(builder, event, facts, config.video)


def _apply_all(
    profile: Profile,
    events: Iterable[EventRecord],
    facts: Mapping[str, VideoMetadata],
    config: ProfilesConfig,
) -> Profile:
    builder = start_profile(profile, facts)
    for event in events:
        record_event(builder, event, facts.get(event.video_id), config)
    return builder.build()


def start_profile(profile: Profile, facts: Mapping[str, VideoMetadata]) -> ProfileBuilder:
    """Return a builder of a profile, with the catalog's present attributes if it is a known video's."""
    builder = ProfileBuilder(profile)
    if profile.entity == "video" and profile.entity_id in facts:
        set_catalog_attributes(builder, facts[profile.entity_id])
    return builder


def _without_reversed(events: pa.Table) -> pa.Table:
    names = ("event_id", "user_id", "video_id", "kind", "at")
    frame = to_polars(events.select(names).append_column("place", pa.array(range(events.num_rows))))
    kept = drop_reversed(frame)
    return events if kept.height == events.num_rows else events.take(kept["place"].to_arrow())


def validate_events(events: pa.Table, own_kinds: Collection[str] = ()) -> pa.Table:
    """Return EVENTS with the schema's columns.

    Args:
        events: EVENTS.
        own_kinds: Names of the shop's own kinds of events.

    Raises:
        EventsError: A kind is unknown, or a value is NaN, infinite or below 0.
        SchemaError: The columns are not those of EVENTS.
    """
    table = conform(events, EVENTS, stage="profiles")
    unknown = pc.invert(pc.is_in(table.column("kind"), value_set=pa.array([*EVENT_KINDS, *own_kinds])))
    value = table.column("value")
    invalid = pc.fill_null(pc.or_(pc.invert(pc.is_finite(value)), pc.less(value, 0)), False)
    for name, bad in (("kind", unknown), ("value", invalid)):
        if rows := table.filter(bad).slice(0, 1).to_pylist():
            raise EventsError(
                f"profiles: EVENTS.{name} is not usable in {pc.sum(bad).as_py():,} of {table.num_rows:,} "
                f"rows, such as {rows[0][name]} in event {rows[0]['event_id']}"
            )
    return table


def sort_events(events: pa.Table, owner: str) -> pa.Table:
    """Sort EVENTS by `owner` (user_id or video_id), then from the oldest to the newest, ties by event_id."""
    order = pc.sort_indices(events, sort_keys=[(name, "ascending") for name in (owner, "at", "event_id")])
    return events.take(order)


def event_rows(events: pa.Table) -> Iterator[EventRecord]:
    """Iterate over the rows of EVENTS in the table's order."""
    names: Sequence[str] = ("event_id", "user_id", "video_id", "kind", "value", "domain")
    at = events.column("at").cast(pa.int64())
    for row in zip(*(events.column(name).to_pylist() for name in names), at.to_pylist(), strict=True):
        yield EventRecord(*row)


def _vector_dim(content: CatalogContent, before: pa.Table | None) -> int:
    sizes = {}
    if content.embeddings is not None:
        sizes["EMBEDDINGS"] = content.embeddings.schema.field("vector").type.list_size
    if before is not None and before.column("vector").null_count < before.num_rows:
        sizes["PROFILES"] = before.schema.field("vector").type.list_size
    if len(set(sizes.values())) > 1:
        raise EventsError(
            f"profiles: vectors are {sizes['PROFILES']} long in PROFILES, {sizes['EMBEDDINGS']} in "
            "EMBEDDINGS",
            fix="rebuild the profiles from all events, with the encoder that serves now",
        )
    return next(iter(sizes.values()), 1)
