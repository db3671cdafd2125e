"""What is known of a video from its events at a moment, as one row of numbers, and the rates in it."""

from collections.abc import Sequence
from dataclasses import dataclass

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
"""The counts of a profile that features are made of."""
LEAST_RATE = 1e-4
"""A prior's rate is at least this far from 0 and 1, so that log-odds are finite however little happened."""


@dataclass(frozen=True, slots=True)
class RateDefinition:
    """One count by another."""

    name: str
    total: str
    trials: str
    squares: str
    """The sum of squared outcomes; of what happens or not it is the total."""


RATES = (
    RateDefinition("click", "event:click", "event:impression", "event:click"),
    RateDefinition("watch", "event:watch", "event:impression", "event:watch"),
    RateDefinition("like", "event:like", "event:impression", "event:like"),
    RateDefinition("cart", "event:cart", "event:click", "event:cart"),
    RateDefinition("purchase", "event:purchase", "event:click", "event:purchase"),
    RateDefinition("share_watched", WATCH_SHARE, TIMED_WATCHES, WATCH_SHARE_SQUARED),
    RateDefinition("completion", COMPLETIONS, TIMED_WATCHES, COMPLETIONS),
)
"""A video's rates; of a shopper only the USER_RATES can be told."""
USER_RATES = RATES[:5]


def profile_counts(profile: Profile | None) -> Doubles:
    """(len(STATE),) float64 counts of a profile; zeros where nothing is known of it."""
    counts = {} if profile is None else profile.counts
    return np.array([counts.get(key, 0.0) for key in VIDEO_COUNT_KEYS])


def column(states: Doubles, key: str) -> Doubles:
    """(N,) one count of (N, len(STATE)) states, contiguous: NumPy may round a strided column otherwise."""
    return np.ascontiguousarray(states[:, VIDEO_COUNT_KEYS.index(key)])


def fit_rates(states: Doubles, rates: Sequence[RateDefinition]) -> Doubles:
    """(len(rates), 2) rate and strength of the priors for (V, len(STATE)) states; see `fit_prior`."""
    fallback = VideoProfileConfig().click
    found = np.empty((len(rates), 2))
    for row, rate in enumerate(rates):
        total, trials, squares = (column(states, key) for key in (rate.total, rate.trials, rate.squares))
        prior = fit_prior(total, np.maximum(total, trials), squares, fallback)
        found[row] = np.clip(prior.rate, LEAST_RATE, 1 - LEAST_RATE), prior.strength
    return found


def log_odds(states: Doubles, rates: Sequence[RateDefinition], priors: Doubles) -> list[Doubles]:
    """Of each rate the (N,) log-odds of (N, len(STATE)) states, drawn to its prior."""
    found: list[Doubles] = []
    for rate, (mean, strength) in zip(rates, priors.tolist(), strict=True):
        share = smoothed_rate(column(states, rate.total), column(states, rate.trials), mean, strength)
        found.append(np.log(share) - np.log1p(-share))
    return found


def mean_seconds(states: Doubles, mean: float, strength: float) -> Doubles:
    """(N,) seconds of a watch, drawn to `mean` as by `strength` watches."""
    return (column(states, WATCH_S) + strength * mean) / (column(states, "event:watch") + strength)
