"""Noised counts of videos and of pairs of videos, with what each shopper adds to them clipped.

Rows are shoppers: (shoppers, videos) sparse matrices whose entries say that a shopper watched a video, once
or more often. The sensitivity is that to one row added or removed.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import ndtri

from vrec.privacy.noise import Counts, NormalSource, system_normals, whole_noise

Floats = npt.NDArray[np.float64]

GRID = 1 << 20
"""Steps per 1: what a shopper adds is a whole number of steps, and so are sums and noise."""
SHOPPER_WEIGHT = 0.3
"""What a shopper adds to the count of shoppers beside totals, over the limit of these."""


LENGTH_BOUNDS = np.unique(np.rint(2.0 ** np.arange(0, 10.5, 0.5)).astype(np.int64))
"""Greatest numbers of videos in the bins of a histogram of shoppers: 1, 2, 3, 4, 6, 8, 11, … to 1,024; the
last bin has those with more too."""
LENGTH_QUANTILE = 0.75


@dataclass(frozen=True)
class NoisedGram:
    """Counts of pairs of videos with noise."""

    counts: Floats
    """(videos, videos) float64, symmetric; the diagonal has the videos' own counts."""
    noise: float
    """Standard deviation of the noise of each entry."""

    @classmethod
    def from_triangle(cls, released: Floats, videos: int, noise: float) -> Self:
        """Return the matrix of a noised upper triangle, row by row."""
        upper, counts = np.triu_indices(videos), np.empty((videos, videos))
        counts[upper] = released
        counts.T[upper] = released
        return cls(counts, noise)


def watched_rows(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer], videos: int
) -> sparse.csr_matrix:
    """Return (shoppers, videos) int64 with a 1 for each video that a shopper watched, once or more often.

    Args:
        rows: (N,) keys of the shoppers, any whole numbers.
        columns: (N,) videos.
        videos: Number of videos.
    """
    shoppers, rows = np.unique(rows, return_inverse=True)
    pairs = np.unique(np.stack([rows, columns]), axis=1) if len(rows) else np.empty((2, 0), np.int64)
    ones = np.ones(pairs.shape[1], np.int64)
    return sparse.csr_matrix((ones, (pairs[0], pairs[1])), shape=(len(shoppers), videos))


def clipped_steps(norms: Floats, limit: float) -> Counts:
    """Return the (N,) factors that bring rows of some norms to at most `limit`, in steps of the grid.

    They are rounded down, never up: a row times its factor has a norm of at most `limit` × GRID.
    """
    # The margin is far above the rounding of norms and quotients, and far below a step.
    factors = np.minimum(1.0, limit * (1 - 1e-12) / np.maximum(norms, 1e-300))
    return np.floor(factors * GRID).astype(np.int64)


def noised_counts(
    watched: sparse.csr_matrix, limit: float, multiplier: float, normals: NormalSource = system_normals
) -> Floats:
    """Return (videos,) clipped counts of shoppers with noise.

    A row of n videos adds min(1, √(limit / n)) to each of them, so that its norm is at most √limit.

    Args:
        watched: (shoppers, videos) from `watched_rows`.
        limit: Videos per shopper that count in full.
        multiplier: Noise multiplier.
        normals: Source of the noise.
    """
    noise = whole_noise(multiplier * count_sensitivity(limit) * GRID, watched.shape[1], normals)
    return (clipped_counts(watched, limit) + noise) / GRID


def count_sensitivity(limit: float) -> float:
    """Return the greatest norm of what a shopper adds to `clipped_counts`, in units of 1."""
    return sqrt(limit)


def clipped_counts(watched: sparse.csr_matrix, limit: float) -> Counts:
    """Return the (videos,) clipped counts of `noised_counts` without noise, in steps of the grid."""
    return watched.T @ clipped_steps(np.sqrt(_lengths(watched)), count_sensitivity(limit))


def length_histogram(watched: sparse.csr_matrix) -> Counts:
    """Return the (len(LENGTH_BOUNDS),) numbers of shoppers by how many videos they watched.

    The sensitivity is 1: one shopper is in one bin.
    """
    bins = np.searchsorted(LENGTH_BOUNDS, np.minimum(_lengths(watched), LENGTH_BOUNDS[-1]))
    return np.bincount(bins, minlength=len(LENGTH_BOUNDS))


def noised_lengths(
    watched: sparse.csr_matrix, multiplier: float, normals: NormalSource = system_normals
) -> Floats:
    """Return the histogram of `length_histogram` with noise."""
    noise = whole_noise(multiplier * GRID, len(LENGTH_BOUNDS), normals)
    return (length_histogram(watched) * GRID + noise) / GRID


def length_quantile(histogram: Floats) -> float:
    """Return the bound of a noised histogram that LENGTH_QUANTILE of the shoppers do not exceed."""
    below = np.cumsum(histogram)
    return float(LENGTH_BOUNDS[np.argmax(below >= LENGTH_QUANTILE * below[-1])])


