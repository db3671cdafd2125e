"""User profiles: a taste vector that decays, a history, and counts by kind, hour, domain and attribute."""

import numpy as np
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.schema import HIDING_KINDS
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
TASTE_AT, TASTE_WEIGHT = "taste_at", "taste_weight"
"""Counts of the taste: the reference time in µs of its decay, and the decayed sum of its weights."""


class TasteConfig(InterestConfig):
    """Settings for the interest that moves a shopper's taste."""

    half_life_days: float | None = Field(default=14.0, gt=0, allow_inf_nan=False)
    """Days after which an event has half its weight in the taste; None disables the decay."""


class UserProfileConfig(BaseConfig):
    """Settings for building user profiles."""

    interest: TasteConfig = Field(default_factory=TasteConfig)
    """Weight of each kind of event in the taste, and its half-life in days."""
    history: int = Field(default=100, ge=1)
    """Number of the newest events of interest that a profile keeps; each takes its two ids and 12 bytes."""


def record_user_event(
    builder: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: UserProfileConfig
) -> None:
    """Record an event in its user's builder.

    Every event counts under its kind, hour (of the day, UTC) and domain; a purchase, `hide`, `dislike` and
    `unhide` also set the time of the last one with their video. An event that shows interest joins the
    history; if its video is known it also counts under the video's category and creator, and moves the taste
    towards the video's embedding. One of a negative kind with a known video does the opposite: it takes its
    weight, at most 1, from these counts, and moves the taste away.

    Args:
        builder: The user's profile.
        event: The event.
        facts: Catalog data of its video; None where the catalog does not know it.
        config: The settings of user profiles.
    """
    builder.increment(f"event:{event.kind}")
    builder.increment(f"hour:{event.at // HOUR_US % 24:02}")
    builder.increment(f"domain:{event.domain}")
    if event.kind == "watch" and event.value is not None:
        builder.increment(WATCH_S, event.value)
    prefix = LAST_PURCHASE_PREFIX if event.kind == "purchase" else f"{event.kind}:"
    if event.kind in ("purchase", *DATED_KINDS):
        key = f"{prefix}{event.video_id}"
        builder.counts[key] = max(float(event.at), builder.counts.get(key, -np.inf))
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
