"""Features of a shopper and the streams that are live at an instant; the same builder offline and online.

Repeat consumption and availability are those of Rappaz, McAuley and Aberer 2021, "Recommendation on
Live-Streaming Platforms: Dynamic Availability and Repeat Consumption".
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.retrieval.live.log import DAY_US, HOUR_US, SECOND_US, Floats, Indices

Vectors = npt.NDArray[np.float32]

REPEAT_DAYS = (1.0, 5.0, 20.0)
"""Half-lives of the counts of a shopper's views of a streamer."""
WATCHED_DAYS = 7.0
HOUR_DAYS = 20.0
HOUR_WIDTH = 1.25
"""Standard deviation, in hours, of what counts as the same time of the day."""
TASTE_DAYS = 14.0
RECENT_DAYS = 0.5
WHOLE_VIEW_S = 1800.0
"""Length from which a view counts as much as any longer one in a taste."""

REPEAT_FEATURES = (
    *(f"views_{days:g}d" for days in REPEAT_DAYS),
    "minutes",
    "known",
    "last_streamer",
    "log_hours_since",
    "share_of_views",
    "stay_rate",
    "last_left_early",
    "same_hour",
    "same_hour_share",
    "same_stream",
    "same_stream_left_early",
    "known_by_repeat_rate",
    "known_by_log_views",
)
"""Features of what the shopper did with the streamer before; 0 for a streamer new to the shopper."""
STREAM_FEATURES = (
    "log_viewers",
    "viewer_share",
    "log_views_1d",
    "log_views_7d",
    "streamer_stay_rate",
    "streamer_log_minutes",
    "log_age",
    "just_started",
    "content_taste",
    "content_recent",
    "content_best",
    "content_left_early",
    "category_share",
    "similar_streamers",
    "similar_streamers_recent",
)
"""Features of the stream now, and of how it suits the shopper."""


@dataclass(frozen=True)
class ShopperViews:
    """History of a shopper up to an instant, H views ascending by start."""

    streamer: Indices
    stream: Indices
    category: Indices
    """(H,) category of each view's stream, −1 for none."""
    start: Indices
    """(H,) start in µs since 1970."""
    seconds: Floats
    """(H,) seconds watched up to the instant."""
    vectors: Vectors | None
    """(H, D) content in the middle of each view, zeros where unknown; None without any."""


@dataclass(frozen=True)
class LiveNow:
    """Streams that are live at an instant, C rows."""

    at: int
    """The instant in µs since 1970."""
    stream: Indices
    streamer: Indices
    category: Indices
    started: Indices
    viewers: Floats
    """(C,) shoppers who watch at the instant."""
    views_1d: Floats
    """(C,) decayed number of views of the streamer, half-life of a day."""
    views_7d: Floats
    stay_rate: Floats
    """(C,) smoothed share of the streamer's views that were not left early."""
    log_minutes: Floats
    """(C,) smoothed mean log of the minutes of the streamer's views."""
    vectors: Vectors | None
    """(C, D) content now, zeros where unknown."""


def live_features(
    views: ShopperViews, now: LiveNow, similar: npt.NDArray[np.float32], early_leave_s: float
) -> npt.NDArray[np.float32]:
    """Return the (C, F) features of each live stream for a shopper, in the order of FEATURES.

    Args:
        views: What the shopper watched before.
        now: The live streams; streamers are distinct.
        similar: (H, C) similarity of the streamer of each view to each live one; 0 for unknown ones.
        early_leave_s: Seconds below which a view was left early.
    """
    repeat = _repeat_features(views, now, early_leave_s)
    stream = _stream_features(views, now, similar, early_leave_s)
    known = repeat[:, [REPEAT_FEATURES.index("known")]]
    return np.hstack([repeat, stream, stream * known])


FEATURES = (*REPEAT_FEATURES, *STREAM_FEATURES, *(f"{name}_of_known" for name in STREAM_FEATURES))