def noised_totals(
    given: sparse.csr_matrix, limit: float, multiplier: float, normals: NormalSource = system_normals
) -> tuple[Floats, float]:
    """Return the totals of what shoppers give, and the number of shoppers, both with noise.

    A row of `given` is scaled so that its norm is at most `limit`. Each shopper also adds
    `SHOPPER_WEIGHT` × limit to one number more, from which the number of shoppers is read.

    Args:
        given: (shoppers, columns) whole numbers ≥ 0.
        limit: Euclidean norm up to which a row counts in full.
        multiplier: Noise multiplier.
        normals: Source of the noise.

    Returns:
        (columns,) totals with noise of `multiplier` × `totals_sensitivity(limit)`, and the noised number.
    """
    weight = int(SHOPPER_WEIGHT * limit * GRID)
    totals = np.append(given.T @ clipped_shares(given, limit), given.shape[0] * weight)
    noise = whole_noise(multiplier * totals_sensitivity(limit) * GRID, len(totals), normals)
    *noised, shoppers = totals + noise
    return np.array(noised, np.float64) / GRID, float(shoppers / weight)


def totals_sensitivity(limit: float) -> float:
    """Return the greatest norm of what a shopper adds to `noised_totals`, in units of 1."""
    return limit * sqrt(1 + SHOPPER_WEIGHT**2)


def clipped_shares(given: sparse.csr_matrix, limit: float) -> Counts:
    """Return the (shoppers,) factors on the rows of `noised_totals`, in steps of the grid."""
    return clipped_steps(np.sqrt(np.asarray(given.multiply(given).sum(axis=1), np.float64).ravel()), limit)


def noised_gram(
    watched: sparse.csr_matrix, limit: float, multiplier: float, normals: NormalSource = system_normals
) -> NoisedGram:
    """Return the clipped Gram matrix of histories with symmetric noise (Dwork et al. 2014, "Analyze Gauss").

    A row of n videos adds the same weight to the n (n + 1) / 2 entries of its videos in the upper triangle,
    at most 1, and so that their norm is at most that of a row of `limit` videos.

    Args:
        watched: (shoppers, videos) from `watched_rows`.
        limit: Videos per shopper that count in full.
        multiplier: Noise multiplier.
        normals: Source of the noise.
    """
    total, scale = clipped_gram(watched, limit), multiplier * gram_sensitivity(limit)
    released = (total + whole_noise(scale * GRID, len(total), normals)) / GRID
    return NoisedGram.from_triangle(released, watched.shape[1], scale)


def gram_sensitivity(limit: float) -> float:
    """Return the greatest norm of what a shopper adds to `clipped_gram`, in units of 1."""
    return sqrt(limit * (limit + 1) / 2)


def clipped_gram(watched: sparse.csr_matrix, limit: float) -> Counts:
    """Return the upper triangle of the clipped Gram matrix of `noised_gram` without noise.

    It has videos (videos + 1) / 2 numbers, row by row, in steps of the grid.
    """
    lengths = _lengths(watched)
    steps = clipped_steps(np.sqrt(lengths * (lengths + 1) / 2), gram_sensitivity(limit))
    # Whole numbers below 2⁵³ are exact in float64, whatever the order of the sum.
    weighted = sparse.diags(steps.astype(np.float64)) @ watched.astype(np.float64)
    total = np.rint((watched.T.astype(np.float64) @ weighted).toarray()).astype(np.int64)
    return total[np.triu_indices(watched.shape[1])]


def noised_keys(
    watched: sparse.csr_matrix,
    limit: int,
    multiplier: float,
    delta: float,
    normals: NormalSource = system_normals,
) -> tuple[Counts, Counts]:
    """Return videos that enough shoppers watched, and their noised counts, where the catalog is not public.

    A shopper counts for at most `limit` videos, drawn at random. A video is released if its noised count
    reaches a threshold that the videos of a single shopper pass with probability `delta` at most (Korolova et
    al. 2009; Gopi et al. 2020, "Differentially private set union").

    Args:
        watched: (shoppers, videos) from `watched_rows`.
        limit: Most videos of one shopper.
        multiplier: Noise multiplier.
        delta: Probability that a video of one shopper alone is released; a δ beside that of the noise.
        normals: Source of the noise.

    Returns:
        (N,) columns in ascending order, and their (N,) noised counts.
    """
    total = _sampled(watched, limit, normals).sum(axis=0, dtype=np.int64)
    total = np.asarray(total).ravel()
    noise = whole_noise(multiplier * sqrt(limit), watched.shape[1], normals)
    noised = total + noise
    released = np.flatnonzero((total > 0) & (noised >= key_threshold(limit, multiplier, delta)))
    return released, noised[released]


def key_threshold(limit: int, multiplier: float, delta: float) -> int:
    """Return the noised count that a key must reach, for `noised_keys`."""
    # Any of `limit` counts of 1 reaches it by its noise with probability δ.
    tail = -np.expm1(np.log1p(-delta) / limit)
    return ceil(1 + multiplier * sqrt(limit) * -float(ndtri(tail)) + 0.5)


def _sampled(watched: sparse.csr_matrix, limit: int, normals: NormalSource) -> sparse.csr_matrix:
    """Return the rows with at most `limit` entries each, drawn at random."""
    keys, lengths = normals(watched.nnz), np.diff(watched.indptr)
    rows = np.repeat(np.arange(watched.shape[0]), lengths)
    order = np.lexsort((keys, rows))
    rank = np.empty(watched.nnz, np.int64)
    rank[order] = np.arange(watched.nnz) - np.repeat(watched.indptr[:-1], lengths)
    left = rank < limit
    return sparse.csr_matrix((watched.data[left], (rows[left], watched.indices[left])), shape=watched.shape)


def _lengths(watched: sparse.csr_matrix) -> Floats:
    return np.diff(watched.indptr).astype(np.float64)
