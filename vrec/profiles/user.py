"""User profiles: a taste vector that decays, a history, and counts by kind, hour, domain and attribute."""

import zlib
from collections.abc import Callable, Collection

import numpy as np
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.schema import CREATOR_PREFIX, HIDING_KINDS, SEARCH_PREFIX
from vrec.events.config import InterestConfig
from vrec.events.interactions import DAY_US
from vrec.profiles.profile import (
    EventRecord,
    InterestEvent,
    Profile,
    ProfileBuilder,
    ProfileVector,
    VideoMetadata,
)
from vrec.profiles.searches import SEARCH_KIND

HOUR_US = 3_600_000_000
"""Microseconds in an hour."""
INTERESTS, WATCH_S = "interests", "watch_s"
"""Counts of a user: events that showed interest in a video of the catalog, and seconds watched."""
LAST_PURCHASE_PREFIX = "bought:"
"""`bought:VIDEO` is the time of a user's last purchase from a video, in µs since 1970, which a float64 holds
exactly."""
DATED_KINDS = (*HIDING_KINDS, "unhide")
"""`hide:VIDEO`, `dislike:VIDEO` and `unhide:VIDEO` are the times of a user's last event of the kind with a
video."""
FOLLOW_KINDS = ("follow", "unfollow")
"""`follow:CREATOR` and `unfollow:CREATOR` are the times of a user's last event of the kind, with the creator
or with a known video of the creator."""
TASTE_AT, TASTE_WEIGHT = "taste_at", "taste_weight"
"""Counts of the taste: the reference time in µs of its decay, and the decayed sum of its weights."""


class TasteConfig(InterestConfig):
    """Settings for the interest that moves a shopper's taste."""

    search: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    """Weight with which a search moves the taste towards the videos that have what was asked for; it is no
    interaction of a fit. At 0 searches are only counted."""

    half_life_days: float | None = Field(default=14.0, gt=0, allow_inf_nan=False)
    """Days after which an event has half its weight in the taste; None disables the decay."""


class UserProfileConfig(BaseConfig):
    """Settings for building user profiles."""

    interest: TasteConfig = Field(default_factory=TasteConfig)
    """Weight of each kind of event in the taste, and its half-life in days."""
    history: int = Field(default=100, ge=1)
    """Number of the newest events of interest that a profile keeps; each takes its two ids and 12 bytes."""
    marks: int = Field(default=2_000, ge=1)
    """Number of videos with a purchase, and as many with a `hide`, a `dislike` and an `unhide`, and creators
    with a `follow` and an `unfollow`, of which a profile keeps the last time; the newest are kept."""
    surfaces: int = Field(default=64, ge=1)
    """Number of surfaces of which a profile counts the events; of more, those with the smallest hashes."""


def record_user_event(
    builder: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: UserProfileConfig
) -> None:
    """Record an event in its user's builder.

    Every event counts under its kind, hour (of the day, UTC) and domain; a purchase, `hide`, `dislike` and
    `unhide` also set the time of the last one with their video. An event that shows interest joins the
    history; if its video is known it also counts under the video's category and creator, and moves the taste
    towards the video's embedding. One of a negative kind with a known video does the opposite: it takes its
    weight, at most 1, from these counts, and moves the taste away. An event about a creator and no video only
    counts as `event:creator:KIND` and sets the time of a `follow`, `unfollow`, `hide` or `unhide`, so that
    what a ranker learns of videos does not depend on it. A `search` counts under its kind, and moves the
    taste towards videos that have what was asked for.

    Args:
        builder: The user's profile.
        event: The event.
        facts: Catalog data of its video; None where the catalog does not know it.
        config: The settings of user profiles.
    """
    _date_event(builder, event, facts, config.marks)
    if event.video_id.startswith(CREATOR_PREFIX):
        builder.increment(f"event:{CREATOR_PREFIX}{event.kind}")
        return
    builder.increment(f"event:{event.kind}")
    if event.kind == SEARCH_KIND or event.video_id.startswith(SEARCH_PREFIX):
        _record_search(builder, event, facts, config)
        return
    builder.increment(f"hour:{event.at // HOUR_US % 24:02}")
    _count_surface(builder, f"domain:{event.domain}", config.surfaces)
    if event.kind == "watch" and event.value is not None:
        builder.increment(WATCH_S, event.value)
    weight = event_interest(event, facts, config.interest)
    if (stored := float(np.float32(weight))) > 0:
        interest = InterestEvent(event.at, event.event_id, event.video_id, stored, event.kind)
        builder.add_interest(interest, config.history)
    if facts is None or not weight:
        return
    if weight > 0:
        builder.increment(INTERESTS)
    for key in facts.attributes:
        if key.startswith(("category:", "creator:")):
            builder.increment(key, 1.0 if weight > 0 else max(-1.0, weight))
    if facts.vector is not None:
        _move_taste(builder, facts.vector, weight, event.at, config.interest.half_life_days)


def _record_search(
    builder: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: UserProfileConfig
) -> None:
    """Record a search: its categories and creators count by its weight, at most 1, and the taste moves."""
    weight, is_search = config.interest.search, event.video_id.startswith(SEARCH_PREFIX)
    if facts is None or event.kind != SEARCH_KIND or not is_search or not weight:
        return
    for key in facts.attributes:
        if key.startswith(("category:", "creator:")):
            builder.increment(key, min(1.0, weight))
    if facts.vector is not None:
        _move_taste(builder, facts.vector, weight, event.at, config.interest.half_life_days)


def last_purchases(profile: Profile) -> dict[str, int]:
    """Return the time in µs of a user's last purchase from each video, by video id."""
    return {
        key.removeprefix(LAST_PURCHASE_PREFIX): int(at)
        for key, at in profile.counts.items()
        if key.startswith(LAST_PURCHASE_PREFIX)
    }


