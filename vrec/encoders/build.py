"""All encoders of a catalog: their names, which need no weights in memory, and the set that runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeGuard, assert_never

import numpy as np
from pydantic import Discriminator, Field, Tag

from vrec.core.config import BaseConfig
from vrec.core.protocols import Encoder
from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig, audible, audio_name
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig, cnn_name
from vrec.encoders.fusion import ModalityFusion, ModalityFusionConfig, fusion_name
from vrec.encoders.learned.config import (
    GruEncoderConfig,
    LearnedFusionConfig,
    resolve_frame_encoder,
    resolve_learned_fusion,
)
from vrec.encoders.text import TextEncoder, TextEncoderConfig, clip_text, text_name

if TYPE_CHECKING:
    from vrec.encoders.learned.embedding import LearnedFusion

OptionalVectors = list[np.ndarray | None]


def _kind(value: Any, default: str) -> str:
    # Settings that name no kind mean the default kind.
    return str(value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default))


def _fusion_kind(value: Any) -> str:
    kind = _kind(value, "weighted")
    return "shares" if kind in ("concat", "weighted") else kind


FrameEncoderConfig = Annotated[
    Annotated[CnnEncoderConfig, Tag("cnn")] | Annotated[GruEncoderConfig, Tag("gru")],
    Discriminator(
        lambda value: _kind(value, "cnn"),
        custom_error_type="kind",
        custom_error_message="kind must be cnn or gru",
    ),
]
AnyFusionConfig = Annotated[
    Annotated[ModalityFusionConfig, Tag("shares")] | Annotated[LearnedFusionConfig, Tag("learned")],
    Discriminator(
        _fusion_kind,
        custom_error_type="kind",
        custom_error_message="kind must be concat, weighted or learned",
    ),
]


class EncodersConfig(BaseConfig):
    """Encoders of a catalog; None leaves a modality out."""

    frames: FrameEncoderConfig | None = Field(default_factory=CnnEncoderConfig)
    """Encoder of the frames."""
    audio: AudioEncoderConfig | None = Field(default_factory=AudioEncoderConfig)
    """Encoder of the sound."""
    text: TextEncoderConfig | None = Field(default_factory=TextEncoderConfig)
    """Encoder of title and tags."""
    fusion: AnyFusionConfig | None = Field(default_factory=ModalityFusionConfig)
    """Fusion of all modalities into one vector."""

    @property
    def cnn(self) -> CnnEncoderConfig | None:
        """Network over the frames, None where no encoder takes frames; reads the folder of a learned encoder.

        Raises:
            ModelError: The folder of the learned encoder holds no valid encoder.
            ConfigError: That encoder takes more than frames, or its network is unknown or differs here.
        """
        return (
            resolve_frame_encoder(self.frames)[1]
            if isinstance(self.frames, GruEncoderConfig)
            else self.frames
        )


def encoder_names(config: EncodersConfig) -> dict[Modality, str]:
    """Return the name of every encoder of `config` by modality, equal to those of `build_encoders`.

    Imports neither torch nor OpenVINO and reads only weight files: cheap enough for a driver that checks
    what is already embedded.

    Raises:
        ConfigError: Weights are missing or do not match each other.
        ModelError: The folder of a learned encoder is invalid.
    """
    names: dict[Modality, str] = {}
    if isinstance(config.frames, GruEncoderConfig):
        names["frames"] = resolve_frame_encoder(config.frames)[0].name
    elif config.frames is not None:
        names["frames"] = cnn_name(config.frames)
    if config.audio is not None:
        names["audio"] = audio_name(config.audio)
    if config.text is not None:
        names["text"] = text_name(config.text)
    if isinstance(config.fusion, LearnedFusionConfig):
        cnn = None if config.cnn is None else cnn_name(config.cnn)
        names["fused"] = resolve_learned_fusion(config.fusion, names, cnn)[0].name
    elif config.fusion is not None and names:
        names["fused"] = fusion_name(config.fusion, names)
    return names


class EncoderSet:
    """Encoders of one catalog, run together. Not to be shared between threads."""

    def __init__(
        self,
        encoders: Sequence[Encoder],
        fusion: ModalityFusionConfig | LearnedFusionConfig | None,
        *,
        device: str = "cpu",
    ) -> None:
        """Combine `encoders`, at most one per modality, and fuse their vectors by `fusion` on `device`.

        Raises:
            ConfigError: A learned fusion was trained on other encoders.
            ModelError: The folder of a learned fusion is invalid.
        """
        self._encoders: dict[Modality, Encoder] = {encoder.modality: encoder for encoder in encoders}
        self.names: dict[Modality, str] = {m: e.name for m, e in self._encoders.items()}
        self.dims: dict[Modality, int] = {m: e.dim for m, e in self._encoders.items()}
        self._fusion = self._build_fusion(fusion, device) if fusion is not None else None
        if self._fusion is not None:
            self.names["fused"], self.dims["fused"] = self._fusion.name, self._fusion.dim

    def encode(self, clips: Sequence[Clip]) -> dict[Modality, OptionalVectors]:
        """Encode clips in every modality.

        Returns:
            Unit vectors (dim,) float32 by modality, one entry per clip in order, None where the modality is
            absent. "fused" is None only for a clip without any modality that the fusion takes.

        Raises:
            EncodeFailed: The vector of a video, which is named, is not finite; encode the others without it.
        """
        vectors: dict[Modality, OptionalVectors] = {}
        features: OptionalVectors | None = None
        for modality, encoder in self._encoders.items():
            if self._fusion is not None and self._fusion.by_frame and _is_frame_encoder(encoder):
                vectors[modality], features = _encode_frames(encoder, clips)
            else:
                vectors[modality] = _encode_present(encoder, clips)
        if self._fusion is not None:
            inputs = dict(vectors)
            if features is not None:
                inputs["frames"] = features
            vectors["fused"] = _fuse_present(self._fusion, inputs, len(clips))
        return vectors

    def encode_modality(self, modality: Modality, clips: Sequence[Clip]) -> OptionalVectors:
        """Encode clips in one modality that is not fused: one entry per clip, None where it is absent.

        Without an encoder of the modality all are None.

        Raises:
            EncodeFailed: The vector of a video, which is named, is not finite.
        """
        encoder = self._encoders.get(modality)
        return [None] * len(clips) if encoder is None else _encode_present(encoder, clips)

    def _build_fusion(
        self, config: ModalityFusionConfig | LearnedFusionConfig, device: str
    ) -> "ModalityFusion | LearnedFusion | None":
        if isinstance(config, LearnedFusionConfig):
            from vrec.encoders.learned.embedding import LearnedFusion

            frames = self._encoders.get("frames")
            cnn = frames.cnn_name if frames is not None and _is_frame_encoder(frames) else None
            artifact, by_frame = resolve_learned_fusion(config, self.names, cnn)
            return LearnedFusion(artifact, config.model, by_frame=by_frame, device=device)
        return ModalityFusion(config, self.names, self.dims) if self._encoders else None


def build_encoders(config: EncodersConfig, *, device: str = "cpu") -> EncoderSet:
    """Load the encoders of `config`; frames are encoded on `device` ("cpu", "cuda", ...).

    Raises:
        ConfigError: Weights are not available, or as in `encoder_names`.
        ModelError: As in `encoder_names`.
    """
    encoders: list[Encoder] = []
    if isinstance(config.frames, GruEncoderConfig):
        # Imports torch, which encoding with OpenVINO alone does not need.
        from vrec.encoders.learned.embedding import LearnedFrameEncoder

        encoders.append(LearnedFrameEncoder(config.frames, device=device))
    elif config.frames is not None:
        encoders.append(CnnEncoder(config.frames, device=device))
    if config.audio is not None:
        encoders.append(AudioEncoder(config.audio))
    if config.text is not None:
        encoders.append(TextEncoder(config.text))
    return EncoderSet(encoders, config.fusion, device=device)


class FrameEncoder(Encoder, Protocol):
    """Encoder of frames that also gives the features of each frame, before they are pooled."""

    @property
    def cnn_name(self) -> str:
        """Name of the network as an encoder of its own."""
        ...

    def frame_features(self, clips: Sequence[Clip]) -> list[Vectors]:
        """Return the features of each clip's frames, (T, D) float32, in time order."""
        ...

    def pooled(self, features: Sequence[Vectors], clips: Sequence[Clip]) -> Vectors:
        """Return the (N, dim) unit rows of clips with these frame features."""
        ...


