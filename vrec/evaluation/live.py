"""Score models of live streams by replaying a log in time: each view among what was live when it began."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.evaluation.intervals import MeanIntervals, mean_intervals, paired_differences
from vrec.retrieval.live.features import LiveNow, ShopperViews
from vrec.retrieval.live.log import DAY_US, Floats, Indices, LiveLog
from vrec.retrieval.live.replay import LiveReplay

Booleans = npt.NDArray[np.bool_]
LiveScorer = Callable[[LiveLog, ShopperViews, LiveNow], npt.NDArray[np.floating]]
"""Function from a log, a shopper's views and the live streams to (C,) scores; equal ones go by stream_id."""

LEVEL = 0.95
MIN_OUTCOMES = 10
METRICS: Mapping[str, Callable[[Floats], Floats]] = {
    "HR@1": lambda ranks: (ranks <= 1).astype(float),
    "HR@10": lambda ranks: (ranks <= 10).astype(float),
    "NDCG@10": lambda ranks: np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0),
}
"""Metrics of (N,) ranks from 1 of the one stream that was watched."""


@dataclass(frozen=True)
class LiveRanks:
    """Ranks of what was watched, N views by start."""

    view: Indices
    """(N,) row of the view in the log."""
    user: Indices
    is_repeat: Booleans
    """(N,) whether the shopper had watched the streamer before."""
    live: Indices
    """(N,) number of streams that were live."""
    ranks: Mapping[str, Floats]
    """(N,) rank from 1 by scorer."""
    skipped: int
    """Views whose stream was not live at their start, or alone; they are left out."""


def replay_ranks(
    log: LiveLog,
    views: Indices,
    scorers: Mapping[str, LiveScorer],
    *,
    early_leave_s: float,
    max_history: int,
    drifting: bool = True,
) -> LiveRanks:
    """Rank what was watched among all streams that were live when the view began.

    Args:
        log: The whole log; no scorer sees what came after the start of a view.
        views: Rows of the views to score, ascending.
        scorers: Models and baselines by name.
        early_leave_s: Seconds below which a view was left early.
        max_history: Newest views of a shopper that scorers see.
        drifting: Whether a stream's content is its latest vector; otherwise it stays the first one.
    """
    replay = LiveReplay(log, early_leave_s, drifting=drifting)
    rows: list[tuple[int, bool, int]] = []
    ranks: dict[str, list[int]] = {name: [] for name in scorers}
    for row in views.tolist():
        replay.advance(int(log.view_start[row]))
        now, target = replay.now(), int(log.view_stream[row])
        place = np.flatnonzero(now.stream == target)
        if len(now.stream) < 2 or not len(place):
            continue
        history = replay.views(int(log.view_user[row]), max_history)
        rows.append((row, bool((history.streamer == log.streamer[target]).any()), len(now.stream)))
        for name, scorer in scorers.items():
            ranks[name].append(rank_of(scorer(log, history, now), int(place[0])))
    kept = np.array([row for row, _, _ in rows], np.int64)
    return LiveRanks(
        view=kept,
        user=log.view_user[kept],
        is_repeat=np.array([repeat for _, repeat, _ in rows], bool),
        live=np.array([live for _, _, live in rows], np.int64),
        ranks={name: np.array(values, np.float64) for name, values in ranks.items()},
        skipped=len(views) - len(kept),
    )


def rank_of(scores: npt.NDArray[np.floating], place: int) -> int:
    """Return the rank from 1 of the (C,) scores' entry at a place; of equal scores the first comes first."""
    own = scores[place]
    return 1 + int(np.count_nonzero(scores > own) + np.count_nonzero(scores[:place] == own))


def user_means(values: Floats, users: Indices, kept: Booleans) -> Floats:
    """Return each user's mean of (N, M) values over their kept rows, users with any, ascending."""
    _, row = np.unique(users[kept], return_inverse=True)
    counts = np.bincount(row)
    sums = [np.bincount(row, column, minlength=len(counts)) for column in values[kept].T]
    return np.stack(sums, axis=1) / counts[:, None]


def metric_values(ranks: Floats) -> Floats:
    """Return (N, len(METRICS)) metrics of (N,) ranks."""
    return np.stack([metric(ranks) for metric in METRICS.values()], axis=1)


def mean_of_users(ranks: Floats, users: Indices, kept: Booleans) -> Floats:
    """Return the means over users of each metric."""
    return user_means(metric_values(ranks), users, kept).mean(axis=0)


def differences(
    ranks: Floats, against: Floats, users: Indices, kept: Booleans
) -> tuple[Floats, MeanIntervals]:
    """Return the means over users of paired differences of each metric, and their intervals."""
    values = user_means(metric_values(ranks) - metric_values(against), users, kept)
    values = paired_differences(values, np.zeros_like(values))
    return values.mean(axis=0), mean_intervals(values, LEVEL, MIN_OUTCOMES, (-1.0, 1.0))


def popular_now(log: LiveLog, views: ShopperViews, now: LiveNow) -> Floats:
    """Return the number of viewers of each live stream."""
    return now.viewers


def most_watched(log: LiveLog, views: ShopperViews, now: LiveNow) -> Floats:
    """Return scores by the seconds that the shopper watched each streamer, then by viewers."""
    return _then_viewers(_sums(views, now, views.seconds), now)


def recent_repeats(half_life_days: float) -> LiveScorer:
    """Return a scorer by the shopper's views of each streamer, decayed by their age, then by viewers."""

    def score(log: LiveLog, views: ShopperViews, now: LiveNow) -> Floats:
        return _then_viewers(
            _sums(views, now, 0.5 ** ((now.at - views.start) / DAY_US / half_life_days)), now
        )

    return score


def _sums(views: ShopperViews, now: LiveNow, weights: Floats) -> Floats:
    """Return the (C,) sum of the weights of the shopper's views of each live streamer."""
    known, row = np.unique(views.streamer, return_inverse=True)
    sums = np.bincount(row, weights, minlength=len(known))
    place = np.minimum(np.searchsorted(known, now.streamer), max(len(known) - 1, 0))
    return (
        np.where(known[place] == now.streamer, sums[place], 0.0) if len(known) else np.zeros(len(now.stream))
    )


def _then_viewers(scores: Floats, now: LiveNow) -> Floats:
    """Return scores that order by (C,) scores first, and by viewers among equals."""
    first = np.unique(scores, return_inverse=True)[1]
    second = np.unique(now.viewers, return_inverse=True)[1]
    return first.astype(np.float64) * (len(scores) + 1) + second
