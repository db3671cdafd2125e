"""Exact nearest neighbours, their agreement with labels, and a map of a catalogue in two dimensions."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_BLOCK_BYTES = 64 * 2**20
_DECIMALS = 7
"""Scores are rounded to this many decimals before they are compared: two equal vectors can differ in
the last bit of their dot products, by where in a matrix product they fall, and would break ties at random."""
_TSNE_MOST = 5_000
_TSNE_LEAST = 8


def center_and_normalize(vectors: npt.NDArray[np.float32], *, center: bool) -> npt.NDArray[np.float64]:
    """Unit rows (N, D) float64, with the mean vector subtracted first when `center`; a zero row stays zero.

    What a catalogue's videos have in common says nothing about which are alike; without it,
    cosine spreads over its whole range. Raises ValueError unless `vectors` is (N, D) and finite.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"vectors have shape {rows.shape}, want (N, D)")
    if not np.isfinite(rows).all():
        raise ValueError("vectors hold numbers that are not finite")
    if center and len(rows) > 1:
        rows = rows - rows.mean(axis=0)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-9)


def nearest_neighbors(vectors: npt.NDArray[np.float32], k: int, center: bool) -> tuple[Ids, Floats]:
    """Each row's nearest other rows by cosine: (ids (N, k) int64, scores (N, k) float32), best first.

    Ties go to the lower row. Where fewer than k others exist, there are that many columns. Exact;
    works in blocks of rows, so that memory grows with N and never with N². `center` as in `prepare`.
    Raises ValueError for k < 1 or vectors that are not (N, D) and finite.
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
    """Share of rows in [0, 1] whose nearest other row carries the same label (leave-one-out).

    With `groups`, a row's neighbour must come from another group than its own: videos of one
    camera, or copies of one clip, then cannot vouch for each other. Rows that have no such
    neighbour are left out of the share; nan when that is every row. Ties go to the lower row.
    Raises ValueError when the lengths differ, or as `prepare` does.
    """
    unit = center_and_normalize(vectors, center=center)
    own = np.arange(len(unit)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    label = np.asarray(labels)
    if len(label) != len(unit) or len(own) != len(unit):
        raise ValueError(f"{len(unit)} vectors, {len(label)} labels, {len(own)} groups: want as many of each")
    hits: list[bool] = []
    for start, block in _similarities(unit):
        for offset, row in enumerate(block):
            row[own == own[start + offset]] = -np.inf
            best = int(np.argmax(row))
            if row[best] > -np.inf:
                hits.append(bool(label[best] == label[start + offset]))
    return float(np.mean(hits)) if hits else float("nan")


def map_2d(vectors: npt.NDArray[np.float32]) -> Floats:
    """A point for each row, (N, 2) float32 within [-1, 1]: alike rows lie close. The same every time.

    Centred unit rows through PCA, then t-SNE (van der Maaten and Hinton, 2008) between 8 and
    5,000 rows; PCA alone outside of that. Raises ValueError as `prepare` does.
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
    parts = min(50, count, unit.shape[1])
    flat = PCA(n_components=parts, random_state=0).fit_transform(unit)
    if _TSNE_LEAST <= count <= _TSNE_MOST and parts > 2:
        perplexity = min(30.0, (count - 1) / 3)
        flat = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(flat)
    return np.pad(flat[:, :2], ((0, 0), (0, max(0, 2 - parts))))


def spread_points(points: npt.NDArray[np.floating], gap: float) -> Floats:
    """The points (N, 2) float32, moved apart until about `gap` lies between any two.

    Whoever is far from the others stays in place. Quadratic in N: for some hundreds of points.
    """
    placed = np.array(points, dtype=np.float64)
    # A tiny fixed spiral parts points that coincide, which have no direction to part in.
    turn = np.arange(len(placed)) * 2.399963
    placed += 1e-3 * gap * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    for _ in range(80):
        between = placed[:, None, :] - placed[None, :, :]  # (N, N, 2)
        distance = np.linalg.norm(between, axis=2)
        np.fill_diagonal(distance, np.inf)
        short = np.clip(gap - distance, 0, None)
        if not short.any():
            break
        placed += (between * (0.5 * short / np.maximum(distance, 1e-9))[..., None]).sum(axis=1) * 0.7
    return placed.astype(np.float32)


def _similarities(unit: npt.NDArray[np.float64]) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    height = max(1, _BLOCK_BYTES // (8 * max(1, len(unit))))
    for start in range(0, len(unit), height):
        yield start, np.round(unit[start : start + height] @ unit.T, _DECIMALS)


def _top(row: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    # A partition finds the k-th best score in linear time; the candidates come in index order, and
    # a stable sort keeps that order among equals.
    floor = np.partition(row, len(row) - k)[len(row) - k]
    candidates = np.flatnonzero(row >= floor)
    return candidates[np.argsort(-row[candidates], kind="stable")][:k]
