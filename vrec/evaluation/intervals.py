"""Bootstrap intervals over users, for many columns of figures at once."""

import numpy as np

from vrec.evaluation.offline.metrics import Floats

_CHUNK_CELLS = 2_000_000
"""Resamples × users weighed at once: 16 MB of float64."""


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Means (resamples, M) of (U, M) values over users drawn with replacement, U at a time.

    All columns share the draws, so that a difference of two columns is a paired one. NaN marks a user
    whom a column leaves out; a resample without anyone left is NaN. The same seed gives the same draws.
    """
    users, columns = values.shape
    means = np.full((resamples, columns), np.nan)
    if not users:
        return means
    known = ~np.isnan(values)
    whole = bool(known.all())
    filled, counted = np.where(known, values, 0.0), known.astype(np.float64)
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK_CELLS // users)
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        weights = np.stack(
            [np.bincount(rng.integers(0, users, users), minlength=users) for _ in range(draws)]
        )
        weights = weights.astype(np.float64)
        total = weights @ filled
        count = np.float64(users) if whole else weights @ counted
        with np.errstate(invalid="ignore"):
            means[start : start + draws] = total / count
    return means


def percentile_interval(replicates: Floats, level: float) -> tuple[Floats, Floats]:
    """The ends (M,) and (M,) of the central `level` of each column's (B, M) replicates (Efron, 1979)."""
    # Columns that are all NaN stay NaN; nanquantile would warn of them.
    empty = np.isnan(replicates).all(axis=0)
    filled = np.where(empty, 0.0, replicates)
    tail = (1 - level) / 2
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def paired_differences(replicates: Floats, against: Floats) -> Floats:
    """Replicates of paired differences, exactly 0 where two columns are the same but for rounding."""
    # Equal columns can differ in the last bit by where they fall in the matrix product.
    return np.round(replicates - against, 12) + 0.0
