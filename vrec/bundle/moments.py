"""Moments of a bundle's videos: their indexes by modality, read and written as one component."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.core.moments import MOMENTS
from vrec.core.schema import conform
from vrec.core.types import Modality
from vrec.encoders.moments.encode import MOMENT_MODALITIES
from vrec.retrieval.index.moments import MomentIndex

KIND = "moments"


@dataclass(frozen=True, eq=False)
class CatalogMoments:
    """Indexes of a catalog's moments."""

    indexes: Mapping[Modality, MomentIndex]
    """By modality, those that have moments."""

    @property
    def joint(self) -> bool:
        """True if texts can be compared with the pictures."""
        index = self.indexes.get("frames")
        return index is not None and index.encoder.startswith("joint@")

    def __len__(self) -> int:
        return sum(len(index) for index in self.indexes.values())

    def save(self, uri: str) -> None:
        """Write the indexes to a folder."""
        arrays: Arrays = {}
        tables: dict[str, pa.Table] = {}
        for modality, index in self.indexes.items():
            own, ids, texts = index.to_arrays()
            arrays |= {f"{modality}.{name}": array for name, array in own.items()}
            tables[f"{modality}_videos"] = pa.table({"video_id": pa.array(ids, pa.string())})
            if texts is not None:
                tables[f"{modality}_texts"] = pa.table({"text": pa.array(texts, pa.string())})
        data = {"encoders": {modality: index.encoder for modality, index in self.indexes.items()}}
        write_artifact(uri, ModelArtifact(KIND, {}, arrays, tables, data=data))

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the indexes of a folder; raise ModelError if they are damaged."""
        artifact = read_artifact(uri, KIND)
        indexes: dict[Modality, MomentIndex] = {}
        for modality in MOMENT_MODALITIES:
            encoder = artifact.data["encoders"].get(modality)
            if encoder is None:
                continue
            prefix = f"{modality}."
            own = {k.removeprefix(prefix): v for k, v in artifact.arrays.items() if k.startswith(prefix)}
            ids = artifact.tables[f"{modality}_videos"].column("video_id").to_pylist()
            texts = artifact.tables.get(f"{modality}_texts")
            words = None if texts is None else texts.column("text").to_pylist()
            indexes[modality] = MomentIndex.from_arrays(encoder, own, ids, words)
        return cls(indexes)


def index_moments(
    tables: Mapping[Modality, pa.Table | None], videos: pa.Array, encoders: Mapping[Modality, str]
) -> CatalogMoments | None:
    """Check MOMENTS by modality and return their indexes; None where no video has any.

    Args:
        tables: MOMENTS rows of each modality; those of videos that are not in the bundle are left out.
        videos: Ids of the bundle's videos.
        encoders: Names of the encoders with which the service will encode what moments are compared with.

    Raises:
        BundleError: They are of other encoders, or not finite.
        SchemaError: The columns of a table are not those of MOMENTS.
    """
    indexes: dict[Modality, MomentIndex] = {}
    for modality, table in tables.items():
        if table is None:
            continue
        rows = conform(table, MOMENTS, stage=f"bundle, {modality} moments")
        rows = rows.filter(pc.is_in(rows.column("video_id"), value_set=videos))
        if rows.num_rows:
            _check_moments(rows, modality, encoders.get(modality))
            indexes[modality] = MomentIndex.from_table(rows)
    return CatalogMoments(indexes) if indexes else None


def _check_moments(rows: pa.Table, modality: Modality, encoder: str | None) -> None:
    found = sorted(pc.unique(rows.column("encoder")).to_pylist())
    if found != [encoder]:
        raise BundleError(
            f"the {modality} moments are of {', '.join(found)}, and these settings of the encoders make "
            f"those of {encoder or 'none'}",
            fix="embed the catalog again with --moments and these settings, or leave --moments out",
        )
    start_s, end_s, scale = (rows.column(name).to_numpy() for name in ("start_s", "end_s", "scale"))
    # Written so that what is not a number is wrong.
    good = (start_s >= 0) & (end_s >= start_s) & np.isfinite(end_s) & (scale > 0) & np.isfinite(scale)
    if not good.all():
        bad = rows.column("video_id")[int(np.flatnonzero(~good)[0])].as_py()
        raise BundleError(
            f"the {modality} moments of {bad} have times or scales that cannot be right",
            fix="embed that video again",
        )
