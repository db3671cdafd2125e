"""What is known of a video from its events at a moment, as one row of numbers, and the rates in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.profiles.profile import Profile
from vrec.profiles.video import (
    COMPLETIONS,
    TIMED,
    WATCH_S,
    WATCH_SHARE,
    WATCH_SHARE_SQUARED,
    VideoProfileConfig,
    fit_prior,
    smoothed,
)

Exact = npt.NDArray[np.float64]

STATE = (
    "event:impression", "event:click", "event:watch", "event:like", "event:cart", "event:purchase",
    WATCH_S, WATCH_SHARE, WATCH_SHARE_SQUARED, TIMED, COMPLETIONS,
)  # fmt: skip
"""The counts of a profile that features are made of."""
LEAST_RATE = 1e-4
"""A prior's rate is at least this far from 0 and 1, so that log-odds are finite however little happened."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One count by another."""

    name: str
    total: str
    trials: str
    squares: str
    """The sum of squared outcomes; of what happens or not it is the total."""


RATES = (
    Rate("click", "event:click", "event:impression", "event:click"),
    Rate("watch", "event:watch", "event:impression", "event:watch"),
    Rate("like", "event:like", "event:impression", "event:like"),
    Rate("cart", "event:cart", "event:click", "event:cart"),
    Rate("purchase", "event:purchase", "event:click", "event:purchase"),
    Rate("share_watched", WATCH_SHARE, TIMED, WATCH_SHARE_SQUARED),
    Rate("completion", COMPLETIONS, TIMED, COMPLETIONS),
)
"""A video's rates; of a shopper only the USER_RATES can be told."""
USER_RATES = RATES[:5]


def state_of(profile: Profile | None) -> Exact:
    """(len(STATE),) float64 counts of a profile; zeros where nothing is known of it."""
    counts = {} if profile is None else profile.counts
    return np.array([counts.get(key, 0.0) for key in STATE])


def column(states: Exact, key: str) -> Exact:
    """(N,) one count of (N, len(STATE)) states, contiguous: NumPy may round a strided column otherwise."""
    return np.ascontiguousarray(states[:, STATE.index(key)])


def fit_rates(states: Exact, rates: Sequence[Rate]) -> Exact:
    """(len(rates), 2) rate and strength of the priors for (V, len(STATE)) states; see `fit_prior`."""
    fallback = VideoProfileConfig().click
    found = np.empty((len(rates), 2))
    for row, rate in enumerate(rates):
        total, trials, squares = (column(states, key) for key in (rate.total, rate.trials, rate.squares))
        prior = fit_prior(total, np.maximum(total, trials), squares, fallback)
        found[row] = np.clip(prior.rate, LEAST_RATE, 1 - LEAST_RATE), prior.strength
    return found


def log_odds(states: Exact, rates: Sequence[Rate], priors: Exact) -> list[Exact]:
    """Of each rate the (N,) log-odds of (N, len(STATE)) states, drawn to its prior."""
    found: list[Exact] = []
    for rate, (mean, strength) in zip(rates, priors.tolist(), strict=True):
        share = smoothed(column(states, rate.total), column(states, rate.trials), mean, strength)
        found.append(np.log(share) - np.log1p(-share))
    return found


def mean_seconds(states: Exact, mean: float, strength: float) -> Exact:
    """(N,) seconds of a watch, drawn to `mean` as by `strength` watches."""
    return (column(states, WATCH_S) + strength * mean) / (column(states, "event:watch") + strength)
