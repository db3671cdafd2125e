"""Event counts of videos and users as rows of numbers, and the smoothed rates of these counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
import numpy.typing as npt

from vrec.profiles.profile import Profile
from vrec.profiles.video import (
    COMPLETIONS,
    TIMED_WATCHES,
    WATCH_S,
    WATCH_SHARE,
    WATCH_SHARE_SQUARED,
    VideoProfileConfig,
    fit_prior,
    smoothed_rate,
)

Doubles = npt.NDArray[np.float64]

VIDEO_COUNT_KEYS = (
    "event:impression", "event:click", "event:watch", "event:like", "event:cart", "event:purchase",
    WATCH_S, WATCH_SHARE, WATCH_SHARE_SQUARED, TIMED_WATCHES, COMPLETIONS,
)  # fmt: skip
"""Keys of `Profile.counts` that features use, in the order of the columns."""
LEAST_RATE = 1e-4
"""Rates of priors are clipped this far from 0 and 1, so that log-odds are always finite."""


@dataclass(frozen=True, eq=False)
class ReleasedCounts:
    """Counts of videos that were released with noise, in the place of the counts that requests bring."""

    video_ids: tuple[str, ...]
    counts: Doubles
    """(V + 1, len(VIDEO_COUNT_KEYS)) counts ≥ 0; the last row, of zeros, stands for all other videos."""

    def of(self, video_ids: Sequence[str]) -> Doubles:
        """Return the (N, len(VIDEO_COUNT_KEYS)) counts of videos."""
        rows = np.fromiter(map(self.rows.get, video_ids, repeat(-1)), np.int64, len(video_ids))
        return self.counts[rows]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each video by its id."""
        return {video: row for row, video in enumerate(self.video_ids)}


@dataclass(frozen=True, slots=True)
class RateDefinition:
    """Rate as one count divided by another."""

    name: str
    total: str
    """Key of the sum of the outcomes."""
    trials: str
    """Key of the number of trials."""
    squares: str
    """Key of the sum of squared outcomes; for outcomes 0 or 1 it is `total`."""


RATES = (
    RateDefinition("click", "event:click", "event:impression", "event:click"),
    RateDefinition("watch", "event:watch", "event:impression", "event:watch"),
    RateDefinition("like", "event:like", "event:impression", "event:like"),
    RateDefinition("cart", "event:cart", "event:click", "event:cart"),
    RateDefinition("purchase", "event:purchase", "event:click", "event:purchase"),
    RateDefinition("share_watched", WATCH_SHARE, TIMED_WATCHES, WATCH_SHARE_SQUARED),
    RateDefinition("completion", COMPLETIONS, TIMED_WATCHES, COMPLETIONS),
)
"""Rates of a video; a user has only the USER_RATES."""
USER_RATES = RATES[:5]
_RATE_ROWS = np.array([[VIDEO_COUNT_KEYS.index(key) for key in (r.total, r.trials)] for r in RATES]).T
"""(2, len(RATES)) rows of the totals and trials of each rate."""


def profile_counts(profile: Profile | None) -> Doubles:
    """Return the (len(VIDEO_COUNT_KEYS),) float64 counts of a profile, zeros without one."""
    counts = {} if profile is None else profile.counts
    return np.array([counts.get(key, 0.0) for key in VIDEO_COUNT_KEYS])


def column(counts: Doubles, key: str) -> Doubles:
    """Return one (N,) column of (N, len(VIDEO_COUNT_KEYS)) counts.

    The copy is contiguous: NumPy may round sums over a strided column differently.
    """
    return np.ascontiguousarray(counts[:, VIDEO_COUNT_KEYS.index(key)])


def fit_rates(counts: Doubles, rates: Sequence[RateDefinition]) -> Doubles:
    """Fit priors to (V, len(VIDEO_COUNT_KEYS)) counts: (len(rates), 2) rate and strength; see `fit_prior`."""
    fallback = VideoProfileConfig().click
    priors = np.empty((len(rates), 2))
    for row, rate in enumerate(rates):
        total, trials, squares = (column(counts, key) for key in (rate.total, rate.trials, rate.squares))
        prior = fit_prior(total, np.maximum(total, trials), squares, fallback)
        priors[row] = np.clip(prior.rate, LEAST_RATE, 1 - LEAST_RATE), prior.strength
    return priors


def log_odds(counts: Doubles, priors: Doubles) -> Doubles:
    """Return the log-odds of the first n of RATES, smoothed by priors.

    Args:
        counts: (len(VIDEO_COUNT_KEYS), N) counts.
        priors: (n, 2) rate and strength of each prior.

    Returns:
        (n, N) float64.
    """
    total, trials = counts[_RATE_ROWS[:, : len(priors)]]
    mean, strength = priors.T[:, :, None]
    share = smoothed_rate(total, trials, mean, strength)
    return np.log(share) - np.log1p(-share)


def mean_seconds(counts: Doubles, mean: float, strength: float) -> Doubles:
    """Return (N,) mean seconds per watch, smoothed towards `mean` with the weight of `strength` watches.

    `counts` are (len(VIDEO_COUNT_KEYS), N).
    """
    seconds, watches = (counts[VIDEO_COUNT_KEYS.index(key)] for key in (WATCH_S, "event:watch"))
    return (seconds + strength * mean) / (watches + strength)
