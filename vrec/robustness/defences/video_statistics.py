"""Statistics of the shoppers of a video, standardized by videos with about as many shoppers."""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.robustness.watched import Floats, WatchedVideos

LEAST_COHESION = 1e-3
LEAST_SHARE = 1e-2
"""Terms added to what may be 0 before a logarithm."""
LEAST_DEVIATION = 0.05
"""Term added to deviations of ranks before their logarithm."""
LARGEST_STATISTIC = 8.0
"""Limit of each standardized statistic: none decides alone by being infinite."""


def video_statistics(log: WatchedVideos, ranks: Floats, window: int) -> Floats:
    """Return the (V, 12) standardized statistics of videos.

    The first four are how the ranks of a video's shoppers lean, the next four how much they spread. The
    others are of the shoppers' other videos: how much pairs of shoppers have in common, how far all of them
    watch the same ones, how far those are watched by these shoppers alone, and the share of the shoppers that
    the most common one has.

    Args:
        log: The log.
        ranks: (S, 4) ranks of the shoppers, of `shopper_ranks`.
        window: Number of videos, next by count, that a video is compared with.
    """
    statistics = np.column_stack([_leanings(log, ranks), _spreads(log, ranks), _cohesion(log), _company(log)])
    return standardize_by_count(statistics, log.counts, window)


def standardize_by_count(values: Floats, counts: npt.NDArray[np.int64], window: int) -> Floats:
    """Return (V, N) values less the median of the videos with similar counts, over their deviation.

    Args:
        values: (V, N) statistics of videos.
        counts: (V,) number of shoppers of each video.
        window: Number of videos, next by count, that a video is compared with.
    """
    videos = len(counts)
    window = min(window, videos)
    order = np.argsort(counts, kind="stable")
    first = np.clip(np.arange(videos) - window // 2, 0, videos - window)
    found = np.empty_like(values)
    for column in range(values.shape[1]):
        windows = np.lib.stride_tricks.sliding_window_view(values[order, column], window)
        middle = np.median(windows, axis=1)
        deviation = 1.4826 * np.median(np.abs(windows - middle[:, None]), axis=1)
        # At least 1, what chance alone would give: without it videos of few shoppers would stand out.
        found[order, column] = (values[order, column] - middle[first]) / np.maximum(deviation[first], 1)
    return np.clip(found, -LARGEST_STATISTIC, LARGEST_STATISTIC)


def _leanings(log: WatchedVideos, ranks: Floats) -> Floats:
    """Return (V, 4) mean ranks of a video's shoppers less 1/2, in standard errors of ranks by chance."""
    counts = np.maximum(log.counts, 1)[:, None]
    return (log.matrix.T @ ranks / counts - 0.5) * np.sqrt(12 * counts)


def _spreads(log: WatchedVideos, ranks: Floats) -> Floats:
    """Return (V, 4) logarithms of the deviations of the ranks of a video's shoppers, times √shoppers."""
    counts = np.maximum(log.counts, 1)[:, None]
    mean = log.matrix.T @ ranks / counts
    variance = np.maximum(log.matrix.T @ ranks**2 / counts - mean**2, 0) * (counts + 1) / counts
    return np.log(np.sqrt(variance) + LEAST_DEVIATION) * np.sqrt(counts)


def _cohesion(log: WatchedVideos) -> Floats:
    """Return (V,) logarithms of the overlap of pairs of a video's shoppers over that by chance, times
    √shoppers.

    The overlap is over their other videos, each weighted by 1 / its shoppers.
    """
    matrix, counts, lengths = log.matrix, log.counts.astype(np.float64), log.lengths.astype(np.float64)
    weights = 1 / np.maximum(counts, 1)
    scaled = sparse.csr_matrix(matrix @ sparse.diags(np.sqrt(weights)))
    together = sparse.csr_matrix(matrix.T @ scaled)
    together.setdiag(0)
    own = matrix.T @ np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel() - counts * weights
    observed = np.asarray(together.multiply(together).sum(axis=1)).ravel() - own
    pairs = (matrix.T @ lengths) ** 2 - matrix.T @ lengths**2
    by_chance = pairs * np.sum(weights * (counts / max(lengths.sum(), 1)) ** 2)
    ratio = (np.maximum(observed, 0) + LEAST_COHESION) / (by_chance + LEAST_COHESION)
    return np.log(ratio) * np.sqrt(counts)


def _company(log: WatchedVideos) -> Floats:
    """Return (V, 3) logarithms of how concentrated, mutual and shared a video's companions are, times
    √shoppers.

    With g_j the shoppers of both the video and video j, n those of the video and n_j those of j: Σ (g_j /
    n)², Σ g_j² / (n n_j), and the maximum of g_j / n.
    """
    counts = np.maximum(log.counts, 1).astype(np.float64)
    together = sparse.csr_matrix(log.matrix.T @ log.matrix)
    together.setdiag(0)
    squares = together.multiply(together)
    concentrated = np.asarray(squares.sum(axis=1)).ravel() / counts**2
    mutual = np.asarray(squares @ (1 / counts)).ravel() / counts
    shared = together.max(axis=1).toarray().ravel() / counts
    logs = (
        np.log(concentrated + LEAST_COHESION),
        np.log(mutual + LEAST_COHESION),
        np.log(shared + LEAST_SHARE),
    )
    return np.stack(logs, axis=1) * np.sqrt(counts)[:, None]