def hidden_videos(profile: Profile) -> frozenset[str]:
    """Return the videos that a user hid or disliked after `unhide`; at the same moment, `unhide` counts."""
    counts, hidden = profile.counts, set[str]()
    for prefix in (f"{kind}:" for kind in HIDING_KINDS):
        times = ((key.removeprefix(prefix), at) for key, at in counts.items() if key.startswith(prefix))
        hidden |= {name for name, at in times if at > counts.get(f"unhide:{name}", -np.inf)}
    return frozenset(hidden)


def hidden_creators(hidden: Collection[str]) -> frozenset[str]:
    """Return the creators among what `hidden_videos` returned, by their ids."""
    return frozenset(n.removeprefix(CREATOR_PREFIX) for n in hidden if n.startswith(CREATOR_PREFIX))


def followed_creators(profile: Profile) -> frozenset[str]:
    """Return the creators that a user follows: at the same moment, `unfollow` counts."""
    counts, prefix = profile.counts, "follow:"
    times = ((key.removeprefix(prefix), at) for key, at in counts.items() if key.startswith(prefix))
    return frozenset(name for name, at in times if at > counts.get(f"unfollow:{name}", -np.inf))


def event_interest(event: EventRecord, facts: VideoMetadata | None, config: InterestConfig) -> float:
    """Return the interest that an event shows, as `vrec.events.interactions.weigh_events`.

    It is 0 for none, and below 0 for a negative kind.
    """
    weight = config.signed_weight(event.kind)
    if event.kind != "watch" or event.value is None:
        return weight
    complete_s = config.watch_whole_s
    if facts is not None and facts.duration_s:
        complete_s = min(complete_s, facts.duration_s)
    share = min(1.0, event.value / complete_s)
    return weight * share if share >= config.watch_least else 0.0


def taste_vector(profile: Profile) -> ProfileVector | None:
    """Return a user's (dim,) float32 unit taste vector.

    None where no liked video has an embedding, or dislikes weigh as much as likes: the opposite of what a
    shopper dislikes is no taste.
    """
    if profile.vector is None or profile.counts.get(TASTE_WEIGHT, 0.0) <= 0:
        return None
    exact = profile.vector.astype(np.float64)
    norm = float(np.linalg.norm(exact))
    return (exact / norm).astype(np.float32) if norm > 0 else None


def _date_event(builder: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, most: int) -> None:
    """Set the times that an event of some kinds leaves: of its video, or of the video's creators."""
    is_about_creator, keys = event.video_id.startswith(CREATOR_PREFIX), list[str]()
    if event.kind in DATED_KINDS:
        keys = [f"{event.kind}:{event.video_id}"]
    elif event.kind == "purchase" and not is_about_creator:
        keys = [f"{LAST_PURCHASE_PREFIX}{event.video_id}"]
    elif event.kind in FOLLOW_KINDS:
        attributes = [event.video_id] if is_about_creator else () if facts is None else facts.attributes
        creators = [key for key in attributes if key.startswith(CREATOR_PREFIX)]
        keys = [f"{event.kind}:{key.removeprefix(CREATOR_PREFIX)}" for key in creators]
    is_new = any(key not in builder.counts for key in keys)
    for key in keys:
        builder.counts[key] = max(float(event.at), builder.counts.get(key, -np.inf))
    if is_new:
        prefix = keys[0].partition(":")[0] + ":"
        # Times only grow, so that the newest are the same in any order of events.
        _keep_most(builder, prefix, most, lambda key: builder.counts[key])


def _count_surface(builder: ProfileBuilder, key: str, most: int) -> None:
    is_new = key not in builder.counts
    builder.increment(key)
    if is_new:
        # By a hash, which keeps the same ones in any order of events.
        _keep_most(builder, "domain:", most, lambda name: -zlib.crc32(name.encode()))


def _keep_most(builder: ProfileBuilder, prefix: str, most: int, rank: Callable[[str], float]) -> None:
    """Remove counts with the lowest ranks, ties by key, until at most `most` have a prefix.

    Callers choose the ids of videos and the names of surfaces, so that without it they decide how large a
    profile becomes, which each list reads.
    """
    if len(builder.counts) <= most:
        return
    keys = [key for key in builder.counts if key.startswith(prefix)]
    if len(keys) > most:
        for key in sorted(keys, key=lambda key: (rank(key), key))[: len(keys) - most]:
            del builder.counts[key]


def _move_taste(
    builder: ProfileBuilder, vector: ProfileVector, weight: float, at: int, half_life_days: float | None
) -> None:
    """Add weight × vector to the taste, both decayed to the later of their two times.

    The sum is the same in any order of events except for float32 rounding. It is rounded after every event,
    so that storing and reading a profile in between does not change the result.
    """
    if builder.vector is None or TASTE_AT not in builder.counts:
        builder.vector = (weight * vector.astype(np.float64)).astype(np.float32)
        builder.counts[TASTE_AT], builder.counts[TASTE_WEIGHT] = float(at), weight
        return
    before = builder.counts[TASTE_AT]
    old, new = 1.0, weight
    if half_life_days is not None:
        decay = float(np.exp2(-abs(at - before) / (half_life_days * DAY_US)))
        old, new = (decay, weight) if at >= before else (1.0, weight * decay)
    exact = old * builder.vector.astype(np.float64) + new * vector.astype(np.float64)
    builder.vector = exact.astype(np.float32)
    builder.counts[TASTE_WEIGHT] = old * builder.counts[TASTE_WEIGHT] + new
    builder.counts[TASTE_AT] = max(float(at), before)
