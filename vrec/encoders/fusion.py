"""Fusion of the modalities of a video into one vector: concatenation of weighted unit blocks."""

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.core.types import MODALITIES, Modality, Vectors
from vrec.encoders.digest import encoder_name
from vrec.encoders.vectors import unit_rows

INPUT_MODALITIES: tuple[Modality, ...] = tuple(m for m in MODALITIES if m != "fused")
"""Modalities that are fused, in the order of their blocks: all except the fusion itself."""


class ModalityWeights(BaseConfig):
    """Shares of the modalities in the similarity of two videos that have all of them; only ratios matter."""

    frames: float = Field(default=1.0, ge=0)
    """Share of the frames."""
    audio: float = Field(default=0.5, ge=0)
    """Share of the sound; half by default, since without trained weights it describes timbre, hardly
    content."""
    text: float = Field(default=1.0, ge=0)
    """Share of title and tags."""


class ModalityFusionConfig(BaseConfig):
    """Settings of the fusion of modalities."""

    kind: Literal["concat", "weighted"] = "weighted"
    """`concat` gives every modality the same share, `weighted` the shares in `weights`."""
    weights: ModalityWeights = Field(default_factory=ModalityWeights)
    """Shares of the modalities for `weighted`; refused with `concat`."""

    @model_validator(mode="after")
    def _weights_only_where_used(self) -> Self:
        if self.kind == "concat" and "weights" in self.model_fields_set:
            raise ValueError("weights have no effect with kind=concat: leave them out or take kind=weighted")
        return self

    def share(self, modality: Modality) -> float:
        """Return the share of one modality, before shares are divided by their sum."""
        return 1.0 if self.kind == "concat" else float(getattr(self.weights, modality))


def fusion_name(config: ModalityFusionConfig, names: Mapping[Modality, str]) -> str:
    """Return `fused@` and a digest of the shares and of the fused encoders."""
    parts: dict[str, object] = {m: [names[m], config.share(m)] for m in INPUT_MODALITIES if m in names}
    return encoder_name("fused", parts)


class ModalityFusion:
    """Fusion of the unit vectors of modalities into one unit vector per video.

    Block m is its unit vector times √share, so the cosine of two videos that have the same
    modalities is the mean of their modalities' cosines, weighted by share. An absent modality
    is a block of zeros, which adds nothing to any product, and the row is then normalized to
    length 1: two videos are compared over the modalities they share, and one that lacks a modality
    loses that share of its similarity to those that have it.
    """

    modality: Modality = "fused"
    by_frame = False
    """Whether it takes a vector per frame: it takes one vector for all frames."""

    def __init__(
        self, config: ModalityFusionConfig, names: Mapping[Modality, str], dims: Mapping[Modality, int]
    ) -> None:
        """Fuse the vectors of at least one encoder.

        Args:
            config: Kind and shares.
            names: Names of the encoders by modality.
            dims: Lengths of their vectors by modality.

        Raises:
            ValueError: There is no encoder, or every one has a share of 0.
        """
        self.config = config
        self.dims: dict[Modality, int] = {m: dims[m] for m in INPUT_MODALITIES if m in dims}
        if not any(config.share(m) > 0 for m in self.dims):
            raise ValueError("fusion needs at least one encoder with a share above 0")
        self.name = fusion_name(config, names)
        self.dim = sum(self.dims.values())
        self.inputs: tuple[Modality, ...] = tuple(m for m in self.dims if config.share(m) > 0)
        """Modalities of which a video needs at least one."""

    def fuse(self, parts: Mapping[Modality, Sequence[np.ndarray | None]]) -> Vectors:
        """Fuse N videos.

        Args:
            parts: N vectors (dim of the modality,) by modality, None where a video lacks it.

        Returns:
            (N, dim) float32 unit rows.

        Raises:
            ValueError: A row has no modality with a share above 0, a vector has the wrong length, modalities
                have unequal counts, or the modalities are not those of the encoders.
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
