"""Frozen features of the videos of a catalog, saved so that heads train without decoding again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import FitError, ModelError
from vrec.core.types import Modality, Vectors
from vrec.encoders.digest import arrays_digest
from vrec.encoders.fusion import INPUT_MODALITIES
from vrec.encoders.vectors import unit_rows

KIND = "features"
FIX = "make the features again with `vrec train encoder`, without --features"


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Frozen features of N videos. A modality that none of them has is of length 0.

    Raises:
        FitError: Arrays do not match each other, ids are not sorted and unique, or numbers are not finite.
    """

    video_ids: tuple[str, ...]
    """(N,) ids, sorted and unique."""
    frames: npt.NDArray[np.float16]
    """(N, V, T, D) features of each frame, in time order; view 0 is the video itself, the others are of
    augmented frames. Zeros where a video has fewer frames."""
    lengths: npt.NDArray[np.int16]
    """(N,) number of frames, 0 to T."""
    audio: Vectors
    """(N, D) unit rows, or zeros where a video has no sound."""
    text: Vectors
    """(N, D) unit rows, or zeros where a video has no text."""
    has: Mapping[Modality, npt.NDArray[np.bool_]]
    """(N,) whether a video has a modality."""
    names: Mapping[Modality, str]
    """Name of the encoder of each modality."""
    embed: Mapping[str, Any] = field(default_factory=dict)
    """EmbedConfig, as JSON values, that made them; empty where they come from embeddings."""

    def __post_init__(self) -> None:
        self._check_shapes()
        if any(a >= b for a, b in zip(self.video_ids, self.video_ids[1:], strict=False)):
            raise FitError("features: video_ids are not sorted and unique", fix=FIX)
        for modality in self.dims:
            rows = self.frames if modality == "frames" else getattr(self, modality)
            bad = np.flatnonzero(~np.isfinite(rows).reshape(len(rows), -1).all(axis=1))
            if len(bad):
                raise FitError(
                    f"features: {modality} of {len(bad):,} videos are not finite numbers, the first is "
                    f"{self.video_ids[bad[0]]}",
                    fix=FIX,
                )

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    def dims(self) -> dict[Modality, int]:
        """Lengths of the features by modality, without modalities that no video has."""
        return {m: w for m in INPUT_MODALITIES if (w := getattr(self, m).shape[-1]) and self.has[m].any()}

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that differ whenever ids, numbers, names or config do."""
        about = {"ids": self.video_ids, "names": dict(self.names), "embed": dict(self.embed)}
        return arrays_digest(self._arrays(), header=json.dumps(about, sort_keys=True))[:12]

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Return the features of some videos, given by their rows in ascending order."""
        at = np.asarray(indices, dtype=np.int64)
        return type(self)(
            tuple(self.video_ids[i] for i in at),
            self.frames[at],
            self.lengths[at],
            self.audio[at],
            self.text[at],
            {modality: has[at] for modality, has in self.has.items()},
            self.names,
            self.embed,
        )

    def save(self, uri: str) -> None:
        """Write the features as a folder."""
        about = {"names": dict(self.names), "embed": dict(self.embed)}
        videos = pa.table({"video_id": pa.array(self.video_ids, pa.string())})
        data = {"fingerprint": self.fingerprint, "videos": len(self)}
        write_artifact(uri, ModelArtifact(KIND, about, self._arrays(), {"videos": videos}, data=data))

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load features that `save` wrote; raise ModelError for a missing or invalid folder."""
        artifact = read_artifact(uri, KIND)
        arrays = artifact.arrays
        try:
            return cls(
                tuple(artifact.tables["videos"].column("video_id").to_pylist()),
                arrays["frames"],
                arrays["lengths"],
                arrays["audio"],
                arrays["text"],
                {m: arrays[f"has_{m}"] for m in INPUT_MODALITIES},
                artifact.config["names"],
                artifact.config["embed"],
            )
        except (KeyError, FitError) as error:
            raise ModelError(f"{uri} holds no valid features: {error}", fix=FIX) from None

    @classmethod
    def from_embeddings(
        cls,
        ids: Sequence[str],
        vectors: Mapping[Modality, npt.NDArray[np.floating]],
        names: Mapping[Modality, str],
        embed: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return features made from embeddings: one view with one frame per video, sorted by id.

        Args:
            ids: N video ids in any order.
            vectors: (N, D) rows by modality in the order of `ids`; zeros where a video lacks the modality.
            names: Names of the encoders by modality.
            embed: EmbedConfig, as JSON values, that made the embeddings.
        """
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
        rows = {m: _reordered(vectors.get(m), order) for m in INPUT_MODALITIES}
        has: dict[Modality, npt.NDArray[np.bool_]] = {m: (rows[m] != 0).any(axis=1) for m in INPUT_MODALITIES}
        return cls(
            tuple(ids[int(index)] for index in order),
            rows["frames"][:, None, None, :].astype(np.float16),
            has["frames"].astype(np.int16),
            rows["audio"],
            rows["text"],
            has,
            {m: names[m] for m in INPUT_MODALITIES if m in vectors},
            embed or {},
        )

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays = {name: getattr(self, name) for name in ("frames", "lengths", "audio", "text")}
        return arrays | {f"has_{m}": self.has[m] for m in INPUT_MODALITIES}

    def _check_shapes(self) -> None:
        count, frames = len(self.video_ids), self.frames
        wrong: list[str] = []
        if frames.ndim != 4 or len(frames) != count or frames.dtype != np.float16 or frames.shape[1] < 1:
            wrong.append(f"frames are {frames.dtype} {frames.shape}, want float16 ({count}, V, T, D)")
        for name, kind, axes in (("lengths", np.int16, 1), ("audio", np.float32, 2), ("text", np.float32, 2)):
            array = getattr(self, name)
            if array.ndim != axes or len(array) != count or array.dtype != kind:
                wrong.append(f"{name} is {array.dtype} {array.shape}, want {np.dtype(kind)} of {count} rows")
        for m in INPUT_MODALITIES:
            if m not in self.has or self.has[m].shape != (count,) or self.has[m].dtype != np.bool_:
                wrong.append(f"has[{m}] is not (N,) bool")
            elif self.has[m].any() and (getattr(self, m).shape[-1] == 0 or m not in self.names):
                wrong.append(f"videos have {m}, but its vectors or the name of its encoder are missing")
        if not wrong and not np.array_equal(self.has["frames"], self.lengths > 0):
            wrong.append("has[frames] is not lengths > 0")
        if not wrong and count and not 0 <= self.lengths.min() <= self.lengths.max() <= frames.shape[2]:
            wrong.append(f"lengths go to {self.lengths.max()}, but there are {frames.shape[2]} frames")
        if wrong:
            raise FitError(f"features: {'; '.join(wrong)}", fix=FIX)


def _reordered(vectors: npt.NDArray[np.floating] | None, order: npt.NDArray[np.int64]) -> Vectors:
    """Return (N, D) unit rows in a new order; rows of zeros stay zero, and None becomes (N, 0)."""
    if vectors is None:
        return np.zeros((len(order), 0), np.float32)
    rows = np.asarray(vectors)[order]
    # Rows that are not finite stay so: FeatureSet refuses them and names the video.
    out = np.where(np.isfinite(rows), 0, np.nan).astype(np.float32)
    present = rows.any(axis=1) & np.isfinite(rows).all(axis=1)
    out[present] = unit_rows(rows[present])
    return out
