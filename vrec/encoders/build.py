"""All encoders of a catalogue: their names without loading them, and the set that runs."""

from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np
from pydantic import Field

from vrec.core.config import Config
from vrec.core.protocols import Clip, Encoder, Modality
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig, audible, audio_name
from vrec.encoders.cnn import CnnConfig, CnnEncoder, cnn_name
from vrec.encoders.fusion import Fusion, FusionConfig, fusion_name
from vrec.encoders.text import TextConfig, TextEncoder, clip_text, text_name


class EncodersConfig(Config):
    """Which encoders a catalogue gets; None leaves a modality out."""

    frames: CnnConfig | None = Field(default_factory=CnnConfig)
    """The picture."""
    audio: AudioEncoderConfig | None = Field(default_factory=AudioEncoderConfig)
    """The sound."""
    text: TextConfig | None = Field(default_factory=TextConfig)
    """Title and tags."""
    fusion: FusionConfig | None = Field(default_factory=FusionConfig)
    """One vector from all of them."""


def encoder_names(config: EncodersConfig) -> dict[Modality, str]:
    """The name of every encoder that `config` asks for, by modality, equal to those of `build_encoders`.

    Imports neither torch nor OpenVINO and reads only weight files: cheap enough for a driver
    that asks what is already embedded. Raises ConfigError when weights are missing.
    """
    names: dict[Modality, str] = {}
    if config.frames is not None:
        names["frames"] = cnn_name(config.frames)
    if config.audio is not None:
        names["audio"] = audio_name(config.audio)
    if config.text is not None:
        names["text"] = text_name(config.text)
    if config.fusion is not None and names:
        names["fused"] = fusion_name(config.fusion, names)
    return names


class EncoderSet:
    """Encoders of one catalogue, run together. Not to be shared between threads."""

    def __init__(self, encoders: Sequence[Encoder], fusion: FusionConfig | None) -> None:
        """`encoders` has at most one a modality; with `fusion` their vectors are fused too."""
        self._encoders: dict[Modality, Encoder] = {encoder.modality: encoder for encoder in encoders}
        self.names: dict[Modality, str] = {m: e.name for m, e in self._encoders.items()}
        self.dims: dict[Modality, int] = {m: e.dim for m, e in self._encoders.items()}
        self._fusion: Fusion | None = None
        if fusion is not None and self._encoders:
            self._fusion = Fusion(fusion, self.names, self.dims)
            self.names["fused"], self.dims["fused"] = self._fusion.name, self._fusion.dim

    def encode(self, clips: Sequence[Clip]) -> dict[Modality, list[np.ndarray | None]]:
        """Unit vectors (dim,) float32 by modality, one entry a clip in order, None where it is absent.

        "fused" is None only for a clip that has no modality at all. Raises EncodeFailed, naming
        the video, when an encoder gives numbers that are not finite: encode the rest without it.
        """
        found: dict[Modality, list[np.ndarray | None]] = {
            modality: _encode_present(encoder, clips) for modality, encoder in self._encoders.items()
        }
        if self._fusion is not None:
            found["fused"] = _fuse_present(self._fusion, found, len(clips))
        return found


def build_encoders(config: EncodersConfig, *, device: str = "cpu") -> EncoderSet:
    """The encoders that `config` asks for, loaded; `device` ("cpu", "cuda", …) is where frames are encoded.

    Raises ConfigError when weights cannot be had.
    """
    encoders: list[Encoder] = []
    if config.frames is not None:
        encoders.append(CnnEncoder(config.frames, device=device))
    if config.audio is not None:
        encoders.append(AudioEncoder(config.audio))
    if config.text is not None:
        encoders.append(TextEncoder(config.text))
    return EncoderSet(encoders, config.fusion)


def _presence(modality: Modality) -> Callable[[Clip], bool]:
    """Whether a clip has a modality, as its encoder sees it: blank text and silence are absent."""
    match modality:
        case "frames":
            return lambda clip: clip.frames is not None and len(clip.frames) > 0
        case "audio":
            return lambda clip: audible(clip.audio)
        case "text":
            return lambda clip: clip_text(clip.text) is not None
        case "fused":
            return lambda _: False
        case _:
            assert_never(modality)


def _encode_present(encoder: Encoder, clips: Sequence[Clip]) -> list[np.ndarray | None]:
    present = _presence(encoder.modality)
    places = [index for index, clip in enumerate(clips) if present(clip)]
    rows: list[np.ndarray | None] = [None] * len(clips)
    if places:
        for index, vector in zip(places, encoder.encode([clips[i] for i in places]), strict=True):
            rows[index] = vector
    return rows


def _fuse_present(
    fusion: Fusion, found: dict[Modality, list[np.ndarray | None]], count: int
) -> list[np.ndarray | None]:
    usable: list[Modality] = [m for m in found if fusion.config.share(m) > 0]
    places = [index for index in range(count) if any(found[m][index] is not None for m in usable)]
    rows: list[np.ndarray | None] = [None] * count
    picked: dict[Modality, list[np.ndarray | None]] = {m: [found[m][i] for i in places] for m in found}
    for index, vector in zip(places, fusion.fuse(picked), strict=True):
        rows[index] = vector
    return rows
