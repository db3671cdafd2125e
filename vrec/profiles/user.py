"""What events say of a user: a taste that fades, and counts of what, whose, when and where."""

import numpy as np
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.events.interactions import DAY_US, InterestConfig
from vrec.profiles.profile import (
    EventRecord,
    InterestEvent,
    Profile,
    ProfileBuilder,
    ProfileVector,
    VideoMetadata,
)

HOUR_US = 3_600_000_000
INTERESTS, WATCH_S = "interests", "watch_s"
"""Counts of a user: events that showed interest in a video that the catalogue knows, and seconds watched."""
LAST_PURCHASE_PREFIX = "bought:"
"""`bought:VIDEO` is when a user bought from a video last, in µs since 1970, which a float64 holds exactly."""
TASTE_AT, TASTE_WEIGHT = "taste_at", "taste_weight"
"""Counts that belong to the taste: the time in µs to which it is faded, and the faded sum of its weights."""


class UserProfileConfig(BaseConfig):
    """How a user's taste is made of their events."""

    interest: InterestConfig = Field(default_factory=lambda: InterestConfig(half_life_days=14.0))
    """What each kind of event weighs in the taste, and the days after which it weighs half."""
    history: int = Field(default=100, ge=1)
    """Events that showed interest that a profile keeps, the newest; each costs its two ids and 12 bytes."""


def record_user_event(
    draft: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: UserProfileConfig
) -> None:
    """Notes an event in its user's draft; `facts` are of its video, None where nothing is known of it.

    Every event counts under its kind, hour (of the day, UTC) and domain; a purchase also sets the time of the
    last one from its video. One that shows interest joins the history; where its video is known it also
    counts under the video's category and creator, and moves the taste towards the video's embedding.
    """
    draft.increment(f"event:{event.kind}")
    draft.increment(f"hour:{event.at // HOUR_US % 24:02}")
    draft.increment(f"domain:{event.domain}")
    if event.kind == "watch" and event.value is not None:
        draft.increment(WATCH_S, event.value)
    if event.kind == "purchase":
        key = f"{LAST_PURCHASE_PREFIX}{event.video_id}"
        draft.counts[key] = max(float(event.at), draft.counts.get(key, -np.inf))
    weight = event_interest(event, facts, config.interest)
    if weight <= 0:
        return
    if (stored := float(np.float32(weight))) > 0:
        draft.add_interest(InterestEvent(event.at, event.event_id, event.video_id, stored), config.history)
    if facts is None:
        return
    draft.increment(INTERESTS)
    for key in facts.attributes:
        if key.startswith(("category:", "creator:")):
            draft.increment(key)
    if facts.vector is not None:
        _move_taste(draft, facts.vector, weight, event.at, config.interest.half_life_days)


def last_purchases(profile: Profile) -> dict[str, int]:
    """The videos that a user bought from, each with the time in µs of the last purchase."""
    return {
        key.removeprefix(LAST_PURCHASE_PREFIX): int(at)
        for key, at in profile.counts.items()
        if key.startswith(LAST_PURCHASE_PREFIX)
    }


def event_interest(event: EventRecord, facts: VideoMetadata | None, config: InterestConfig) -> float:
    """Return the interest that an event shows, as `vrec.events.interactions.weigh` does; 0 for none."""
    weight = float(getattr(config, event.kind))
    if event.kind != "watch" or event.value is None:
        return weight
    whole = config.watch_whole_s
    if facts is not None and facts.duration_s:
        whole = min(whole, facts.duration_s)
    share = min(1.0, event.value / whole)
    return weight * share if share >= config.watch_least else 0.0


def taste_vector(profile: Profile) -> ProfileVector | None:
    """The (dim,) unit vector towards what a user likes, or None where no liked video had an embedding."""
    if profile.vector is None or TASTE_WEIGHT not in profile.counts:
        return None
    exact = profile.vector.astype(np.float64)
    norm = float(np.linalg.norm(exact))
    return (exact / norm).astype(np.float32) if norm > 0 else None


def _move_taste(
    draft: ProfileBuilder, vector: ProfileVector, weight: float, at: int, half_life_days: float | None
) -> None:
    """Adds weight × vector to the taste, both faded to the later of their two times.

    The sum is the same in any order of events but for float32 rounding. It is rounded after every event, so
    that a profile that was stored and read in between goes on as if it had not been.
    """
    if draft.vector is None or TASTE_AT not in draft.counts:
        draft.vector = (weight * vector.astype(np.float64)).astype(np.float32)
        draft.counts[TASTE_AT], draft.counts[TASTE_WEIGHT] = float(at), weight
        return
    before = draft.counts[TASTE_AT]
    old, new = 1.0, weight
    if half_life_days is not None:
        fade = float(np.exp2(-abs(at - before) / (half_life_days * DAY_US)))
        old, new = (fade, weight) if at >= before else (1.0, weight * fade)
    exact = old * draft.vector.astype(np.float64) + new * vector.astype(np.float64)
    draft.vector = exact.astype(np.float32)
    draft.counts[TASTE_WEIGHT] = old * draft.counts[TASTE_WEIGHT] + new
    draft.counts[TASTE_AT] = max(float(at), before)
