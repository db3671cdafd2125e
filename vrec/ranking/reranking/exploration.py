"""Exploration by Thompson sampling, with the exact probability of every choice."""

import math

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import ndtr, ndtri

from vrec.core.config import BaseConfig
from vrec.ranking.reranking.quadrature import integrate

Floats = npt.NDArray[np.float64]

MAX_DEVIATION = 4.0
"""Standard deviations at which the noise is truncated. Truncation makes the probability of candidates out of
reach exactly 0, so that most can be skipped; 6 of 100,000 draws of a Normal lie beyond."""
KEPT_MASS = float(1 - 2 * ndtr(-MAX_DEVIATION))
"""Probability of a Normal within MAX_DEVIATION standard deviations."""
PROBES, NEGLIGIBLE_CHANCE = 32, 1e-16
"""Number of probed deviations and of strongest rivals probed, and the probability treated as 0."""
GROWTH = 4.0
"""Growth factor of the initial integration intervals."""
STEP = 1 / 2048
"""Step of the table of the distribution; linear interpolation errs by at most 1e-8."""
_TABLE = np.clip(
    (ndtr(np.arange(-MAX_DEVIATION, MAX_DEVIATION + STEP, STEP)) - (1 - KEPT_MASS) / 2) / KEPT_MASS, 0.0, 1.0
)
_RISE = np.append(np.diff(_TABLE), 0.0)


class ExplorationConfig(BaseConfig):
    """Amount and slots of exploration (Thompson 1933)."""

    scale: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Noise in units of the ranker's own standard deviation: 1 is Thompson sampling, 0 is off. Above 0, lists
    differ between requests, and their propensities should be logged."""
    slots: frozenset[int] | None = None
    """Slots, from 0, that may be explored; all by default."""

    def explores(self, slot: int) -> bool:
        """Return whether a slot, from 0, is explored."""
        return self.scale > 0 and (self.slots is None or slot in self.slots)


def draw_winner(means: Floats, deviations: Floats, rng: np.random.Generator) -> tuple[int, float]:
    """Draw scores, and return the candidate with the largest one and its exact probability of winning.

    Scores are independent Normals truncated at MAX_DEVIATION standard deviations. Of equal scores the first
    wins. One uniform number is drawn per candidate.

    Args:
        means: (N,) means, N ≥ 1.
        deviations: (N,) standard deviations ≥ 0.
        rng: Source of the draws.
    """
    tail = float(ndtr(-MAX_DEVIATION))
    noise = ndtri(tail + rng.random(len(means)) * KEPT_MASS)
    winner = int(np.argmax(means + deviations * noise))
    return winner, win_chance(means, deviations, winner)


def win_chances(means: Floats, deviations: Floats) -> Floats:
    """Return the (N,) probabilities of winning in `draw_winner`; they sum to 1 within about 1e-6."""
    return np.array([win_chance(means, deviations, one) for one in range(len(means))])


def win_chance(means: Floats, deviations: Floats, winner: int) -> float:
    """Return the probability that one candidate wins in `draw_winner`, 0 out of reach.

    It is ∫ pdf_i(x) ∏ cdf_j(x) dx over the other candidates j, by adaptive Gauss-Kronrod quadrature, with a
    relative error of about 1e-6. A candidate with deviation 0 wins where all others draw less, and excludes
    all draws below it.
    """
    lowest = means - MAX_DEVIATION * deviations
    mean, deviation, floor = means[winner], deviations[winner], lowest.max()
    # A deviation too small to change the mean in float64 counts as 0.
    certain = means + MAX_DEVIATION * deviations == means
    # Candidates that can exceed the floor, which some candidate always reaches; without the winner itself.
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
    # At the winner's deviation z, a rival's cdf is that of shift + slope · z.
    shift, slope = (mean - others) / widths, deviation / widths
    low = _lower_bound(shift, slope, low)
    reachable = shift + slope * low < MAX_DEVIATION
    shift, slope = shift[reachable], slope[reachable]

    def density(z: Floats) -> Floats:
        below = _cdf(shift + slope * z[:, None]).prod(axis=1)
        return np.exp(-0.5 * z * z) / (np.sqrt(2 * np.pi) * KEPT_MASS) * below

    # Every rival left can still draw `low`, so that the cdf of a narrow one rises close above it, where
    # coarse nodes could miss it: the intervals grow from there.
    narrow = (MAX_DEVIATION - low) * slope.max(initial=1.0) / 4
    steps = np.arange(max(1, math.ceil(math.log(narrow, GROWTH))), -1.0, -1.0)
    edges = np.append(low, low + (MAX_DEVIATION - low) * GROWTH**-steps)
    return float(min(1.0, integrate(density, edges)))


def _lower_bound(shift: Floats, slope: Floats, low: float) -> float:
    """Return a deviation ≥ `low` below which the winner wins with at most NEGLIGIBLE_CHANCE."""
    probes = np.linspace(low, MAX_DEVIATION, PROBES + 1)
    strongest = np.argsort(shift)[:PROBES]
    below = _cdf(shift[strongest] + slope[strongest] * probes[:, None]).prod(axis=1)
    return float(probes[max(0, int(np.argmax(below > NEGLIGIBLE_CHANCE)) - 1)])


def _cdf(z: Floats) -> Floats:
    """Return the cdf of the noise at deviations of any shape, ten times as fast as `ndtr`."""
    position = z + MAX_DEVIATION
    position *= 1 / STEP
    np.clip(position, 0, len(_TABLE) - 1, out=position)
    index = position.astype(np.intp)
    position -= index
    position *= _RISE.take(index)
    position += _TABLE.take(index)
    return position
