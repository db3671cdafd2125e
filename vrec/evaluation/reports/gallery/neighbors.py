"""Exact nearest neighbors, 1-NN accuracy, and a two-dimensional map of a catalog."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_BLOCK_BYTES = 64 * 2**20
_STEPS = 9_999_991
"""Steps between 0 and 1 to which scores are rounded before they are compared. Dot products of equal vectors
can differ in the last bit, by their position in a matrix product, and would break ties at random. A prime
number: simple fractions, which such scores often are, do not lie halfway between two steps."""
_TSNE_MAX_ROWS = 5_000
_TSNE_MIN_ROWS = 8


def center_and_normalize(vectors: npt.NDArray[np.float32], *, center: bool) -> npt.NDArray[np.float64]:
    """Normalize rows to unit length, with the mean vector subtracted first if `center`.

    The mean holds what all videos have in common; without it, cosines use their whole range.

    Returns:
        (N, D) float64; a zero row stays zero.

    Raises:
        ValueError: If `vectors` is not (N, D) or not finite.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"vectors have shape {rows.shape}, want (N, D)")
    if not np.isfinite(rows).all():
        raise ValueError("vectors have values that are not finite")
    if center and len(rows) > 1:
        rows = rows - rows.mean(axis=0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-9)


def nearest_neighbors(vectors: npt.NDArray[np.float32], k: int, center: bool) -> tuple[Ids, Floats]:
    """Return each row's k nearest other rows by cosine, best first, ties to the lower row.

    The search is exact, in blocks of rows, so that memory grows with N, not N².

    Args:
        vectors: (N, D).
        k: Number of neighbors; fewer columns are returned if there are fewer other rows.
        center: Subtract the mean vector, as in `center_and_normalize`.

    Returns:
        Row indices (N, k) int64 and cosines (N, k) float32.

    Raises:
        ValueError: If k < 1, or `vectors` is not (N, D) or not finite.
    """
    if k < 1:
        raise ValueError(f"k is {k}, want at least 1")
    unit = center_and_normalize(vectors, center=center)
    count = len(unit)
    k = min(k, max(count - 1, 0))
    ids = np.zeros((count, k), dtype=np.int64)
    scores = np.zeros((count, k), dtype=np.float32)
    if k == 0:
        return ids, scores
    for start, block in _similarities(unit):
        for offset, row in enumerate(block):
            row[start + offset] = -np.inf
            best = _top(row, k)
            ids[start + offset] = best
            scores[start + offset] = row[best]
    return ids, scores


def one_nn_accuracy(
    vectors: npt.NDArray[np.float32],
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    center: bool,
) -> float:
    """Return the leave-one-out 1-NN accuracy: the share of rows whose nearest other row has their label.

    Args:
        vectors: (N, D).
        labels: N labels.
        groups: N groups; a neighbor must be from another group, so that videos of one camera, or copies of
            one clip, do not confirm each other. Rows without such a neighbor are left out.
        center: Subtract the mean vector, as in `center_and_normalize`.

    Returns:
        A share in [0, 1], ties to the lower row; NaN if no row has a neighbor.

    Raises:
        ValueError: If lengths differ, or `vectors` is not (N, D) or not finite.
    """
    unit = center_and_normalize(vectors, center=center)
    own = np.arange(len(unit)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    label = np.asarray(labels)
    if len(label) != len(unit) or len(own) != len(unit):
        raise ValueError(f"{len(unit)} vectors, {len(label)} labels, {len(own)} groups: lengths differ")
    hits: list[bool] = []
    for start, block in _similarities(unit):
        for offset, row in enumerate(block):
            row[own == own[start + offset]] = -np.inf
            best = int(np.argmax(row))
            if row[best] > -np.inf:
                hits.append(bool(label[best] == label[start + offset]))
    return float(np.mean(hits)) if hits else float("nan")


def map_2d(vectors: npt.NDArray[np.float32]) -> Floats:
    """Project rows to two dimensions so that similar rows lie close together; deterministic.

    Centered unit rows go through PCA, then t-SNE (van der Maaten and Hinton, 2008) for 8 to 5,000 rows; PCA
    alone otherwise.

    Returns:
        (N, 2) float32 within [-1, 1].

    Raises:
        ValueError: If `vectors` is not (N, D) or not finite.
    """
    unit = center_and_normalize(vectors, center=True)
    count = len(unit)
    if count < 2 or not np.ptp(unit, axis=0).any():
        return np.zeros((count, 2), dtype=np.float32)
    # One thread: on a busy machine these small products spend ten times as long waiting for each other.
    with threadpool_limits(1):
        flat = _flatten(unit)
    middle = (flat.max(axis=0) + flat.min(axis=0)) / 2
    flat = flat - middle
    return (flat / max(float(np.abs(flat).max()), 1e-12)).astype(np.float32)


def _flatten(unit: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    count = len(unit)
    components = min(50, count, unit.shape[1])
    flat = PCA(n_components=components, random_state=0).fit_transform(unit)
    if _TSNE_MIN_ROWS <= count <= _TSNE_MAX_ROWS and components > 2:
        perplexity = min(30.0, (count - 1) / 3)
        flat = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(flat)
    return np.pad(flat[:, :2], ((0, 0), (0, max(0, 2 - components))))


def spread_points(points: npt.NDArray[np.floating], gap: float) -> Floats:
    """Move points (N, 2) apart until about `gap` lies between any two.

    Isolated points stay in place. Quadratic in N: for some hundreds of points.
    """
    moved = np.array(points, dtype=np.float64)
    # A tiny fixed spiral separates points that coincide, which have no direction to move in.
    angle = np.arange(len(moved)) * 2.399963
    moved += 1e-3 * gap * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for _ in range(80):
        between = moved[:, None, :] - moved[None, :, :]  # (N, N, 2)
        distance = np.linalg.norm(between, axis=2)
        np.fill_diagonal(distance, np.inf)
        short = np.clip(gap - distance, 0, None)
        if not short.any():
            break
        moved += (between * (0.5 * short / np.maximum(distance, 1e-9))[..., None]).sum(axis=1) * 0.7
    return moved.astype(np.float32)


def _similarities(unit: npt.NDArray[np.float64]) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    height = max(1, _BLOCK_BYTES // (8 * max(1, len(unit))))
    for start in range(0, len(unit), height):
        yield start, np.round(unit[start : start + height] @ unit.T * _STEPS) / _STEPS


def _top(row: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    # A partition finds the k-th best score in linear time; the candidates come in index order, and
    # a stable sort keeps that order among equals.
    floor = np.partition(row, len(row) - k)[len(row) - k]
    candidates = np.flatnonzero(row >= floor)
    return candidates[np.argsort(-row[candidates], kind="stable")][:k]