def _is_frame_encoder(encoder: Encoder) -> TypeGuard[FrameEncoder]:
    return hasattr(encoder, "frame_features")


def _presence(modality: Modality) -> Callable[[Clip], bool]:
    """Return the test of whether a clip has a modality; blank text and silence count as absent."""
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


def _encode_present(encoder: Encoder, clips: Sequence[Clip]) -> OptionalVectors:
    indices = _present_indices(encoder, clips)
    rows = encoder.encode([clips[i] for i in indices]) if indices else []
    return _scatter(rows, indices, len(clips))


def _encode_frames(encoder: FrameEncoder, clips: Sequence[Clip]) -> tuple[OptionalVectors, OptionalVectors]:
    """Return the vectors of frames and their (T, D) features, which are computed only once."""
    indices = _present_indices(encoder, clips)
    present = [clips[i] for i in indices]
    features = encoder.frame_features(present)
    vectors = encoder.pooled(features, present)
    return _scatter(vectors, indices, len(clips)), _scatter(features, indices, len(clips))


def _present_indices(encoder: Encoder, clips: Sequence[Clip]) -> list[int]:
    present = _presence(encoder.modality)
    return [index for index, clip in enumerate(clips) if present(clip)]


def _scatter(rows: Iterable[np.ndarray], indices: Sequence[int], count: int) -> OptionalVectors:
    """Return a list of `count` entries with `rows` at `indices` and None elsewhere."""
    out: OptionalVectors = [None] * count
    for index, row in zip(indices, rows, strict=True):
        out[index] = row
    return out


def _fuse_present(
    fusion: "ModalityFusion | LearnedFusion", inputs: Mapping[Modality, OptionalVectors], count: int
) -> OptionalVectors:
    """Fuse the videos that have at least one modality that the fusion takes."""
    indices = [index for index in range(count) if any(inputs[m][index] is not None for m in fusion.inputs)]
    present: dict[Modality, OptionalVectors] = {m: [rows[i] for i in indices] for m, rows in inputs.items()}
    return _scatter(fusion.fuse(present), indices, count)
