"""Bootstrap intervals over users, for many metrics at once."""

import numpy as np

from vrec.evaluation.offline.metrics import Floats

_CHUNK_CELLS = 2_000_000
"""Resamples × users weighted at once: 16 MB of float64."""


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Return bootstrap replicates of column means over users drawn with replacement.

    All columns share the draws, so that differences of columns are paired.

    Args:
        values: (U, M), a row per user; NaN leaves a user out of a column.
        resamples: Number of replicates B, each of U draws.
        seed: Random seed; the same seed gives the same draws.

    Returns:
        (B, M) means; NaN where none of the drawn users has a value.
    """
    users, columns = values.shape
    means = np.full((resamples, columns), np.nan)
    if not users:
        return means
    known = ~np.isnan(values)
    complete = bool(known.all())
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
        count = np.float64(users) if complete else weights @ counted
        with np.errstate(invalid="ignore"):
            means[start : start + draws] = total / count
    return means


def percentile_interval(replicates: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the ends (M,) and (M,) of the percentile interval of (B, M) replicates (Efron, 1979)."""
    # Columns that are all NaN stay NaN; nanquantile would warn of them.
    empty = np.isnan(replicates).all(axis=0)
    filled = np.where(empty, 0.0, replicates)
    tail = (1 - level) / 2
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def paired_differences(replicates: Floats, against: Floats) -> Floats:
    """Return `replicates` − `against`, exactly 0 where they are equal up to rounding."""
    # Equal columns can differ in the last bit by where they fall in the matrix product.
    return np.round(replicates - against, 12) + 0.0
