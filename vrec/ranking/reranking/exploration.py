"""Trying out what the ranker is unsure of, with the exact chance of every choice (Thompson sampling)."""

import math

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import ndtr, ndtri

from vrec.core.config import BaseConfig
from vrec.ranking.reranking.quadrature import integrate

Floats = npt.NDArray[np.float64]

MAX_DEVIATION = 4.0
"""Standard deviations at which the noise is cut off. A cut makes the chance of what lies out of reach exactly
0, so that most candidates need not be looked at; 6 of 100,000 draws of a Normal lie beyond."""
KEPT_MASS = float(1 - 2 * ndtr(-MAX_DEVIATION))
"""What a Normal has within its reach."""
PROBES, NEGLIGIBLE_CHANCE = 32, 1e-16
"""RowIndices and foremost rivals that are looked at first, and the chance that is none."""
GROWTH = 4.0
"""Of the intervals that the integral begins with, from one to the next."""
STEP = 1 / 2048
"""Between the deviations at which the distribution is tabulated: lines between them err by 1e-8 at most."""
_TABLE = np.clip(
    (ndtr(np.arange(-MAX_DEVIATION, MAX_DEVIATION + STEP, STEP)) - (1 - KEPT_MASS) / 2) / KEPT_MASS, 0.0, 1.0
)
_RISE = np.append(np.diff(_TABLE), 0.0)


class ExplorationConfig(BaseConfig):
    """How much is tried out, and where (Thompson 1933)."""

    scale: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Standard deviations of noise for each of the ranker's own; 1 is Thompson sampling, 0 is off. Other than
    0 it makes lists differ from request to request, and their propensities worth logging."""
    slots: frozenset[int] | None = None
    """Slots, from 0, in which something may be tried out; all by default."""

    def explores(self, slot: int) -> bool:
        """Whether something may be tried out in a slot, from 0."""
        return self.scale > 0 and (self.slots is None or slot in self.slots)


def draw_winner(means: Floats, deviations: Floats, rng: np.random.Generator) -> tuple[int, float]:
    """The candidate whose drawn score is largest, and the exact chance with which it wins.

    Scores are independent Normals with (N,) means and standard deviations ≥ 0, cut off at REACH deviations;
    N ≥ 1. Equal ones go to the first. One uniform number is drawn a candidate.
    """
    tail = float(ndtr(-MAX_DEVIATION))
    noise = ndtri(tail + rng.random(len(means)) * KEPT_MASS)
    winner = int(np.argmax(means + deviations * noise))
    return winner, win_chance(means, deviations, winner)


def win_chances(means: Floats, deviations: Floats) -> Floats:
    """(N,) the chance of each candidate to be drawn by `draw_winner`; they sum to 1 within about 1e-6."""
    return np.array([win_chance(means, deviations, one) for one in range(len(means))])


def win_chance(means: Floats, deviations: Floats, winner: int) -> float:
    """The chance that one candidate is drawn by `draw_winner`, within about 1e-6 of itself; 0 out of reach.

    It is ∫ pdf_i(x) ∏ cdf_j(x) dx over the others, by adaptive Gauss-Kronrod quadrature. A candidate without
    deviation wins where all the others stay below it, and lets none win that stays below it.
    """
    least = means - MAX_DEVIATION * deviations
    mean, deviation, floor = means[winner], deviations[winner], least.max()
    # A deviation that vanishes beside its mean is none: the sum of both is the mean.
    certain = means + MAX_DEVIATION * deviations == means
    # What can exceed the floor, which somebody always reaches; the winner itself aside.
    rivals = ~certain & (means + MAX_DEVIATION * deviations > floor)
    rivals[winner] = False
    others, widths = means[rivals], deviations[rivals]
    if certain[winner]:
        first = int(np.argmax(np.where(certain, means, -np.inf)))
        return float(_cdf((mean - others) / widths).prod()) if first == winner else 0.0
    low = max(-MAX_DEVIATION, (floor - mean) / deviation)
    if low >= MAX_DEVIATION:
        return 0.0
    if not len(others):
        return float(1 - _cdf(np.array([low]))[0])
    # A rival's cdf at the winner's deviation z is that of shift + slope · z.
    shift, slope = (mean - others) / widths, deviation / widths
    low = _lower_bound(shift, slope, low)
    late = shift + slope * low < MAX_DEVIATION
    shift, slope = shift[late], slope[late]

    def density(z: Floats) -> Floats:
        below = _cdf(shift + slope * z[:, None]).prod(axis=1)
        return np.exp(-0.5 * z * z) / (np.sqrt(2 * np.pi) * KEPT_MASS) * below

    # The reach of every rival left holds `low`, so a narrow one's step lies close above it, where coarse
    # nodes could miss it: the intervals grow from there.
    narrow = (MAX_DEVIATION - low) * slope.max(initial=1.0) / 4
    steps = np.arange(max(1, math.ceil(math.log(narrow, GROWTH))), -1.0, -1.0)
    edges = np.append(low, low + (MAX_DEVIATION - low) * GROWTH**-steps)
    return float(min(1.0, integrate(density, edges)))


def _lower_bound(shift: Floats, slope: Floats, low: float) -> float:
    """A deviation from `low` on below which the winner cannot win but with a chance of NEVER."""
    probes = np.linspace(low, MAX_DEVIATION, PROBES + 1)
    foremost = np.argsort(shift)[:PROBES]
    below = _cdf(shift[foremost] + slope[foremost] * probes[:, None]).prod(axis=1)
    return float(probes[max(0, int(np.argmax(below > NEGLIGIBLE_CHANCE)) - 1)])


def _cdf(z: Floats) -> Floats:
    """The distribution of the noise at deviations of any shape; a tenth of the time of `ndtr`."""
    place = z + MAX_DEVIATION
    place *= 1 / STEP
    np.clip(place, 0, len(_TABLE) - 1, out=place)
    before = place.astype(np.intp)
    place -= before
    place *= _RISE.take(before)
    place += _TABLE.take(before)
    return place