def _repeat_features(views: ShopperViews, now: LiveNow, early_leave_s: float) -> npt.NDArray[np.float32]:
    out = np.zeros((len(now.stream), len(REPEAT_FEATURES)), np.float32)
    rows, place = _known_views(views.streamer, now.streamer)
    if not len(rows):
        return out
    size = len(now.stream)
    days = (now.at - views.start[rows]) / DAY_US
    seconds = views.seconds[rows]
    early = seconds < early_leave_s

    def total(weights: Floats | npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(place, weights, minlength=size).astype(np.float64)

    count = total(np.ones(len(rows)))
    known = count > 0
    column = 0
    for half_life in REPEAT_DAYS:
        out[:, column] = np.log1p(total(0.5 ** (days / half_life)))
        column += 1
    minutes = total(0.5 ** (days / WATCHED_DAYS) * seconds / 60)
    # Rows ascend by time, so that the last one assigned is the newest.
    newest = np.full(size, -1)
    newest[place] = np.arange(len(rows))
    last = newest[known]
    hours = np.abs((now.at - views.start[rows]) / HOUR_US % 24)
    near = np.exp(-0.5 * (np.minimum(hours, 24 - hours) / HOUR_WIDTH) ** 2) * 0.5 ** (days / HOUR_DAYS)
    same = views.stream[rows] == now.stream[place]
    newest_same = np.zeros(size, bool)
    newest_same[place[same]] = early[same]
    repeats = 1 - len(np.unique(views.streamer)) / len(views.streamer)
    rest = [
        np.log1p(minutes),
        known,
        now.streamer == views.streamer[-1],
        _filled(known, np.log1p(days[last] * 24)),
        count / len(views.streamer),
        known * (total(~early) + 0.5) / (count + 1),
        _filled(known, early[last]),
        np.log1p(total(near)),
        total(near) / np.maximum(total(0.5 ** (days / HOUR_DAYS)), 1e-9),
        np.log1p(total(same)),
        newest_same,
        known * repeats,
        known * np.log1p(len(views.streamer)),
    ]
    for values in rest:
        out[:, column] = values
        column += 1
    return out


def _known_views(watched: Indices, live: Indices) -> tuple[Indices, Indices]:
    """Return the views of live streamers, ascending, and the place of each one's streamer among the live."""
    order = np.argsort(live)
    place = np.searchsorted(live[order], watched)
    inside = np.flatnonzero(place < len(order))
    place = order[place[inside]]
    same = live[place] == watched[inside]
    return inside[same], place[same]


def _filled(known: npt.NDArray[np.bool_], values: npt.NDArray[np.generic]) -> Floats:
    out = np.zeros(len(known))
    out[known] = values
    return out


def _stream_features(
    views: ShopperViews, now: LiveNow, similar: npt.NDArray[np.float32], early_leave_s: float
) -> npt.NDArray[np.float32]:
    age_s = (now.at - now.started) / SECOND_US
    days = (now.at - views.start) / DAY_US
    stayed = views.seconds >= early_leave_s
    worth = np.minimum(views.seconds, WHOLE_VIEW_S) / WHOLE_VIEW_S * stayed
    long_term, recent = worth * 0.5 ** (days / TASTE_DAYS), worth * 0.5 ** (days / RECENT_DAYS)
    columns = [
        np.log1p(now.viewers),
        now.viewers / max(1.0, float(now.viewers.sum())),
        np.log1p(now.views_1d),
        np.log1p(now.views_7d),
        now.stay_rate,
        now.log_minutes,
        np.log1p(age_s / 60),
        np.exp(-age_s / 900),
        *_content_features(views, now, long_term, recent, ~stayed * 0.5 ** (days / TASTE_DAYS)),
        _category_share(views, now, long_term),
        _weighted_mean(long_term, similar),
        _weighted_mean(recent, similar),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _weighted_mean(weights: Floats, rows: npt.NDArray[np.float32]) -> Floats:
    """Return the (C,) mean of (H, C) rows by (H,) weights, drawn to 0 where there is little weight."""
    return weights @ rows / (weights.sum() + 1.0)


def _content_features(
    views: ShopperViews, now: LiveNow, long_term: Floats, recent: Floats, left: Floats
) -> list[Floats]:
    if now.vectors is None or views.vectors is None or not len(views.stream):
        return [np.zeros(len(now.stream))] * 4
    tastes = np.stack([long_term, recent, left]) @ views.vectors  # (3, D)
    tastes /= np.maximum(np.linalg.norm(tastes, axis=1, keepdims=True), 1e-9)
    shown = now.vectors @ tastes.T  # (C, 3)
    liked = np.argsort(-long_term, kind="stable")[:20]
    best = now.vectors @ (views.vectors[liked] * (long_term[liked] > 0)[:, None]).T  # (C, ≤ 20)
    strength = np.log1p(long_term.sum())
    return [shown[:, 0] * strength, shown[:, 1], best.max(axis=1), shown[:, 2]]


def _category_share(views: ShopperViews, now: LiveNow, worth: Floats) -> Floats:
    """Return the (C,) share of what the shopper watched that was in each stream's category."""
    size = max(now.category.max(initial=-1), views.category.max(initial=-1)) + 2
    by_category = np.bincount(views.category + 1, worth, minlength=size) / (worth.sum() + 1.0)
    return np.where(now.category >= 0, by_category[now.category + 1], 0.0)
