"""Agreement of the modalities of a video with those of the videos that it resembles."""

import numpy as np
import numpy.typing as npt

from vrec.core.types import Vectors

NEIGHBORS = 5
"""Number of the nearest videos of one modality whose other modality is compared."""
MAX_REFERENCES = 5_000
"""Number of videos, drawn at random, among which neighbors are looked for: time is proportional to it."""
_BLOCK = 1024


def modality_agreement(
    first: Vectors, second: Vectors, *, neighbors: int = NEIGHBORS, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return how like a video's second modality is to that of its neighbors by the first.

    A video that was doctored to look like a popular one still has its own title and sound, or the other way
    round. The mean cosine with the neighbors is compared with the cosines with all videos: .5 is no
    agreement, 1 the most.

    Args:
        first: (N, dim) unit rows of the modality that may be doctored, such as frames.
        second: (N, dim) unit rows of the one that is compared, such as titles.
        neighbors: Number of neighbors.
        seed: Seed of the sample in which neighbors are looked for.

    Returns:
        (N,) float32 in [0, 1]; .5 where there are no other videos.
    """
    count = len(first)
    if count < 2:
        return np.full(count, 0.5, np.float32)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(count, min(count, MAX_REFERENCES), replace=False))
    agreement = np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, count))
        own = block[:, None] == rows
        near = np.where(own, -np.inf, first[block] @ first[rows].T)
        likeness = np.where(own, np.nan, second[block] @ second[rows].T)
        most = min(neighbors, len(rows) - 1)
        best = np.argpartition(-near, most - 1, axis=1)[:, :most]
        mean = np.nanmean(np.take_along_axis(likeness, best, axis=1), axis=1)
        below = (likeness < mean[:, None]).sum(axis=1) + 0.5 * (likeness == mean[:, None]).sum(axis=1)
        agreement[block] = below / (~own).sum(axis=1)
    return agreement
