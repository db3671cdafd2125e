"""Noised sums of vectors over sampled shoppers: one step of training with differential privacy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from vrec.privacy.noise import Counts, NormalSource, system_normals, whole_noise

Floats = npt.NDArray[np.float64]
Shoppers = npt.NDArray[np.int64]
VectorsOf = Callable[[Shoppers], npt.NDArray[np.floating]]
"""Function from (B,) shoppers to their (B, width) vectors, each made of that shopper's data alone."""

GRID = 1 << 20
"""Steps per clipping norm: what a shopper adds is a whole number of steps, and so are sums and noise."""
BLOCK = 256
"""Shoppers whose vectors are computed at once, which bounds memory."""


@dataclass(frozen=True, slots=True)
class SampledSum:
    """Sum over sampled shoppers with noise (Abadi et al. 2016, "Deep learning with differential privacy").

    The unit is the shopper: a shopper gives one vector per step, whatever it is made of, and that vector is
    clipped as a whole. Neighboring data sets differ by one shopper.
    """

    probability: float
    """Probability with which each shopper takes part, independently of all others (Poisson sampling)."""
    limit: float
    """Euclidean norm to which each shopper's vector is clipped."""
    multiplier: float
    """Standard deviation of the noise of each number, over `limit`."""

    def draw(
        self, shoppers: int, width: int, vectors_of: VectorsOf, normals: NormalSource = system_normals
    ) -> Floats:
        """Return the (width,) sum of the clipped vectors of sampled shoppers, with noise.

        It has to be divided by a number that does not depend on who was sampled, nor on the number of
        shoppers unless that is public or noised.

        Args:
            shoppers: Number of shoppers.
            width: Length of a vector.
            vectors_of: Function that returns the shoppers' vectors.
            normals: Source of the sample and of the noise.
        """
        drawn = sampled_shoppers(shoppers, self.probability, normals)
        total = np.zeros(width, np.int64)
        for start in range(0, len(drawn), BLOCK):
            vectors = vectors_of(drawn[start : start + BLOCK]).astype(np.float64)
            total += clipped_vectors(vectors, self.limit).sum(axis=0)
        noised: Counts = total + whole_noise(self.multiplier * GRID, width, normals)
        return noised.astype(np.float64) * (self.limit / GRID)


def sampled_shoppers(shoppers: int, probability: float, normals: NormalSource) -> Shoppers:
    """Return the (B,) shoppers of a Poisson sample, in ascending order."""
    if probability >= 1:
        return np.arange(shoppers)
    return np.flatnonzero(normals(shoppers) < ndtri(probability))


def clipped_vectors(vectors: Floats, limit: float) -> Counts:
    """Return (B, width) vectors with a norm of at most `limit`, in steps of limit / GRID.

    Numbers are rounded towards 0, so that no norm grows. A vector that is not finite becomes zeros: it must
    not reach the sum, and its shopper cannot be named.
    """
    with np.errstate(over="ignore"):
        units = vectors / limit
        # After the division, which may overflow.
        units = np.where(np.isfinite(units).all(axis=1, keepdims=True), units, 0.0)
        # By the largest number first: squares of very large numbers are infinite.
        largest = np.maximum(np.abs(units).max(axis=1, keepdims=True, initial=0.0), 1.0)
        norms = largest * np.linalg.norm(units / largest, axis=1, keepdims=True)
    # The margin is far above the rounding of norms and quotients, and far below a step.
    return np.trunc(units * ((1 - 1e-9) * GRID / np.maximum(norms, 1.0))).astype(np.int64)
