"""Inputs of reranking besides predictions: catalog columns and the context of the shopper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.checks import find_bad_rows
from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent, Vectors

RowIndices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class CatalogArrays:
    """Catalog of M videos as arrays. Codes count from 0; −1 stands for none."""

    video_ids: Sequence[str]
    creators: Sequence[str]
    """Creator ids by code."""
    categories: Sequence[str]
    """Category names by code."""
    kinds: Sequence[str]
    """Kinds by code."""
    creator: RowIndices
    """(M,) creator codes."""
    category: RowIndices
    """(M,) category codes."""
    kind: RowIndices
    """(M,) kind codes."""
    tags: Sequence[frozenset[str]]
    """Tags of each video, as `normalize_tag` gives them."""
    price: Floats
    """(M,) price, NaN where there is none."""
    available: npt.NDArray[np.bool_]
    """(M,) whether the video is available."""
    published_at: Floats
    """(M,) µs since 1970, NaN where unknown."""
    expires_at: Floats
    """(M,) µs since 1970, NaN for videos that do not expire."""
    vectors: Vectors
    """(M, dim) unit rows, zeros where there is none; dim is 0 where no video has one."""
    row_by_id: Mapping[str, int]
    """Row by video_id."""

    @classmethod
    def from_content(cls, content: CatalogContent) -> Self:
        """Build the arrays from VIDEOS, and EMBEDDINGS if given; embeddings of other videos are ignored.

        Raises:
            RankError: VIDEOS is missing, a video has several rows, or a vector is not finite.
            SchemaError: a table has other columns.
        """
        if content.videos is None:
            raise RankError(
                "reranking: there are no VIDEOS, so that all candidates are unknown",
                fix="pass a VIDEOS table",
            )
        videos = conform(content.videos, VIDEOS, stage="reranking", extra=True)
        ids = tuple(videos.column("video_id").to_pylist())
        row_by_id = {video_id: row for row, video_id in enumerate(ids)}
        if len(row_by_id) < len(ids):
            twice = next(i for row, i in enumerate(ids) if row_by_id[i] != row)
            raise RankError(
                f"reranking: VIDEOS.video_id has {len(ids) - len(row_by_id):,} duplicates of {len(ids):,}, "
                f"such as {twice}",
                fix="give every video a unique id",
            )
        creator, creators = encode_categories(videos.column("creator_id"))
        category, categories = encode_categories(videos.column("category"))
        kind, kinds = encode_categories(videos.column("kind"))
        return cls(
            video_ids=ids,
            creators=creators,
            categories=categories,
            kinds=kinds,
            creator=creator,
            category=category,
            kind=kind,
            tags=tuple(
                frozenset(normalize_tag(tag) for tag in tags if tag)
                for tags in videos.column("tags").to_pylist()
            ),
            price=np.asarray(pc.fill_null(videos.column("price"), np.nan), np.float64),
            available=np.asarray(videos.column("available"), np.bool_),
            published_at=_times(videos.column("published_at")),
            expires_at=_times(videos.column("expires_at")),
            vectors=_vectors(content.embeddings, row_by_id),
            row_by_id=row_by_id,
        )

    def find(self, video_ids: Sequence[str]) -> RowIndices:
        """Return the (N,) int64 rows of videos, −1 for unknown ones."""
        return np.array([self.row_by_id.get(video_id, -1) for video_id in video_ids], np.int64)


@dataclass(frozen=True, slots=True)
class ShopperContext:
    """State of one shopper at the time of the request; blank for an unknown shopper."""

    history: Mapping[str, int] = field(default_factory=dict)
    """Time of the last event that showed interest, in µs since 1970, by video_id."""
    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Kinds of those events by video_id, such as watch and like."""
    bought: Mapping[str, int] = field(default_factory=dict)
    """Time of the last purchase in µs since 1970, by video_id."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """`Profile.counts`, of which `creator:ID` and `category:NAME` are used: numbers of interest events."""
    blocked_videos: frozenset[str] = frozenset()
    blocked_creators: frozenset[str] = frozenset()
    blocked_categories: frozenset[str] = frozenset()
    age: int | None = None
    """Declared or verified minimum age in years; None counts as too young for any age limit."""


def normalize_tag(tag: str) -> str:
    """Normalize a tag for comparison with age limits: case-folded, without outer spaces."""
    return tag.strip().casefold()


def encode_categories(column: pa.ChunkedArray) -> tuple[RowIndices, tuple[str, ...]]:
    """Return (N,) int64 codes of strings, −1 for null and empty ones, and the strings by code."""
    # Logs without creators have empty names.
    names = pc.unique(column.filter(pc.not_equal(column, "")))
    codes = pc.fill_null(pc.index_in(column, value_set=names, skip_nulls=True), -1)
    return np.asarray(codes).astype(np.int64), tuple(names.to_pylist())


def _times(column: pa.ChunkedArray) -> Floats:
    # A float64 holds every µs exactly until the year 2255.
    at = np.asarray(pc.fill_null(column.cast(pa.int64()), 0)).astype(np.float64)
    return np.where(np.asarray(pc.is_valid(column)), at, np.nan)


def _vectors(embeddings: pa.Table | None, row_by_id: Mapping[str, int]) -> Vectors:
    if embeddings is None:
        return np.zeros((len(row_by_id), 0), np.float32)
    table = conform(embeddings, EMBEDDINGS, stage="reranking")
    column = table.column("vector").combine_chunks()
    dim = column.type.list_size
    rows = np.asarray(column.flatten(), np.float64).reshape(-1, dim)
    names = table.column("entity_id").to_pylist()
    if bad := find_bad_rows(~np.isfinite(rows).all(axis=1)):
        raise RankError(
            f"reranking: EMBEDDINGS.vector is not finite in {bad.count:,} of {len(rows):,} rows, "
            f"such as {names[bad.first]}",
            fix="embed those videos again",
        )
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    vectors = np.zeros((len(row_by_id), dim), np.float32)
    known = [(row_by_id[name], row) for row, name in enumerate(names) if name in row_by_id]
    if known:
        targets, sources = np.array(known).T
        vectors[targets] = unit[sources]
    return vectors
