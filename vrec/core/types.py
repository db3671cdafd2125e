"""Plain data types that the layers of vrec share."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Modality = Literal["frames", "audio", "text", "fused"]
MODALITIES: tuple[Modality, ...] = ("frames", "audio", "text", "fused")

Frames = npt.NDArray[np.uint8]
"""(T, S, S, 3) uint8 RGB."""
Vectors = npt.NDArray[np.float32]
"""(N, dim) float32."""
Waveform = npt.NDArray[np.float32]
"""(samples,) float32 mono at 16 kHz in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class VideoRef:
    """One video of a catalogue, before any byte of it is read."""

    video_id: str
    uri: str
    title: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded video: what encoders see. An absent modality is None, never zeros."""

    video_id: str
    frames: Frames | None = None
    """(T, S, S, 3) uint8 RGB, upright, in time order; T ≥ 1."""
    audio: Waveform | None = None
    """(samples,) float32 mono at 16 kHz, or None where there is no audio stream."""
    text: str | None = None
    """Title and tags, or None where the catalogue has neither."""


@dataclass(frozen=True, slots=True)
class CatalogContent:
    """What is known of the videos besides who watched them; either part may be absent."""

    videos: pa.Table | None = None
    """VIDEOS rows, one a video."""
    embeddings: pa.Table | None = None
    """EMBEDDINGS rows of one modality and one encoder, one a video."""

    @property
    def video_id_columns(self) -> list[pa.ChunkedArray]:
        """The columns of video ids of those parts that are there."""
        parts = ((self.videos, "video_id"), (self.embeddings, "entity_id"))
        return [table.column(name) for table, name in parts if table is not None]


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of the events given to a ProfileStore."""

    new: int
    """Events that are now in the log."""
    repeated: int
    """Events whose event_id was there before, in the log, among the erased or earlier in the same table."""
