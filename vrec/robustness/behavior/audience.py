"""Videos whose audience is odd in one direction, and the shoppers who make it so.

Single fake shoppers may look like anybody. Together they share the video that they promote, and whatever is
odd of each of them adds up there (target item analysis, Zhou et al. 2014). Here nothing is learned from
attacks: the mean rank of a video's shoppers in every feature is compared with that of videos with about as
many shoppers, in the metric of how these means vary and go together among all videos (Mahalanobis), and a
shopper counts as far as it is odd in the direction of its videos' shoppers.
"""

from dataclasses import dataclass

import numpy as np

from vrec.robustness.behavior.log import BehaviorLog
from vrec.robustness.defences.video_statistics import standardize_by_count
from vrec.robustness.watched import Floats, Ints

WINDOW = 60
"""Videos, next by number of shoppers, that each is compared with."""
LEAST_SHOPPERS = 3
"""Fewest shoppers of a video that has an audience."""
SHRINKAGE = 0.2
"""Share of the identity in the correlations of leanings."""
EXPECTED_SHARE = 0.9
"""Quantile of the distances of all videos up to which a distance is no news."""


@dataclass(frozen=True)
class AudienceScores:
    """Part of shoppers in odd audiences."""

    scores: Floats
    """(S,) the largest over a shopper's videos."""
    videos: Ints
    """(S,) the video of that score; −1 for a shopper without one."""
    distances: Floats
    """(V,) how odd each video's audience is; 0 for the usual."""


def audience_scores(log: BehaviorLog, ranks: Floats) -> AudienceScores:
    """Return the part that each shopper has in odd audiences.

    Args:
        log: The log.
        ranks: (S, K) ranks of the shoppers' features.
    """
    matrix = log.watched
    shoppers, videos = matrix.shape
    if not matrix.nnz:
        return AudienceScores(np.zeros(shoppers), np.full(shoppers, -1), np.zeros(videos))
    signs = np.sqrt(12) * (ranks - 0.5)
    counts = np.asarray(matrix.sum(axis=0)).ravel().astype(np.int64)
    leanings = np.asarray(matrix.T @ signs) / np.sqrt(np.maximum(counts, 1))[:, None]
    standard = standardize_by_count(leanings, counts, WINDOW)
    standard[counts < LEAST_SHOPPERS] = 0
    able = counts >= LEAST_SHOPPERS
    white = standard @ _whitening(standard[able])
    distances = np.sqrt((white**2).sum(axis=1))
    usual = np.quantile(distances[able], EXPECTED_SHARE) if able.any() else 0.0
    distances = np.maximum(distances - usual, 0) * able
    own = signs @ _whitening(standard[able])
    rows, columns = np.repeat(np.arange(shoppers), np.diff(matrix.indptr)), matrix.indices
    along = (own[rows] * white[columns]).sum(axis=1)
    size = np.sqrt((white[columns] ** 2).sum(axis=1) * (own[rows] ** 2).sum(axis=1))
    parts = distances[columns] * np.maximum(along, 0) / np.maximum(size, 1e-9)
    scores, best = np.zeros(shoppers), np.full(shoppers, -1)
    order = np.argsort(parts, kind="stable")  # the largest is assigned last
    scores[rows[order]] = parts[order]
    best[rows[order]] = columns[order]
    return AudienceScores(scores, np.where(scores > 0, best, -1), distances)


def _whitening(standard: Floats) -> Floats:
    """Return the (K, K) matrix that makes leanings of variance 1 and uncorrelated, as far as they are usual.

    Videos farther out than most do not count: they would make their own direction a usual one.
    """
    size = standard.shape[1]
    if len(standard) <= size:
        return np.eye(size)
    norms = np.sqrt((standard**2).sum(axis=1))
    usual = standard[norms <= np.quantile(norms, EXPECTED_SHARE)]
    covariance = usual.T @ usual / len(usual)
    mean = np.trace(covariance) / size
    values, vectors = np.linalg.eigh(
        (1 - SHRINKAGE) * covariance + SHRINKAGE * max(mean, 1e-9) * np.eye(size)
    )
    return vectors @ np.diag(1 / np.sqrt(values)) @ vectors.T
