"""Comparison of shoppers with those who are about as active, so that being heavy is no sign of anything."""

from collections.abc import Iterator

import numpy as np

from vrec.robustness.watched import Floats, Ints

WINDOW = 200
"""Shoppers, next by number of videos, that each is compared with."""
BLOCK = 4096
TIE = 1e-9
TIE_SEED = 17


def activity_ranks(values: Floats, lengths: Ints) -> Floats:
    """Return (S,) ranks in 0 to 1 of values among shoppers with about as many videos.

    The trend with the number of videos is taken out, a line over its logarithm, since the heaviest shoppers
    have nobody above them. Equal values of shoppers with equally many videos have equal ranks, and NaN the
    rank 1/2.

    Args:
        values: (S,) values, of which only the order counts.
        lengths: (S,) number of videos of each shopper.
    """
    known = np.flatnonzero(np.isfinite(values))
    ranks = np.full(len(values), 0.5)
    if len(known) < 2:
        return ranks
    order = known[_by_length(lengths[known])]
    own, logs = _uniform(values[order]), np.log1p(lengths[order].astype(np.float64))
    found = np.empty(len(order))
    for start, rows in _compared(own, logs):
        mine = own[start : start + len(rows), None]
        found[start : start + len(rows)] = (
            (rows < mine - TIE).mean(axis=1) + (rows <= mine + TIE).mean(axis=1)
        ) / 2
    ranks[order] = found
    return ranks


def activity_scores(values: Floats, lengths: Ints, least: float = 1e-9) -> Floats:
    """Return (S,) values less the median of shoppers with about as many videos, over their deviation.

    Args:
        values: (S,) values.
        lengths: (S,) number of videos of each shopper.
        least: Least deviation that values are measured by.
    """
    if not len(values):
        return np.zeros(0)
    order = _by_length(lengths)
    own, logs = values[order], np.log1p(lengths[order].astype(np.float64))
    least = max(least, _deviation(values))
    found = np.empty(len(values))
    for start, rows in _compared(own, logs):
        middle, high = np.quantile(rows, (0.5, 0.75), axis=1)
        # The upper quartile: a group that is a tenth of a window must not be the measure of itself.
        scale = np.maximum((high - middle) / 0.674, least)
        found[order[start : start + len(rows)]] = (own[start : start + len(rows)] - middle) / scale
    return found


def tails(ranks: Floats) -> Floats:
    """Return ranks as signed sizes of tails: ± log2 of 1 / (2 × the smaller side), at least 1 / 400."""
    side = np.maximum(np.minimum(ranks, 1 - ranks), 1 / 400)
    return np.sign(ranks - 0.5) * -np.log2(2 * side)


def _compared(values: Floats, logs: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield the first place and the (N, W) values that those of N next shoppers are compared with.

    Args:
        values: (S,) values by number of videos.
        logs: (S,) logarithms of the numbers of videos, ascending.
    """
    window = min(WINDOW, len(values))
    near, at = (np.lib.stride_tricks.sliding_window_view(column, window) for column in (values, logs))
    first = np.clip(np.arange(len(values)) - window // 2, 0, len(values) - window)
    for start in range(0, len(values), BLOCK):
        rows, places = near[first[start : start + BLOCK]], at[first[start : start + BLOCK]]
        apart = places - places.mean(axis=1, keepdims=True)
        spread = (apart**2).sum(axis=1)
        slope = np.where(spread > TIE, (apart * rows).sum(axis=1) / np.maximum(spread, TIE), 0)
        yield start, rows - slope[:, None] * (places - logs[start : start + BLOCK, None])


def _deviation(values: Floats) -> float:
    """Return a third of the deviation over all shoppers, below which no window's may fall."""
    low, high = np.quantile(values, (0.25, 0.75))
    return float((high - low) / 1.349 / 3)


def _by_length(lengths: Ints) -> Ints:
    """Return the order by number of videos; ties are in no order, else ids would tell neighbours apart."""
    tie = np.random.default_rng(TIE_SEED).permutation(len(lengths))
    return np.lexsort((tie, lengths))


def _uniform(values: Floats) -> Floats:
    ordered = np.sort(values)
    below, up_to = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(values))
