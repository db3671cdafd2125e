"""The one way in which events become profiles, one by one as they come or many at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

import numpy as np
import pyarrow as pa
from pydantic import Field

from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import EventsError
from vrec.core.schema import EMBEDDINGS, EVENT_KINDS, EVENTS, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.profiles.profile import (
    Entity,
    EventRecord,
    Profile,
    ProfileBuilder,
    VideoMetadata,
    profiles_from_table,
    profiles_to_table,
)
from vrec.profiles.user import UserProfileConfig, record_user_event
from vrec.profiles.video import VideoProfileConfig, record_video_event, set_catalog_attributes


class ProfilesConfig(BaseConfig):
    """How profiles of users and videos are made of events."""

    user: UserProfileConfig = Field(default_factory=UserProfileConfig)
    """Users' profiles."""
    video: VideoProfileConfig = Field(default_factory=VideoProfileConfig)
    """Videos' profiles."""
    remember: int = Field(default=64, ge=1)
    """Events that a profile remembers to tell repeated ones. One that comes after this many newer ones of the
    same user or video is left out of that profile; each costs the length of its id and 8 bytes a profile."""


def apply_event(
    profile: Profile, event: EventRecord, facts: VideoMetadata | None, config: ProfilesConfig
) -> Profile:
    """The profile after one more event of its user or video; `facts` are of the event's video.

    Pure: the profile given stays as it is. The result depends on the events alone and not on how they were
    batched: exactly where they come by (at, event_id), and to float rounding in another order, as long as
    none comes later than `remember` allows. An event that was noted before changes nothing. Raises
    EventsError for an event of another user or video.
    """
    owner = event.user_id if profile.entity == "user" else event.video_id
    if owner != profile.entity_id:
        raise EventsError(
            f"event {event.event_id} is of {owner}, not of {profile.entity} {profile.entity_id}"
        )
    return _fold(profile, [event], {} if facts is None else {event.video_id: facts}, config)


def build_profiles(
    events: pa.Table, content: CatalogContent, config: ProfilesConfig, before: pa.Table | None = None
) -> pa.Table:
    """PROFILES of all users and videos of EVENTS and `before`, and all videos of `content`, by entity and id.

    The same as `apply` event by event in the order of (at, event_id), to the last bit, starting from the
    PROFILES rows in `before`. The order of the rows of `events` is of no consequence. Raises SchemaError, and
    EventsError for events of unknown kinds or impossible values and for embeddings whose length is not that
    of the vectors in `before`.
    """
    facts = video_metadata(content)
    known = {} if before is None else {(p.entity, p.entity_id): p for p in profiles_from_table(before)}
    dim, sound = _dim(content, before), validate_events(events)
    done: list[Profile] = []
    entities: tuple[Entity, Entity] = ("user", "video")
    for entity in entities:
        noted = {owner: profile for (kind, owner), profile in known.items() if kind == entity}
        if entity == "video":
            # A video without events has a profile too: what the catalogue says of it.
            noted |= {i: _fold(noted.get(i, Profile("video", i)), [], facts, config) for i in facts}
        rows = event_rows(sort_events(sound, f"{entity}_id"))
        for owner, group in groupby(rows, attrgetter(f"{entity}_id")):
            noted[owner] = _fold(noted.get(owner, Profile(entity, owner)), group, facts, config)
        done.extend(profile for _, profile in sorted(noted.items()))
    return profiles_to_table(done, dim)


def video_metadata(content: CatalogContent) -> dict[str, VideoMetadata]:
    """What VIDEOS and EMBEDDINGS say of each video, by video_id; one that is in either is there."""
    vectors: dict[str, np.ndarray] = {}
    if content.embeddings is not None:
        table = conform(content.embeddings, EMBEDDINGS, stage="profiles")
        column = table.column("vector").combine_chunks()
        rows = np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
        vectors = dict(zip(table.column("entity_id").to_pylist(), rows, strict=True))
    facts = {video_id: VideoMetadata({}, None, vector) for video_id, vector in vectors.items()}
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
    return facts


def record_event(
    draft: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: ProfilesConfig
) -> None:
    """Notes an event of its user or video in the draft, unless it was noted before; see `apply`."""
    if not draft.remember_if_new(event, config.remember):
        return
    if draft.profile.entity == "user":
        record_user_event(draft, event, facts, config.user)
    else:
        record_video_event(draft, event, facts, config.video)


def _fold(
    profile: Profile,
    events: Iterable[EventRecord],
    facts: Mapping[str, VideoMetadata],
    config: ProfilesConfig,
) -> Profile:
    draft = ProfileBuilder(profile)
    if profile.entity == "video" and profile.entity_id in facts:
        set_catalog_attributes(draft, facts[profile.entity_id])
    for event in events:
        record_event(draft, event, facts.get(event.video_id), config)
    return draft.build()


def validate_events(events: pa.Table) -> pa.Table:
    """The same EVENTS; raises SchemaError, and EventsError for unknown kinds and impossible values."""
    table = conform(events, EVENTS, stage="profiles")
    unknown = pc.invert(pc.is_in(table.column("kind"), value_set=pa.array(EVENT_KINDS)))
    value = table.column("value")
    wrong = pc.fill_null(pc.or_(pc.invert(pc.is_finite(value)), pc.less(value, 0)), False)
    for name, bad in (("kind", unknown), ("value", wrong)):
        if rows := table.filter(bad).slice(0, 1).to_pylist():
            raise EventsError(
                f"profiles: EVENTS.{name} is not usable in {pc.sum(bad).as_py():,} of {table.num_rows:,} "
                f"rows, such as {rows[0][name]} in event {rows[0]['event_id']}"
            )
    return table


def sort_events(events: pa.Table, owner: str) -> pa.Table:
    """EVENTS by `owner` (user_id or video_id), each one's from the oldest to the newest, ties by event_id."""
    order = pc.sort_indices(events, sort_keys=[(name, "ascending") for name in (owner, "at", "event_id")])
    return events.take(order)


def event_rows(events: pa.Table) -> Iterator[EventRecord]:
    """The rows of EVENTS as profiles take them, in the table's order."""
    names: Sequence[str] = ("event_id", "user_id", "video_id", "kind", "value", "domain")
    at = events.column("at").cast(pa.int64())
    for row in zip(*(events.column(name).to_pylist() for name in names), at.to_pylist(), strict=True):
        yield EventRecord(*row)


def _dim(content: CatalogContent, before: pa.Table | None) -> int:
    sizes = {}
    if content.embeddings is not None:
        sizes["EMBEDDINGS"] = content.embeddings.schema.field("vector").type.list_size
    if before is not None and before.column("vector").null_count < before.num_rows:
        sizes["PROFILES"] = before.schema.field("vector").type.list_size
    if len(set(sizes.values())) > 1:
        raise EventsError(
            f"profiles: vectors are {sizes['PROFILES']} long in PROFILES, {sizes['EMBEDDINGS']} in "
            "EMBEDDINGS",
            fix="make the profiles anew from all events, with the encoder that serves now",
        )
    return next(iter(sizes.values()), 1)
