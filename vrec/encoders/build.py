"""All encoders of a catalogue: their names without loading them, and the set that runs."""

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
    # So that settings which name no kind go on to mean the default's.
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
    """Which encoders a catalogue gets; None leaves a modality out."""

    frames: FrameEncoderConfig | None = Field(default_factory=CnnEncoderConfig)
    """The picture."""
    audio: AudioEncoderConfig | None = Field(default_factory=AudioEncoderConfig)
    """The sound."""
    text: TextEncoderConfig | None = Field(default_factory=TextEncoderConfig)
    """Title and tags."""
    fusion: AnyFusionConfig | None = Field(default_factory=ModalityFusionConfig)
    """One vector from all of them."""

    @property
    def cnn(self) -> CnnEncoderConfig | None:
        """The network that sees the frames, None where nothing does; reads a learned encoder's folder.

        Raises ModelError or ConfigError where that holds no sound encoder of frames.
        """
        return (
            resolve_frame_encoder(self.frames)[1]
            if isinstance(self.frames, GruEncoderConfig)
            else self.frames
        )


def encoder_names(config: EncodersConfig) -> dict[Modality, str]:
    """The name of every encoder that `config` asks for, by modality, equal to those of `build_encoders`.

    Imports neither torch nor OpenVINO and reads only weight files: cheap enough for a driver
    that asks what is already embedded. Raises ConfigError when weights are missing or do not go together,
    and ModelError for a learned encoder's folder that is not a sound one.
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
        below = None if config.cnn is None else cnn_name(config.cnn)
        names["fused"] = resolve_learned_fusion(config.fusion, names, below)[0].name
    elif config.fusion is not None and names:
        names["fused"] = fusion_name(config.fusion, names)
    return names


class EncoderSet:
    """Encoders of one catalogue, run together. Not to be shared between threads."""

    def __init__(
        self,
        encoders: Sequence[Encoder],
        fusion: ModalityFusionConfig | LearnedFusionConfig | None,
        *,
        device: str = "cpu",
    ) -> None:
        """`encoders` has at most one a modality; with `fusion` their vectors are fused too, on `device`.

        Raises ConfigError or ModelError for a learned fusion that does not go with them.
        """
        self._encoders: dict[Modality, Encoder] = {encoder.modality: encoder for encoder in encoders}
        self.names: dict[Modality, str] = {m: e.name for m, e in self._encoders.items()}
        self.dims: dict[Modality, int] = {m: e.dim for m, e in self._encoders.items()}
        self._fusion = self._fusion_of(fusion, device) if fusion is not None else None
        if self._fusion is not None:
            self.names["fused"], self.dims["fused"] = self._fusion.name, self._fusion.dim

    def encode(self, clips: Sequence[Clip]) -> dict[Modality, OptionalVectors]:
        """Unit vectors (dim,) float32 by modality, one entry a clip in order, None where it is absent.

        "fused" is None only for a clip that has no modality at all, or none that the fusion takes. Raises
        EncodeFailed, naming the video, when an encoder gives numbers that are not finite: encode the rest
        without it.
        """
        found: dict[Modality, OptionalVectors] = {}
        features: OptionalVectors | None = None
        for modality, encoder in self._encoders.items():
            if self._fusion is not None and self._fusion.by_frame and _sees_frames(encoder):
                found[modality], features = _encode_frames(encoder, clips)
            else:
                found[modality] = _encode_present(encoder, clips)
        if self._fusion is not None:
            parts = dict(found)
            if features is not None:
                parts["frames"] = features
            found["fused"] = _fuse_present(self._fusion, parts, len(clips))
        return found

    def _fusion_of(
        self, config: ModalityFusionConfig | LearnedFusionConfig, device: str
    ) -> "ModalityFusion | LearnedFusion | None":
        if isinstance(config, LearnedFusionConfig):
            from vrec.encoders.learned.embedding import LearnedFusion

            frames = self._encoders.get("frames")
            below = frames.cnn_name if frames is not None and _sees_frames(frames) else None
            stored, by_frame = resolve_learned_fusion(config, self.names, below)
            return LearnedFusion(stored, config.model, by_frame=by_frame, device=device)
        return ModalityFusion(config, self.names, self.dims) if self._encoders else None


def build_encoders(config: EncodersConfig, *, device: str = "cpu") -> EncoderSet:
    """The encoders that `config` asks for, loaded; `device` ("cpu", "cuda", …) is where frames are encoded.

    Raises ConfigError when weights cannot be had, and as `encoder_names`.
    """
    encoders: list[Encoder] = []
    if isinstance(config.frames, GruEncoderConfig):
        # Its import brings torch, which whoever encodes with OpenVINO alone does without.
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
    """An encoder of frames that can be asked for what a network finds in each, before it is one vector."""

    @property
    def cnn_name(self) -> str:
        """The name that the network has as an encoder of its own."""
        ...

    def frame_features(self, clips: Sequence[Clip]) -> list[Vectors]: ...

    def pooled(self, features: Sequence[Vectors], clips: Sequence[Clip]) -> Vectors: ...


def _sees_frames(encoder: Encoder) -> TypeGuard[FrameEncoder]:
    return hasattr(encoder, "frame_features")


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


def _encode_present(encoder: Encoder, clips: Sequence[Clip]) -> OptionalVectors:
    places = _places(encoder, clips)
    rows = encoder.encode([clips[i] for i in places]) if places else []
    return _spread(rows, places, len(clips))


def _encode_frames(encoder: FrameEncoder, clips: Sequence[Clip]) -> tuple[OptionalVectors, OptionalVectors]:
    """The vectors of frames and the (T, D) features that they are of, which are thus found but once."""
    places = _places(encoder, clips)
    shown = [clips[i] for i in places]
    features = encoder.frame_features(shown)
    return _spread(encoder.pooled(features, shown), places, len(clips)), _spread(features, places, len(clips))


def _places(encoder: Encoder, clips: Sequence[Clip]) -> list[int]:
    present = _presence(encoder.modality)
    return [index for index, clip in enumerate(clips) if present(clip)]


def _spread(rows: Iterable[np.ndarray], places: Sequence[int], count: int) -> OptionalVectors:
    """Rows at their places among `count`, None elsewhere."""
    out: OptionalVectors = [None] * count
    for place, row in zip(places, rows, strict=True):
        out[place] = row
    return out


def _fuse_present(
    fusion: "ModalityFusion | LearnedFusion", parts: Mapping[Modality, OptionalVectors], count: int
) -> OptionalVectors:
    places = [index for index in range(count) if any(parts[m][index] is not None for m in fusion.inputs)]
    picked: dict[Modality, OptionalVectors] = {m: [rows[i] for i in places] for m, rows in parts.items()}
    return _spread(fusion.fuse(picked), places, count)
