"""Normalization of vectors to unit rows, and the check that they have a direction."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vrec.core.errors import EncodeFailed
from vrec.core.types import Clip, Modality, Vectors


def unit_rows(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Return (N, dim) float32 rows of length 1, from (N, dim) of any float type.

    Raises:
        ValueError: A row is zero or not finite, and so has no direction.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
        raise ValueError(f"row {bad[0]} is zero or not finite and has no direction")
    return (wide / norms).astype(np.float32)


def unit_clip_rows(vectors: npt.NDArray[np.floating], clips: Sequence[Clip], modality: Modality) -> Vectors:
    """Return the unit rows of `vectors`, (N, dim), one per clip.

    Raises:
        EncodeFailed: A row is zero or not finite; names the first such video.
    """
    good = np.all(np.isfinite(vectors), axis=1) & np.any(vectors != 0, axis=1)
    if not good.all():
        clip = clips[int(np.flatnonzero(~good)[0])]
        raise EncodeFailed(f"{clip.video_id}: its {modality} gave a vector that is zero or not finite")
    return unit_rows(vectors)
