"""The shapes that parts of vrec agree on. A protocol earns its place with a second implementation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

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


@runtime_checkable
class VideoSource(Protocol):
    """A catalogue's videos.

    `refs()` is cheap, in a stable order and reads no video; `read()` gives a video's bytes.
    A bad video raises a VideoError, which the pipeline turns into one row of FAILURES.
    """

    def refs(self) -> Iterator[VideoRef]: ...

    def read(self, ref: VideoRef) -> bytes: ...


@runtime_checkable
class Encoder(Protocol):
    """Clips to unit vectors. Keeps count and order; one clip alone or in a batch gives the same row.

    `encode` raises ValueError for a clip whose modality is absent: callers leave those out.
    """

    @property
    def name(self) -> str:
        """Kind and digest of weights and config, such as "cnn@1f0c9a2b7d3e"."""
        ...

    @property
    def modality(self) -> Modality: ...

    @property
    def dim(self) -> int: ...

    def encode(self, clips: Sequence[Clip]) -> Vectors: ...
