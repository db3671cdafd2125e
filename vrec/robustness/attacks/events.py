"""Events of fake shoppers: kinds, times and watch lengths that look like those of real ones."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vrec.core.schema import EVENTS, TIMESTAMP, conform
from vrec.robustness.attacks.profiles import FakeProfiles
from vrec.robustness.watched import Ints, WatchedVideos

SECOND_US = 1_000_000
SESSION_VIDEOS = 8
"""Videos that a fake shopper watches in one session."""
WATCH_S = (6.0, 45.0)
"""Median watch of a filler and of the target in seconds; watches are log-normal around them."""
DOMAIN = "shop"


@dataclass(frozen=True)
class _FakeEvent:
    user_id: str
    video_id: str
    kind: str
    at: int
    value: float | None = None


def attack_events(
    profiles: FakeProfiles, log: WatchedVideos, rng: np.random.Generator, *, prefix: str = "fake"
) -> pa.Table:
    """Return EVENTS of fake shoppers.

    Each account has sessions of a few videos at random times within the log's, with seconds to minutes
    between two videos. A filler is clicked and mostly watched for a while. The target of an attack that
    promotes it is clicked and, unless its love is hidden, watched to the end and liked; else it is clicked
    and disliked.

    Args:
        profiles: The profiles.
        log: Log of the shop, for ids and times.
        rng: Source of times and lengths.
        prefix: Beginning of the fake shoppers' ids, which no real id may have.
    """
    rows: list[_FakeEvent] = []
    names = log.videos.to_pylist()
    for account, fillers in enumerate(profiles.fillers):
        user = f"{prefix}-{account:05d}"
        videos = [names[column] for column in fillers]
        place = int(rng.integers(len(videos) + 1))
        shown = [*videos[:place], profiles.target, *videos[place:]]
        for video, at in zip(shown, _session_times(len(shown), log, rng).tolist(), strict=True):
            if video == profiles.target:
                rows += _target_events(user, profiles, at, rng)
            else:
                rows += _filler_events(user, video, at, rng)
    return _to_events(rows, prefix)


def history_poisoning(
    victim: str, videos: list[str], log: WatchedVideos, rng: np.random.Generator
) -> pa.Table:
    """Return EVENTS in the name of one real shopper, as from a stolen session, just after the log's end.

    Args:
        victim: Id of the shopper whose profile is poisoned.
        videos: Videos that it is poisoned with, in this order.
        log: Log of the shop.
        rng: Source of the seconds between events.
    """
    at = log.last + np.cumsum(rng.integers(5, 60, len(videos))) * SECOND_US
    rows = [_FakeEvent(victim, video, "click", int(t)) for video, t in zip(videos, at.tolist(), strict=True)]
    return _to_events(rows, f"poison-{victim}")


def _session_times(count: int, log: WatchedVideos, rng: np.random.Generator) -> Ints:
    """Return (count,) ascending times in µs, in sessions within the log's time."""
    session = np.arange(count) // SESSION_VIDEOS
    starts = np.sort(rng.integers(log.first, max(log.last, log.first + 1), session[-1] + 1))
    passed = np.cumsum(rng.lognormal(3.0, 0.7, count))  # about 20 s between two videos
    within = passed - passed[session * SESSION_VIDEOS]
    return np.minimum(starts[session] + (within * SECOND_US).astype(np.int64), log.last)


def _filler_events(user: str, video: str, at: int, rng: np.random.Generator) -> list[_FakeEvent]:
    events = [_FakeEvent(user, video, "click", at)]
    if rng.random() < 0.8:
        events.append(_FakeEvent(user, video, "watch", at + SECOND_US, _seconds(WATCH_S[0], rng)))
    return events


def _target_events(user: str, profiles: FakeProfiles, at: int, rng: np.random.Generator) -> list[_FakeEvent]:
    video = profiles.target
    events = [_FakeEvent(user, video, "click", at)]
    if not profiles.promotes:
        return [_FakeEvent(user, video, "dislike", at)]
    if profiles.loves:
        events.append(_FakeEvent(user, video, "watch", at + SECOND_US, _seconds(WATCH_S[1], rng)))
        events.append(_FakeEvent(user, video, "like", at + 2 * SECOND_US))
    later = rng.integers(60, 600, max(profiles.loves - 1, 0)) * SECOND_US
    return events + [_FakeEvent(user, video, "click", int(at + extra)) for extra in np.cumsum(later)]


def _seconds(median: float, rng: np.random.Generator) -> float:
    return float(np.clip(median * rng.lognormal(0, 0.5), 1, 600))


def _to_events(rows: list[_FakeEvent], prefix: str) -> pa.Table:
    columns = {
        "event_id": pa.array([f"{prefix}-e{number}" for number in range(len(rows))], pa.string()),
        "user_id": pa.array([row.user_id for row in rows], pa.string()),
        "video_id": pa.array([row.video_id for row in rows], pa.string()),
        "kind": pa.array([row.kind for row in rows], pa.string()),
        "value": pa.array([row.value for row in rows], pa.float32()),
        "domain": pa.array([DOMAIN] * len(rows), pa.string()),
        "at": pa.array([row.at for row in rows], pa.int64()).cast(TIMESTAMP),
    }
    return conform(pa.table(columns), EVENTS, stage="attack_events")
