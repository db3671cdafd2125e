"""Creators of a snapshot of the catalog, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from vrec.core.types import Vectors
from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.creators.figures import CreatorFigures

LIVE_KIND = "live"
"""VIDEOS.kind of streams; whoever has one is a streamer."""


@dataclass(frozen=True, eq=False, slots=True)
class CreatorTable:
    """C creators of all videos of a snapshot, in the order of the catalog's codes."""

    snapshot: CatalogSnapshot
    figures: CreatorFigures
    names: Sequence[str]
    videos: RowIndices
    """(C,) number of videos, streams too."""
    streams: RowIndices
    """(C,) number of streams, live or over."""
    vectors: Vectors
    """(C, dim) unit means of their videos' vectors, zeros where no video has one."""
    quality: Floats
    """(C,) `CreatorFigures.quality`."""
    impressions: Floats
    """(C,) impressions of their videos when the bundle was made."""
    streaming: Mask
    """(N,) whether a row of the snapshot is a stream."""

    def named(self, codes: RowIndices) -> list[str]:
        """Return the ids of creators by their codes."""
        code_list: list[int] = codes.tolist()
        return [self.names[code] for code in code_list]

    @classmethod
    def from_snapshot(cls, snapshot: CatalogSnapshot, figures: CreatorFigures) -> Self:
        """Build the table; it takes time in proportion to the catalog."""
        catalog, names = snapshot.catalog, list(snapshot.catalog.creators)
        rows = np.flatnonzero(snapshot.listed & (catalog.creator >= 0))
        codes, size = catalog.creator[rows], len(names)
        live = [code for code, kind in enumerate(catalog.kinds) if kind == LIVE_KIND]
        streaming = np.isin(catalog.kind, live)
        shape = (size, len(catalog.creator))
        by_creator = sparse.csr_matrix((np.ones(len(rows), np.float32), (codes, rows)), shape)
        vectors = np.asarray(by_creator @ catalog.vectors, np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return cls(
            snapshot=snapshot,
            figures=figures,
            names=names,
            videos=np.bincount(codes, minlength=size),
            streams=np.bincount(codes[streaming[rows]], minlength=size),
            vectors=(vectors / np.where(norms > 0, norms, 1)).astype(np.float32),
            quality=figures.quality(names),
            impressions=figures.impressions(names),
            streaming=streaming,
        )
