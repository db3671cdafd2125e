"""Learned encoders: a head of some kind with its weights, and the features that it understands."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, assert_never

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, TypeAdapter, ValidationError

from vrec.core.errors import FitError, ModelError
from vrec.core.types import Modality, Vectors
from vrec.encoders.learned.artifact import FIX, EncoderArtifact, read_encoder_artifact
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import FeatureBatch, FeatureTensors
from vrec.encoders.learned.heads.gated import GatedHead, GatedHeadConfig
from vrec.encoders.learned.heads.gru import GruHead, GruHeadConfig
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.mean import MeanHead, MeanHeadConfig
from vrec.encoders.learned.heads.vae import VaeHead, VaeHeadConfig
from vrec.training.config import seeded_rng

AnyHeadConfig = Annotated[
    MeanHeadConfig | GruHeadConfig | GatedHeadConfig | VaeHeadConfig, Field(discriminator="kind")
]
"""Which head, and how large."""

BLOCK = 256
"""Videos that are encoded at once."""


def init_head(config: AnyHeadConfig, features: FeatureSet, seed: int) -> EncoderHead:
    """A head with its first weights, drawn by `seed`, for features of this catalogue, on the CPU.

    Raises FitError where the catalogue has nothing of what the head takes.
    """
    with seeded_rng(seed):
        head = _head(config, features.dims)
    head.fit_scales(features)
    return head


class LearnedEncoder:
    """A trained head, and what it was trained on. Not to be shared between threads."""

    def __init__(self, stored: EncoderArtifact, head: EncoderHead, device: str = "cpu") -> None:
        self.stored = stored
        self.head = head.to(device).eval()
        self.device = torch.device(device)
        self.name, self.dim = stored.name, stored.dim
        self.names: dict[Modality, str] = dict(stored.names)
        """The encoders whose features it takes."""

    @classmethod
    def from_weights(
        cls,
        config: AnyHeadConfig,
        features: FeatureSet,
        weights: Mapping[str, npt.NDArray[Any]],
        *,
        data: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Self:
        """The encoder of a head with these weights, by their names in it, trained on these features.

        `data` says what it was trained on and `metrics` how good it was, for its manifest.
        """
        head = _head(config, features.dims)
        arrays = {name: np.array(array) for name, array in weights.items()}
        head.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        names: dict[Modality, str] = {m: features.names[m] for m in head.dims}
        about = {"features": features.fingerprint, "videos": len(features)} | dict(data or {})
        told = config.model_dump(mode="json")
        stored = EncoderArtifact(told, head.dims, names, features.embed, arrays, about, dict(metrics or {}))
        return cls(stored, head)

    def save(self, uri: str) -> None:
        """Writes the encoder as a folder."""
        self.stored.save(uri)

    @classmethod
    def load(cls, uri: str, *, device: str = "cpu") -> Self:
        """The encoder that `save` wrote, on a device; raises ModelError where the folder is no sound one."""
        return cls.from_artifact(read_encoder_artifact(uri), uri, device=device)

    @classmethod
    def from_artifact(cls, stored: EncoderArtifact, uri: str, *, device: str = "cpu") -> Self:
        """The encoder of what was read from the folder `uri`; raises ModelError as `load` does."""
        try:
            config: AnyHeadConfig = TypeAdapter(AnyHeadConfig).validate_python(stored.config)
            head = _head(config, stored.dims)
            head.load_state_dict({name: torch.from_numpy(array) for name, array in stored.weights.items()})
        except (ValidationError, FitError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{uri} is no sound encoder: {reason}", fix=FIX) from None
        return cls(stored, head, device)

    def encode_features(self, features: FeatureSet) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """(N, dim) float32 unit rows, and (N,) bool which videos could be encoded; other rows are zeros.

        Raises ModelError for features of other encoders than those that it was trained on.
        """
        # Of a modality that the whole catalogue lacks, no encoder was asked.
        names = dict(self.names)
        names.update({m: features.names[m] for m in features.dims})
        if problem := self.stored.incompatibility(names):
            raise ModelError(f"{self.name} {problem}", fix="give it features of those encoders")
        tensors = FeatureTensors(features, self.device, self.head.dims)
        out = np.zeros((len(features), self.dim), np.float32)
        able = np.zeros(len(features), bool)
        for start in range(0, len(features), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(features)))
            out[rows], able[rows] = self._encode(tensors.take(rows))
        return out, able

    def encode_parts(
        self, frames: Sequence[Vectors | None], vectors: Mapping[Modality, Sequence[Vectors | None]]
    ) -> Vectors:
        """(N, dim) float32 unit rows of N videos from (T, D) features a frame and (D,) vectors of the others.

        None where a video lacks the modality. Raises ValueError for a video with nothing that the head
        takes, and for features of another length.
        """
        if not frames:
            return np.zeros((0, self.dim), np.float32)
        batch = self._batch(frames, vectors)
        out, able = self._encode(batch)
        if not able.all():
            taken = ", ".join(self.head.dims)
            raise ValueError(f"row {int(np.flatnonzero(~able)[0])} has no modality of {taken}")
        return out

    @torch.inference_mode()
    def _encode(self, batch: FeatureBatch) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        able = self.head.has_input(batch.has)
        rows = self.head.vectors(batch) * able[:, None]
        return rows.cpu().numpy(), able.cpu().numpy()

    def _batch(
        self, frames: Sequence[Vectors | None], vectors: Mapping[Modality, Sequence[Vectors | None]]
    ) -> FeatureBatch:
        dims = self.head.dims
        count, longest = len(frames), max((len(f) for f in frames if f is not None), default=0)
        # As the features that it was trained on, which are kept in half the bytes.
        padded = np.zeros((count, longest, dims.get("frames", 0)), np.float16)
        lengths = np.zeros(count, np.int64)
        for row, found in enumerate(frames):
            if found is not None and "frames" in dims:
                padded[row, : len(found)], lengths[row] = found, len(found)
        rest: dict[Modality, Vectors] = {}
        has: dict[Modality, npt.NDArray[np.bool_]] = {"frames": lengths > 0}
        for m in ("audio", "text"):
            given = vectors.get(m, [None] * count) if m in dims else [None] * count
            nothing = np.zeros(dims.get(m, 0), np.float32)
            rest[m] = np.array([nothing if v is None else v for v in given], np.float32).reshape(count, -1)
            has[m] = np.array([v is not None for v in given], bool)
        return FeatureBatch(
            self._tensor(padded).float(),
            self._tensor(lengths),
            self._tensor(rest["audio"]),
            self._tensor(rest["text"]),
            {m: self._tensor(found) for m, found in has.items()},
        )

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


def _head(config: AnyHeadConfig, dims: Mapping[Modality, int]) -> EncoderHead:
    """The head of a config for modalities of these lengths; raises FitError where it takes none of them."""
    if not dims:
        raise FitError("training: no video has frames, sound or text that could be learned from")
    match config:
        case MeanHeadConfig() | GruHeadConfig() if "frames" not in dims:
            raise FitError(
                f"training: no video of the catalogue has frames, and {config.kind} takes nothing else",
                fix="train a gated or vae encoder, which take what there is",
            )
        case MeanHeadConfig():
            return MeanHead(config, dims)
        case GruHeadConfig():
            return GruHead(config, dims)
        case GatedHeadConfig():
            return GatedHead(config, dims)
        case VaeHeadConfig():
            return VaeHead(config, dims)
        case _:
            assert_never(config)
