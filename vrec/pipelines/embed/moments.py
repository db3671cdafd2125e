"""Moments in the tables of an embedding run: between its stages, and in the finished table."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.moments import MOMENTS
from vrec.core.schema import conform
from vrec.core.types import Modality
from vrec.media.moments.decoded import DecodedMoments
from vrec.media.moments.subtitles import Cue


def moments_columns() -> list[pa.Field]:
    """Return the columns for moments between two stages: frames and sound as bytes, the rest as JSON."""
    return [
        pa.field("moment_pixels", pa.large_binary()),
        pa.field("moment_wave", pa.large_binary()),
        pa.field("moment_times", pa.string()),
    ]


def pack_moments(moments: DecodedMoments | None) -> dict[str, Any]:
    """Return a row's values in `moments_columns`; none where there are no moments."""
    if moments is None:
        return {}
    times = {
        "spans": moments.spans.tolist(),
        "sound_spans": moments.sound_spans.tolist(),
        "cues": [asdict(cue) for cue in moments.cues],
    }
    return {
        "moment_pixels": None if moments.frames is None else moments.frames.tobytes(),
        "moment_wave": None if moments.sound is None else moments.sound.tobytes(),
        "moment_times": json.dumps(times),
    }


def unpack_moments(row: Mapping[str, Any], frame_px: int) -> DecodedMoments | None:
    """Return the moments in a row, whose frames have `frame_px` pixels per side; None without any."""
    if row["moment_times"] is None:
        return None
    times = json.loads(row["moment_times"])
    pixels, wave = row["moment_pixels"], row["moment_wave"]
    return DecodedMoments(
        spans=np.array(times["spans"], np.float64).reshape(-1, 2),
        frames=None if pixels is None else np.frombuffer(pixels, np.uint8).reshape(-1, frame_px, frame_px, 3),
        sound_spans=np.array(times["sound_spans"], np.float64).reshape(-1, 2),
        sound=None if wave is None else np.frombuffer(wave, np.float32),
        cues=tuple(Cue(**cue) for cue in times["cues"]),
    )


def moment_rows(good: pa.Table, modality: Modality, encoder: str) -> pa.Table | None:
    """Return MOMENTS rows of one modality from PART rows, None where no video has such moments.

    Args:
        good: PART rows of videos that did not fail.
        modality: Modality of the moments.
        encoder: Name of the encoder.
    """
    column = good[f"moments_{modality}"].combine_chunks()
    rows = pc.list_flatten(column)
    if not len(rows):
        return None
    owners = good["video_id"].combine_chunks().take(pc.list_parent_indices(column))
    start_s, end_s, text, scale, vector = rows.flatten()
    dim = len(vector[0].as_py())
    codes = np.frombuffer(b"".join(vector.to_pylist()), np.int8)
    columns = [
        owners,
        pa.repeat(pa.scalar(str(modality)), len(rows)),
        pa.repeat(pa.scalar(encoder), len(rows)),
        start_s,
        end_s,
        text,
        scale,
        pa.FixedSizeListArray.from_arrays(pa.array(codes), dim),
    ]
    return conform(pa.Table.from_arrays(columns, schema=MOMENTS.arrow(dim)), MOMENTS, stage="embed")
