"""Tests of drift between histograms that allow for dispersion between days, and a correction for many."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

PRIOR_DISPERSION = 1.5
"""Variance of counts over that of independent events, expected before any day is seen."""
PRIOR_DAYS = 10.0
"""Days that the prior counts for."""
SMOOTHING = 0.5


@dataclass(frozen=True, slots=True)
class DriftTests:
    """Comparison of (U,) histograms with a reference."""

    psi: Floats
    """Population stability index, less its expectation without drift; not below 0."""
    ks: Floats
    """Kolmogorov-Smirnov distance; 0 for bins without order."""
    p: Floats
    """p-value of no drift."""
    expected: Floats
    """(U, B) shares by the reference."""
    dispersion: float


def compare_histograms(
    units: Counts, reference: Counts, *, within: bool = False, ordered: bool = False, dispersion: float = 1.0
) -> DriftTests:
    """Compare histograms with those of the reference.

    Pearson's statistic is divided by the dispersion between the units of the reference, which is shrunk to a
    prior as in Smyth (2004), and compared with an F distribution. The population stability index is corrected
    by its expectation under sampling (Yurdakul and Naranjo 2020).

    Args:
        units: (U, B) counts.
        reference: (R, B) counts of the units to compare with.
        within: Whether the units are those of the reference; each is then compared with the others.
        ordered: Whether the bins are ordered, so that the Kolmogorov-Smirnov distance counts.
        dispersion: Least dispersion.
    """
    total = reference.sum(axis=0)
    base = total[None] - units if within else np.broadcast_to(total, units.shape)
    statistic, dof, expected = _pearson(units, base)
    ratios, weights = _reference_ratios(reference)
    if within and len(ratios):
        # Units at fault are among the reference: a median holds against up to half of them.
        spread = float(np.median(ratios)) / 0.6
        seen = min(len(ratios), 30)
    else:
        spread = float(np.average(ratios, weights=weights)) if len(ratios) else 0.0
        seen = max(0, len(ratios) - 1)
    known = PRIOR_DAYS + seen
    found = max(dispersion, (PRIOR_DAYS * PRIOR_DISPERSION + seen * spread) / known)
    n, m = units.sum(axis=1), base.sum(axis=1)
    p = special.fdtrc(np.minimum(dof, 4), known, statistic / (dof * found))
    p = np.where((n > 0) & (m > 0), p, 1.0)
    return DriftTests(
        _psi(units, base), _ks(units, base) if ordered else np.zeros(len(units)), p, expected, found
    )


def _pearson(units: Counts, base: Counts) -> tuple[Floats, Floats, Floats]:
    n = units.sum(axis=1, keepdims=True).astype(float)
    m = np.maximum(base.sum(axis=1, keepdims=True), 1).astype(float)
    share = (base + SMOOTHING / base.shape[1]) / (m + SMOOTHING)
    mean = n * share
    statistic = ((units - mean) ** 2 / np.maximum(mean * (1 + n / m), 1.0)).sum(axis=1)
    dof = np.maximum(((mean >= 1) | (units > 0)).sum(axis=1) - 1, 1).astype(float)
    return statistic, dof, share


def _reference_ratios(reference: Counts) -> tuple[Floats, Floats]:
    """Return each reference unit's statistic over its degrees of freedom, and the units' weights."""
    kept = reference[reference.sum(axis=1) > 0]
    if len(kept) < 2:
        return np.empty(0), np.empty(0)
    statistic, dof, _ = _pearson(kept, kept.sum(axis=0)[None] - kept)
    return statistic / dof, np.sqrt(kept.sum(axis=1).astype(float))


def _psi(units: Counts, base: Counts) -> Floats:
    bins = units.shape[1]
    n, m = units.sum(axis=1, keepdims=True), base.sum(axis=1, keepdims=True)
    q = (units + SMOOTHING) / (n + SMOOTHING * bins)
    p = (base + SMOOTHING) / (m + SMOOTHING * bins)
    used = ((units + base) > 0).sum(axis=1)
    noise = (used - 1) * (1 / np.maximum(n[:, 0], 1) + 1 / np.maximum(m[:, 0], 1))
    return np.maximum(((q - p) * np.log(q / p)).sum(axis=1) - noise, 0.0)


def _ks(units: Counts, base: Counts) -> Floats:
    q = np.cumsum(units, axis=1) / np.maximum(units.sum(axis=1, keepdims=True), 1)
    p = np.cumsum(base, axis=1) / np.maximum(base.sum(axis=1, keepdims=True), 1)
    return np.abs(q - p).max(axis=1)


def ks_p(distance: Floats, n: Any, m: Any, dispersion: float) -> Floats:
    """Return asymptotic p-values of Kolmogorov-Smirnov distances of (U,) samples of n and m events."""
    size = n * m / np.maximum(n + m, 1) / dispersion
    return np.asarray(special.kolmogorov(distance * np.sqrt(size)), np.float64)


def odds_ratio(units: Counts, expected: Floats) -> Floats:
    """Return the (U,) ratios of odds of the second of two bins to those expected."""
    share = (units[:, 1] + SMOOTHING) / (units.sum(axis=1) + 2 * SMOOTHING)
    return share / (1 - share) * (1 - expected[:, 1]) / expected[:, 1]


def holm(p: Floats, alpha: float) -> npt.NDArray[np.bool_]:
    """Return (N,) bool, which p-values are significant at a family-wise error of alpha (Holm 1979)."""
    order = np.argsort(p)
    fails = p[order] > alpha / (len(p) - np.arange(len(p)))
    stop = int(fails.argmax()) if fails.any() else len(p)
    found = np.zeros(len(p), bool)
    found[order[:stop]] = True
    return found


def low_count_p(observed: Floats, mean: Floats, fano: float) -> Floats:
    """Return the p-values of counts as low as these.

    Events come in groups, such as the impressions of a visit. Groups of equal size, as large as the ratio of
    variance to mean says, are the case with the most empty hours.
    """
    return np.asarray(special.pdtr(observed // fano, mean / fano), np.float64)
