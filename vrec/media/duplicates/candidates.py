"""Candidate pairs of near-duplicates: nearest neighbors of videos' mean pictures, through an index."""

from collections.abc import Iterator, Sequence

import faiss
import numpy as np
import numpy.typing as npt

from vrec.media.duplicates.windows import SIDES, SIZE, WHOLE, Floats, Rect, flip, window_transform

Rows = npt.NDArray[np.int64]

CROP = 0.84
"""Share of a side that the stored crops keep: about as many as a copy cuts off lie between them."""
MIN_LIKENESS = 0.6
"""Least cosine of candidates."""
MAX_CANDIDATES = 8
"""Number of candidates of a video per view."""
HITS = 64
"""Number of stored crops that a search returns; those of one video are one candidate."""
SHARD_VIDEOS = 200_000
"""Videos whose crops are in memory at once: about 150 MB of them."""
FLAT_VECTORS = 20_000
"""Number of stored crops up to which the search is exhaustive."""
TRAINING_PER_LIST = 40
"""Stored crops from which each list of the index is made; faiss warns of fewer than 39."""
PROBES = 16
"""Lists that a search reads."""
BLOCK = 8192


def _crops() -> list[Rect]:
    spans = ((0, CROP), (1 - CROP, 1))
    margin = (1 - CROP) / 2
    corners: list[Rect] = [(a, b, c, d) for a, b in spans for c, d in spans]
    edges: list[Rect] = [rect for a, b in spans for rect in ((a, b, 0, 1), (0, 1, a, b))]
    return [WHOLE, *corners, *edges, (margin, 1 - margin, margin, 1 - margin)]


VIEWS: tuple[tuple[Rect, Sequence[Rect]], ...] = ((WHOLE, _crops()), *((side, (side,)) for side in SIDES))
"""A rectangle that is looked up, and those stored: the whole among crops, each half among the same halves."""


def candidate_pairs(
    means: npt.NDArray[np.float16], queries: Rows
) -> Iterator[tuple[Rows, Rows, Floats, bool]]:
    """Yield arrays of querying rows, candidate rows and their likeness; both orders of a pair may come.

    With each comes whether the querying ones are mirrored. Time is about proportional to N · √N, memory to
    the shard.

    Args:
        means: (N, GRID²) mean pictures.
        queries: Rows whose candidates are wanted.
    """
    for view, crops in VIEWS:
        for start in range(0, len(means), SHARD_VIDEOS):
            shard = np.arange(start, min(start + SHARD_VIDEOS, len(means)))
            index = _index(means, shard, crops)
            for begin in range(0, len(queries), BLOCK):
                block = queries[begin : begin + BLOCK]
                for is_mirrored in (False, True):
                    pictures = flip(means[block]) if is_mirrored else means[block]
                    found = index.search(_vectors(pictures, view), min(HITS, index.ntotal))
                    videos = np.where(found[1] < 0, -1, start + found[1] // len(crops))
                    yield (*_best_videos(block, found[0], videos), is_mirrored)


def _vectors(means: npt.NDArray[np.float16], rect: Rect) -> Floats:
    """Return the (N, SIZE) unit vectors of a window of mean pictures; 0 for an even picture."""
    vectors = means.astype(np.float32) @ window_transform(*rect).T
    return np.ascontiguousarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3))


def _index(means: npt.NDArray[np.float16], shard: Rows, crops: Sequence[Rect]) -> faiss.Index:
    """Return an index in which crop c of the shard's i-th video has the number i · crops + c."""
    index: faiss.Index = faiss.IndexFlatIP(SIZE)
    total = len(shard) * len(crops)
    if total > FLAT_VECTORS:
        lists = max(1, min(int(4 * np.sqrt(total)), total // (2 * TRAINING_PER_LIST)))
        index = faiss.index_factory(SIZE, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        faiss.extract_index_ivf(index).nprobe = PROBES
        count = min(len(shard), -(-TRAINING_PER_LIST * lists // len(crops)))
        sample = np.sort(np.random.default_rng(0).choice(shard, count, replace=False))
        index.train(_crop_vectors(means[sample], crops))
    for begin in range(0, len(shard), BLOCK):
        index.add(_crop_vectors(means[shard[begin : begin + BLOCK]], crops))
    return index


def _crop_vectors(means: npt.NDArray[np.float16], crops: Sequence[Rect]) -> Floats:
    """Return (N · crops, SIZE) unit vectors, a video's crops one after the other."""
    return np.stack([_vectors(means, crop) for crop in crops], axis=1).reshape(-1, SIZE)


def _best_videos(queries: Rows, likeness: Floats, videos: Rows) -> tuple[Rows, Rows, Floats]:
    """Return each query's best distinct videos other than itself; hits are in falling order."""
    row, hit = np.nonzero((likeness >= MIN_LIKENESS) & (videos >= 0) & (videos != queries[:, None]))
    pairs = np.stack([row, videos[row, hit]], axis=1)
    _, first = np.unique(pairs, axis=0, return_index=True)
    first.sort()  # hits of a row stay in falling order of likeness
    row, hit = row[first], hit[first]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    row, hit = row[place < MAX_CANDIDATES], hit[place < MAX_CANDIDATES]
    return queries[row], videos[row, hit], likeness[row, hit]


class WindowIndex:
    """Index of mean pictures that answers for one picture at a time, for catalogs that stay."""

    def __init__(self, means: npt.NDArray[np.float16]) -> None:
        """Build the index of (N, GRID²) mean pictures; about 750 bytes of memory per picture and crop."""
        rows = np.arange(len(means))
        self._views = (
            [(view, crops, _index(means, rows, crops)) for view, crops in VIEWS] if len(rows) else []
        )

    def nearest(self, mean: npt.NDArray[np.float16]) -> list[int]:
        """Return the rows whose windows are most like those of a (GRID²,) mean picture, best first."""
        picture = mean[None]
        best: dict[int, float] = {}
        for view, crops, index in self._views:
            # The picture itself may show more than a stored one: all of its crops are looked up.
            queries = np.concatenate(
                [_vectors(picture, rect) for rect in (crops if view is WHOLE else (view,))]
            )
            likeness, found = index.search(queries, min(HITS, index.ntotal))
            for value, place in zip(likeness.ravel().tolist(), found.ravel().tolist(), strict=True):
                if place >= 0 and value >= MIN_LIKENESS:
                    row = place // len(crops)
                    best[row] = max(best.get(row, value), value)
        return sorted(best, key=lambda row: (-best[row], row))[: MAX_CANDIDATES * len(VIEWS)]
