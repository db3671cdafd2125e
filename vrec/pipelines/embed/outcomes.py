"""Outcomes of single videos on their way through a worker: encoded, or failed."""

import functools
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from vrec.core.casts import printable
from vrec.core.errors import EncodeFailed, VideoError, as_video_error, guard
from vrec.core.types import Clip, Modality
from vrec.encoders.build import OptionalVectors
from vrec.encoders.moments.encode import MomentEncoder
from vrec.encoders.moments.vectors import MomentVectors
from vrec.encoders.view_check import ViewCheck
from vrec.media.moments.decoded import DecodedMoments

SUMMARY = pa.schema(
    [
        pa.field("part", pa.string()),
        pa.field("videos", pa.int64()),
        pa.field("failed", pa.int64()),
        *(pa.field(n, pa.float64()) for n in ("read_s", "decode_s", "encode_s", "write_s", "video_s")),
        *(pa.field(n, pa.float64()) for n in ("began_at", "ended_at")),
        pa.field("worker", pa.string()),
    ]
)
"""Output of a worker: one row per finished part.

`began_at` and `ended_at` are seconds of Unix time, `video_s` is playing time, and the other `_s` are seconds
of work.
"""

Vectors = dict[Modality, np.ndarray | None]


class ClipEncoders(Protocol):
    """Encoders of one or several modalities, such as an `EncoderSet`."""

    def encode(self, clips: Sequence[Clip]) -> dict[Modality, OptionalVectors]:
        """Return (dim,) float32 vectors by modality, one entry per clip in order, None where it is absent."""
        ...


@dataclass(slots=True)
class VideoOutcome:
    """State of one video on its way through a worker."""

    row: dict[str, Any]
    """Columns of PART so far, with the error of a failed video."""
    clip: Clip | None = None
    """None for a failed video, and once it is encoded."""
    read_s: float = 0.0
    decoded_moments: DecodedMoments | None = None
    """None once they are encoded."""
    moments: dict[Modality, MomentVectors] = field(default_factory=dict)


def record_failure(row: dict[str, Any], error: VideoError) -> None:
    """Write an error into a row of PART."""
    row |= {
        "error": type(error).__name__,
        "stage": error.stage,
        "message": printable(str(error)),
        "at": datetime.now(UTC),
    }


def encode_outcomes(outcomes: Sequence[VideoOutcome], encoders: ClipEncoders) -> list[Vectors]:
    """Return the vectors by modality of each outcome, {} for a failed one.

    Where a batch cannot be encoded its clips are encoded one by one, so that only the bad ones fail.
    """
    decoded = [o for o in outcomes if o.clip is not None]
    start = time.perf_counter()
    try:
        vectors = _encode([o.clip for o in decoded if o.clip], encoders)
    except Exception as error:
        if len(decoded) > 1:
            return [v for o in outcomes for v in encode_outcomes([o], encoders)]
        for outcome in decoded:
            record_failure(outcome.row, as_video_error(error, EncodeFailed))
        return [{} for _ in outcomes]
    seconds = (time.perf_counter() - start) / max(len(decoded), 1)
    for outcome in decoded:
        outcome.row["encode_s"] = seconds
    remaining = iter(vectors)
    return [{} if o.clip is None else next(remaining) for o in outcomes]


def _encode(clips: Sequence[Clip], encoders: ClipEncoders) -> list[Vectors]:
    if not clips:
        return []
    by_modality = encoders.encode(clips)
    return [{m: vectors[i] for m, vectors in by_modality.items()} for i in range(len(clips))]


def encode_moments(outcome: VideoOutcome, encoder: MomentEncoder | None) -> None:
    """Encode the moments of an outcome; where that fails its note says so, and the video keeps its row."""
    moments, outcome.decoded_moments = outcome.decoded_moments, None
    if moments is None or encoder is None or outcome.row.get("error") is not None:
        return
    found = guard(EncodeFailed, functools.partial(encoder.encode, outcome.row["video_id"], moments))
    if isinstance(found, VideoError):
        _add_note(outcome, f"no moments: {printable(str(found))}")
    else:
        outcome.moments = found


def check_views(outcome: VideoOutcome, vectors: Vectors, check: ViewCheck | None) -> None:
    """Note where an outcome's frames and a coarser view of them disagree, before its clip is given up."""
    if check is None or outcome.clip is None or outcome.row.get("error") is not None:
        return
    doubt = guard(EncodeFailed, functools.partial(check.doubt, outcome.clip, vectors.get("frames")))
    if isinstance(doubt, VideoError):
        _add_note(outcome, f"not checked: {printable(str(doubt))}")
    elif doubt is not None:
        _add_note(outcome, doubt)


def _add_note(outcome: VideoOutcome, note: str) -> None:
    notes = (outcome.row.get("note"), note)
    outcome.row["note"] = "; ".join(one for one in notes if one)


def summarize(
    name: str, rows: Sequence[dict[str, Any]], *, began_at: float, read_s: float, write_s: float
) -> pa.Table:
    """Return the SUMMARY row of a part with these rows."""
    good = [r for r in rows if r.get("error") is None]
    row = {
        "part": name,
        "videos": len(rows),
        "failed": len(rows) - len(good),
        "read_s": read_s,
        "decode_s": sum(r["decode_s"] or 0.0 for r in rows),
        "encode_s": sum(r["encode_s"] or 0.0 for r in rows),
        "write_s": write_s,
        "video_s": sum(r.get("duration_s") or 0.0 for r in good),
        "began_at": began_at,
        "ended_at": time.time(),
        "worker": f"{socket.gethostname()}:{os.getpid()}",
    }
    return pa.Table.from_pylist([row], schema=SUMMARY)
