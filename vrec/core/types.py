"""Plain data types that the layers of vrec share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.errors import VideoError

Modality = Literal["frames", "audio", "text", "fused"]
MODALITIES: tuple[Modality, ...] = ("frames", "audio", "text", "fused")

Ids = Sequence[str]
IdsByUser = Mapping[str, Ids]

Frames = npt.NDArray[np.uint8]
"""(T, S, S, 3) uint8 RGB."""
Vectors = npt.NDArray[np.float32]
"""(N, dim) float32."""
Waveform = npt.NDArray[np.float32]
"""(samples,) float32 mono at 16 kHz in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class VideoRef:
    """Reference to one video of a catalog; holds none of its bytes."""

    video_id: str
    uri: str
    title: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnlistedRow:
    """Row or file of a catalog that gave no VideoRef."""

    video_id: str
    """Id for FAILURES: the row's own, or a description where it has none."""
    uri: str
    error: VideoError


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded video, the input of encoders. An absent modality is None, never zeros."""

    video_id: str
    frames: Frames | None = None
    """(T, S, S, 3) uint8 RGB, upright, in time order; T ≥ 1."""
    audio: Waveform | None = None
    """(samples,) float32 mono at 16 kHz, or None where there is no audio stream."""
    text: str | None = None
    """Title and tags, or None where the catalog has neither."""


@dataclass(frozen=True, slots=True)
class CatalogContent:
    """Content side of a catalog: metadata and embeddings of its videos; either may be absent."""

    videos: pa.Table | None = None
    """VIDEOS rows, one per video."""
    embeddings: pa.Table | None = None
    """EMBEDDINGS rows of one modality and one encoder, one per video."""
    other_domains: tuple[str, ...] = ()
    """Domains of VIDEOS that are not the shop's, such as those in LINKS."""
    follows: pa.Table | None = None
    """FOLLOWS, of which those between shoppers are a social signal; None if there are none."""

    @property
    def video_id_columns(self) -> list[pa.ChunkedArray]:
        """Video id columns of the tables that are present."""
        tables = ((self.videos, "video_id"), (self.embeddings, "entity_id"))
        return [table.column(name) for table, name in tables if table is not None]


@dataclass(frozen=True, slots=True)
class LogChanges:
    """Changes of the log of a ProfileStore after a cursor."""

    events: pa.Table
    """EVENTS that came, as they were sent: a session has its own id also after it joined an account."""
    video_ids: tuple[str, ...]
    """Videos whose profiles have changed, each once."""
    removed_at: int
    """Cursor at the last change that is no new event, such as the removal of one; 0 if there is none."""
    cursor: int
    """Cursor after all of it."""
    complete: bool
    """Whether that is the end of the log; otherwise there is more."""


@dataclass(frozen=True, slots=True)
class ExpiredEvents:
    """Outcome of a look for events that a ProfileStore must not keep any longer."""

    removed: int
    """Number of events that were removed."""
    cursor: int
    """Cursor of the next look; 0 at the end of the log."""


@dataclass(frozen=True, slots=True)
class StoreSpace:
    """Room that a ProfileStore takes and has left, in bytes."""

    used: int
    """Bytes of its files, or of all that its server keeps in memory."""
    free: int
    """Bytes left before writes are refused: of the disk, or of the server's memory."""


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """Outcome of adding events to a ProfileStore."""

    new: int
    """Number of events that were added to the log."""
    repeated: int
    """Number of events whose event_id was known: in the log, erased, or earlier in the same table."""
    refused: int = 0
    """Number of events that a service did not keep, since their shoppers do not consent to that."""
