"""Unit rows: the one place where vectors are normalised and checked."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vrec.core.errors import EncodeFailed
from vrec.core.types import Clip, Modality, Vectors


def unit_rows(vectors: npt.NDArray[np.floating]) -> Vectors:
    """(N, dim) float32 rows of length 1, from (N, dim) of any float type.

    Raises ValueError for a row of zeros or one that is not finite: neither has a direction.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.all(np.isfinite(norms) & (norms > 0)):
        bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))
        raise ValueError(f"row {bad[0]} is zero or not finite and has no direction")
    return (wide / norms).astype(np.float32)


def unit_clip_rows(vectors: npt.NDArray[np.floating], clips: Sequence[Clip], modality: Modality) -> Vectors:
    """The unit rows of `vectors` (N, dim), one a clip; raises EncodeFailed that names the first bad video."""
    good = np.all(np.isfinite(vectors), axis=1) & np.any(vectors != 0, axis=1)
    if not good.all():
        clip = clips[int(np.flatnonzero(~good)[0])]
        raise EncodeFailed(f"{clip.video_id}: its {modality} gave a vector that is zero or not finite")
    return unit_rows(vectors)
