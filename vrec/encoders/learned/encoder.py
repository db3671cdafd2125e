"""Learned encoders: a head with its weights, and the names of its input features."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, assert_never

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter, ValidationError

from vrec.core.errors import FitError, ModelError
from vrec.core.types import Modality, Vectors
from vrec.encoders.learned.artifact import FIX, EncoderArtifact, read_encoder_artifact
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import FeatureBatch, FeatureTensors
from vrec.encoders.learned.heads.config import (
    AnyHeadConfig,
    GatedHeadConfig,
    GruHeadConfig,
    MeanHeadConfig,
    VaeHeadConfig,
)
from vrec.encoders.learned.heads.gated import GatedHead
from vrec.encoders.learned.heads.gru import GruHead
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.mean import MeanHead
from vrec.encoders.learned.heads.vae import VaeHead
from vrec.training.device import seeded_rng

BLOCK = 256
"""Videos per block that is encoded at once."""


def init_head(config: AnyHeadConfig, features: FeatureSet, seed: int) -> EncoderHead:
    """Return an untrained head for these features, on the CPU.

    Args:
        config: Kind and size of the head.
        features: Features that set the input lengths, the scales and the principal components.
        seed: Seed of the initial weights.

    Raises:
        FitError: The features have none of the modalities that the head takes.
    """
    with seeded_rng(seed):
        head = _head(config, features.dims)
    head.fit_scales(features)
    return head


class LearnedEncoder:
    """Trained head with its provenance. Not to be shared between threads."""

    def __init__(self, artifact: EncoderArtifact, head: EncoderHead, device: str = "cpu") -> None:
        self.artifact = artifact
        self.head = head.to(device).eval()
        self.device = torch.device(device)
        self.name, self.dim = artifact.name, artifact.dim
        self.names: dict[Modality, str] = dict(artifact.names)
        """Names of the encoders whose features it takes."""

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
        """Return the encoder of a head trained on these features.

        Args:
            config: Kind and size of the head.
            features: Features that it was trained on.
            weights: Weights of the head by their names in its state_dict.
            data: Description of the training data, for the manifest.
            metrics: Validation metrics, for the manifest.
        """
        head = _head(config, features.dims)
        arrays = {name: np.array(array) for name, array in weights.items()}
        head.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        names: dict[Modality, str] = {m: features.names[m] for m in head.dims}
        about = {"features": features.fingerprint, "videos": len(features)} | dict(data or {})
        values = config.model_dump(mode="json")
        artifact = EncoderArtifact(
            values, head.dims, names, features.embed, arrays, about, dict(metrics or {})
        )
        return cls(artifact, head)

    def save(self, uri: str) -> None:
        """Write the encoder as a folder; raise ModelError as `EncoderArtifact.save` does."""
        self.artifact.save(uri)

    @classmethod
    def load(cls, uri: str, *, device: str = "cpu") -> Self:
        """Load an encoder that `save` wrote, on a device; raise ModelError for an invalid folder."""
        return cls.from_artifact(read_encoder_artifact(uri), uri, device=device)

    @classmethod
    def from_artifact(cls, artifact: EncoderArtifact, uri: str, *, device: str = "cpu") -> Self:
        """Return the encoder of an artifact read from the folder `uri`; raise ModelError as `load` does."""
        try:
            config: AnyHeadConfig = TypeAdapter(AnyHeadConfig).validate_python(artifact.config)
            head = _head(config, artifact.dims)
            head.load_state_dict({name: torch.from_numpy(array) for name, array in artifact.weights.items()})
        except (ValidationError, FitError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{uri} is not a valid encoder: {reason}", fix=FIX) from None
        return cls(artifact, head, device)

    def encode_features(self, features: FeatureSet) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Encode all videos of a FeatureSet.

        Returns:
            (N, dim) float32 unit rows, and (N,) bool whether a video could be encoded; other rows are zeros.

        Raises:
            ModelError: The features are of other encoders than those that it was trained on.
        """
        # Features without any video of a modality need no name of its encoder.
        names = dict(self.names)
        names.update({m: features.names[m] for m in features.dims})
        if problem := self.artifact.incompatibility(names):
            raise ModelError(f"{self.name} {problem}", fix="give it features of those encoders")
        tensors = FeatureTensors(features, self.device, self.head.dims)
        out = np.zeros((len(features), self.dim), np.float32)
        encoded = np.zeros(len(features), bool)
        for start in range(0, len(features), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(features)))
            out[rows], encoded[rows] = self._encode(tensors.take(rows))
        return out, encoded

    def encode_parts(
        self, frames: Sequence[Vectors | None], vectors: Mapping[Modality, Sequence[Vectors | None]]
    ) -> Vectors:
        """Encode N videos from the outputs of the encoders of their modalities.

        Args:
            frames: (T, D) features of the frames of each video, None where it has none.
            vectors: N vectors (D,) by modality other than frames, None where a video lacks it.

        Returns:
            (N, dim) float32 unit rows.

        Raises:
            ValueError: A video has no modality that the head takes, or features have another length.
        """
        if not frames:
            return np.zeros((0, self.dim), np.float32)
        batch = self._batch(frames, vectors)
        out, encoded = self._encode(batch)
        if not encoded.all():
            inputs = ", ".join(self.head.dims)
            raise ValueError(f"row {int(np.flatnonzero(~encoded)[0])} has no modality of {inputs}")
        return out

    @torch.inference_mode()
    def _encode(self, batch: FeatureBatch) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        has_input = self.head.has_input(batch.has)
        rows = self.head.vectors(batch) * has_input[:, None]
        return rows.cpu().numpy(), has_input.cpu().numpy()

    def _batch(
        self, frames: Sequence[Vectors | None], vectors: Mapping[Modality, Sequence[Vectors | None]]
    ) -> FeatureBatch:
        dims = self.head.dims
        count, longest = len(frames), max((len(f) for f in frames if f is not None), default=0)
        # Float16, like the features that it was trained on.
        padded = np.zeros((count, longest, dims.get("frames", 0)), np.float16)
        lengths = np.zeros(count, np.int64)
        for row, features in enumerate(frames):
            if features is not None and "frames" in dims:
                padded[row, : len(features)], lengths[row] = features, len(features)
        rest: dict[Modality, Vectors] = {}
        has: dict[Modality, npt.NDArray[np.bool_]] = {"frames": lengths > 0}
        for m in ("audio", "text"):
            given = vectors.get(m, [None] * count) if m in dims else [None] * count
            zeros = np.zeros(dims.get(m, 0), np.float32)
            rest[m] = np.array([zeros if v is None else v for v in given], np.float32).reshape(count, -1)
            has[m] = np.array([v is not None for v in given], bool)
        return FeatureBatch(
            self._tensor(padded).float(),
            self._tensor(lengths),
            self._tensor(rest["audio"]),
            self._tensor(rest["text"]),
            {m: self._tensor(mask) for m, mask in has.items()},
        )

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)


def _head(config: AnyHeadConfig, dims: Mapping[Modality, int]) -> EncoderHead:
    """Build the head of a config for inputs of these lengths; raise FitError where it takes none of them."""
    if not dims:
        raise FitError("training: no video has frames, sound or text that could be learned from")
    match config:
        case MeanHeadConfig() | GruHeadConfig() if "frames" not in dims:
            raise FitError(
                f"training: no video of the catalog has frames, and {config.kind} takes nothing else",
                fix="train a gated or vae encoder, which takes any modality",
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
