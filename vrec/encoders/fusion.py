"""One vector a video from its modalities: concatenation of unit blocks."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.core.types import Modality, Vectors
from vrec.encoders.digest import encoder_name
from vrec.encoders.vectors import unit_rows

INPUT_MODALITIES: tuple[Modality, ...] = ("frames", "audio", "text")
"""The modalities that are fused, in the order of their blocks."""


class ModalityWeights(BaseConfig):
    """Shares of the likeness of two videos that have every modality; only their ratios matter."""

    frames: float = Field(default=1.0, ge=0)
    """Share of the picture."""
    audio: float = Field(default=0.5, ge=0)
    """Share of the sound; half, since without trained weights it tells timbre and little of the subject."""
    text: float = Field(default=1.0, ge=0)
    """Share of title and tags."""


class ModalityFusionConfig(BaseConfig):
    """How modalities become one vector."""

    kind: Literal["concat", "weighted"] = "weighted"
    """`concat` gives every modality the same share, `weighted` the shares in `weights`."""
    weights: ModalityWeights = Field(default_factory=ModalityWeights)
    """Shares for `weighted`; refused with `concat`, which has none."""

    @model_validator(mode="after")
    def _weights_only_where_used(self) -> Self:
        if self.kind == "concat" and "weights" in self.model_fields_set:
            raise ValueError("weights have no effect with kind=concat: leave them out or take kind=weighted")
        return self

    def share(self, modality: Modality) -> float:
        """The share of one modality, before shares are divided by their sum."""
        return 1.0 if self.kind == "concat" else float(getattr(self.weights, modality))


def fusion_name(config: ModalityFusionConfig, names: Mapping[Modality, str]) -> str:
    """`fused@` and a digest of the shares and of the encoders that are fused."""
    parts: dict[str, object] = {m: [names[m], config.share(m)] for m in INPUT_MODALITIES if m in names}
    return encoder_name("fused", parts)


class ModalityFusion:
    """Unit vectors of modalities to one unit vector a video.

    Block m is its unit vector times √share, so the cosine of two videos that have the same
    modalities is the mean of their modalities' cosines, weighted by share. An absent modality
    is a block of zeros, which adds nothing to any product, and the row is then brought to
    length 1: two videos are compared over what they share, and one that lacks a modality
    loses that share of its likeness to those that have it.
    """

    modality: Modality = "fused"
    by_frame = False
    """It takes one vector of the frames."""

    def __init__(
        self, config: ModalityFusionConfig, names: Mapping[Modality, str], dims: Mapping[Modality, int]
    ) -> None:
        """`names` and `dims` are the encoders' whose vectors are fused, by modality; at least one.

        Raises ValueError when there is none, or when every one has a share of 0.
        """
        self.config = config
        self.dims: dict[Modality, int] = {m: dims[m] for m in INPUT_MODALITIES if m in dims}
        if not any(config.share(m) > 0 for m in self.dims):
            raise ValueError("fusion needs at least one encoder with a share above 0")
        self.name = fusion_name(config, names)
        self.dim = sum(self.dims.values())
        self.inputs: tuple[Modality, ...] = tuple(m for m in self.dims if config.share(m) > 0)
        """The modalities of which a video needs one."""

    def fuse(self, parts: Mapping[Modality, Sequence[np.ndarray | None]]) -> Vectors:
        """(N, dim) float32 unit rows from N vectors, or None where absent, for every modality.

        Raises ValueError for a row with no modality of a share above 0, a vector of the wrong
        length, modalities of unequal counts, or one that is missing or was not announced.
        """
        if set(parts) != set(self.dims):
            raise ValueError(f"fusion got {sorted(parts)}, want {sorted(self.dims)}")
        counts = {m: len(rows) for m, rows in parts.items()}
        if len(set(counts.values())) != 1:
            raise ValueError(f"modalities have unequal counts: {counts}")
        fused = np.zeros((next(iter(counts.values())), self.dim), dtype=np.float64)
        start = 0
        for modality, dim in self.dims.items():
            self._fill(fused[:, start : start + dim], modality, parts[modality])
            start += dim
        if len(fused) == 0:
            return fused.astype(np.float32)
        empty = np.flatnonzero(~fused.any(axis=1))
        if len(empty):
            raise ValueError(f"row {empty[0]} has no modality to fuse")
        return unit_rows(fused)

    def _fill(self, block: np.ndarray, modality: Modality, rows: Sequence[np.ndarray | None]) -> None:
        present = [index for index, row in enumerate(rows) if row is not None]
        if not present:
            return
        vectors = np.stack([row for row in rows if row is not None])
        if vectors.shape[1:] != (block.shape[1],):
            raise ValueError(f"{modality} vectors have shape {vectors.shape[1:]}, want ({block.shape[1]},)")
        block[present] = unit_rows(vectors).astype(np.float64) * np.sqrt(self.config.share(modality))
