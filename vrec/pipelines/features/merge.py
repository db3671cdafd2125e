"""Merging of parts into one FeatureSet, and of several FeatureSets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.types import Modality
from vrec.encoders.build import encoder_names
from vrec.encoders.fusion import INPUT_MODALITIES
from vrec.encoders.learned.features import FeatureSet
from vrec.pipelines.features.stages import FeatureJob

Array = npt.NDArray[Any]


def merge_parts(parts: Sequence[pa.Table], job: FeatureJob) -> FeatureSet:
    """Return the features in PART tables of a job, by video id, without the videos that failed."""
    good = [part.filter(pc.is_null(part["error"])) for part in parts]
    columns = {m: [v for part in good for v in _rows(part, m)] for m in INPUT_MODALITIES}
    ids = [video for part in good for video in part["video_id"].to_pylist()]
    counts = [count for part in good for count in part["frames"].to_pylist()]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    frames, lengths = _frames([columns["frames"][i] for i in order], [counts[i] for i in order], job)
    audio, text = (_vectors([columns[m][i] for i in order]) for m in ("audio", "text"))
    has: dict[Modality, Array] = {
        "frames": lengths > 0,
        "audio": (audio != 0).any(axis=1),
        "text": (text != 0).any(axis=1),
    }
    names = encoder_names(job.config.encoders)
    embed = job.config.model_dump(mode="json")
    return FeatureSet(tuple(ids[i] for i in order), frames, lengths, audio, text, has, names, embed)


def concatenate_feature_sets(sets: Sequence[FeatureSet]) -> FeatureSet:
    """Return features of different videos with the same settings as one set, by video id."""
    ids = [video for some in sets for video in some.video_ids]
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
    has: dict[Modality, Array] = {
        m: np.concatenate([some.has[m] for some in sets])[order] for m in INPUT_MODALITIES
    }
    return FeatureSet(
        tuple(ids[i] for i in order),
        _concatenate_padded([some.frames for some in sets])[order],
        np.concatenate([some.lengths for some in sets])[order],
        _concatenate_padded([some.audio for some in sets])[order],
        _concatenate_padded([some.text for some in sets])[order],
        has,
        sets[0].names,
        sets[0].embed,
    )


def _rows(part: pa.Table, modality: Modality) -> list[Array | None]:
    column = part[f"vector_{modality}"].combine_chunks()
    return [None if not row.is_valid else row.values.to_numpy() for row in column]


def _frames(rows: Sequence[Array | None], counts: Sequence[int], job: FeatureJob) -> tuple[Array, Array]:
    """Return (N, V, T, D) float16 frames and their (N,) int16 lengths from rows of V · t · D numbers."""
    views, most = 1 + job.features.views, job.config.sample.frames
    present = [
        (i, row, count) for i, (row, count) in enumerate(zip(rows, counts, strict=True)) if row is not None
    ]
    dim = len(present[0][1]) // (views * present[0][2]) if present else 0
    frames, lengths = np.zeros((len(rows), views, most, dim), np.float16), np.zeros(len(rows), np.int16)
    for i, row, count in present:
        frames[i, :, :count], lengths[i] = row.reshape(views, count, dim), count
    return frames, lengths


def _vectors(rows: Sequence[Array | None]) -> Array:
    """Return (N, D) float32 rows, zeros for None; D is 0 without any row."""
    dim = max((len(row) for row in rows if row is not None), default=0)
    return np.array([np.zeros(dim) if row is None else row for row in rows], np.float32).reshape(
        len(rows), dim
    )


def _concatenate_padded(blocks: Sequence[Array]) -> Array:
    # One set may have a modality that no video of another set has, whose width is then 0.
    width = max(block.shape[-1] for block in blocks)
    wide = [np.zeros((*b.shape[:-1], width), b.dtype) if b.shape[-1] < width else b for b in blocks]
    return np.concatenate(wide)
