"""Catalog features: fields, numbers and content vectors of videos, without events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.ranking.features.arrays import CatalogFeatureArrays, Floats, Indices
from vrec.ranking.features.space import BLOCKS, FIELDS, FeatureSpace
from vrec.ranking.features.video_counts import Doubles

NEVER = np.iinfo(np.int64).min
"""Value of `published` where the date is unknown."""
INTEREST_FIELDS = ("category", "creator_id")
"""Fields in which users have interests."""
ROUNDING_GRID = 2.0**20
"""Vectors are rounded to multiples of 1 / ROUNDING_GRID. Products of two such numbers and their sums are
exact in float64, so that a cosine has the same bits in any batch, library and machine (the error is 5e-7)."""


class KeyNumbers(dict[str, int]):
    """Numbers of keys, from 1 in the order in which they came."""

    _names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Keys in the order of their numbers."""
        if len(self._names) < len(self):
            self._names = tuple(self)
        return self._names


@dataclass(frozen=True, eq=False)
class CatalogFeatures:
    """Features of M videos in a feature space; row 0 is the unknown video."""

    space: FeatureSpace
    arrays: CatalogFeatureArrays
    rows: Mapping[str, int]
    """Row by video_id."""
    published: npt.NDArray[np.int64]
    """(M,) µs since 1970, or NEVER."""
    keys: KeyNumbers
    """Number of each key of a creator or category in the counts of users, such as "creator:ann", from 1.
    Catalogs that are made of one another share it: it only grows."""
    interests: Indices
    """(2, M) number of the keys of the category and of the creator, 0 without one."""

    @classmethod
    def from_content(cls, content: CatalogContent, space: FeatureSpace) -> Self:
        """Build the features of all videos in `content` or in the vocabulary of the space.

        A value outside the vocabulary has index 0. A video without a vector has zeros, as have all videos
        where `content` has no embeddings.

        Raises:
            RankError: the embeddings are of another encoder than the space's, or a vector is not finite.
            SchemaError: a table has other columns.
        """
        ids = space.vocabularies["video_id"]
        count = len(ids) + 1
        fields, dense = np.zeros((count, len(FIELDS)), np.int32), _blank_numbers(count)
        fields[:, 0] = np.arange(count)
        dense[0] = 0
        arrays = CatalogFeatureArrays(
            fields=fields,
            tags=np.zeros((count, space.config.tags), np.int32),
            dense=dense,
            vectors=np.zeros((count, space.dim), np.float32),
        )
        rows = {video_id: row for row, video_id in enumerate(ids, start=1)}
        published, interests = np.full(count, NEVER), np.zeros((2, count), np.int32)
        return cls(space, arrays, rows, published, KeyNumbers(), interests).with_videos(content)

    def with_videos(self, content: CatalogContent) -> Self:
        """Return a copy with the videos of `content` added or updated; existing videos keep their rows.

        Nothing is fitted: a new video has id index 0, but its creator, tags, numbers and vector. A video in
        only one table of `content` keeps its features from the other. Errors as in `from_content`.
        """
        added = self._with_rows(content)
        if content.videos is not None:
            added = added._with_table(conform(content.videos, VIDEOS, stage="CatalogFeatures", extra=True))
        if content.embeddings is not None and self.space.dim:
            added = added._with_vectors(conform(content.embeddings, EMBEDDINGS, stage="CatalogFeatures"))
        return added

    def find(self, video_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the (N,) int64 rows of videos, 0 for unknown ones."""
        return np.array([self.rows.get(video_id, 0) for video_id in video_ids], np.int64)

    def restricted_to(self, video_ids: Sequence[str], newer: Self | None = None) -> Self:
        """Return the features of some videos only, from `newer` where it has them, else from this catalog.

        Ranking features built with the copy are equal to the last bit. Videos unknown to both are left out.
        """
        other = self if newer is None else newer
        ids = [i for i in dict.fromkeys(video_ids) if i in self.rows or i in other.rows]
        rows = np.append(0, self.find(ids))
        newer_rows = np.zeros_like(rows) if newer is None else np.append(0, newer.find(ids))
        arrays = {
            name: _merge_rows(getattr(self.arrays, name), rows, getattr(other.arrays, name), newer_rows)
            for name in ("fields", "tags", "dense", "vectors")
        }
        at = {video_id: row for row, video_id in enumerate(ids, start=1)}
        published = _merge_rows(self.published, rows, other.published, newer_rows)
        interests = _merge_rows(self.interests.T, rows, other.interests.T, newer_rows).T
        features = CatalogFeatureArrays(**arrays)
        return type(self)(self.space, features, at, published, self.keys, np.ascontiguousarray(interests))

    @cached_property
    def interest_shares(self) -> Doubles:
        """(2, M) shares of all impressions that the category and the creator have."""
        pairs = [(self.space.shares[name], FIELDS.index(name)) for name in INTEREST_FIELDS]
        return np.stack([shares[self.arrays.fields[:, place]] for shares, place in pairs])

    @cached_property
    def has_vector(self) -> npt.NDArray[np.bool_]:
        """(M,) whether the video has a content vector that is not zeros."""
        return np.asarray(self.arrays.vectors.any(axis=1), np.bool_)

    @cached_property
    def tag_counts(self) -> Doubles:
        """(M,) number of known tags, at least 1."""
        return np.maximum((self.arrays.tags > 0).sum(axis=1), 1.0)

    def __len__(self) -> int:
        return len(self.published)

    def _with_rows(self, content: CatalogContent) -> Self:
        rows = dict(self.rows)
        for ids in content.video_id_columns:
            for video_id in ids.to_pylist():
                rows.setdefault(video_id, len(rows) + 1)
        more = len(rows) + 1 - len(self)
        old = self.arrays
        return replace(
            self,
            rows=rows,
            arrays=CatalogFeatureArrays(
                fields=np.pad(old.fields, ((0, more), (0, 0))),
                tags=np.pad(old.tags, ((0, more), (0, 0))),
                dense=np.concatenate([old.dense, _blank_numbers(more)]),
                vectors=np.pad(old.vectors, ((0, more), (0, 0))),
            ),
            published=np.concatenate([self.published, np.full(more, NEVER)]),
            interests=np.pad(self.interests, ((0, 0), (0, more))),
        )

    def _with_table(self, videos: pa.Table) -> Self:
        at = [self.rows[video_id] for video_id in videos.column("video_id").to_pylist()]
        space, arrays = self.space, self.arrays
        for column, field in enumerate(FIELDS[1:], start=1):
            arrays.fields[at, column] = space.vocabulary_indices(field, videos.column(field))
        arrays.tags[at] = _tags(videos.column("tags").combine_chunks(), space)
        no_vector = np.zeros((len(at), 1))
        raw = np.concatenate([table_numbers(videos), no_vector], axis=1)
        arrays.dense[at, :-1] = space.scaled("video", raw)[:, :-1]
        self.published[at] = np.asarray(pc.fill_null(videos.column("published_at").cast(pa.int64()), NEVER))
        for field, numbers in zip(INTEREST_FIELDS, self.interests, strict=True):
            numbers[at] = self._key_numbers(field, videos.column(field))
        return self

    def _key_numbers(self, field: str, values: pa.ChunkedArray) -> list[int]:
        """Return the number of the key of each value, new ones for new keys; 0 for null."""
        prefix = field.removesuffix("_id")
        names = [None if value is None else f"{prefix}:{value}" for value in values.to_pylist()]
        return [0 if name is None else self.keys.setdefault(name, len(self.keys) + 1) for name in names]

    def _with_vectors(self, embeddings: pa.Table) -> Self:
        space = self.space
        encoder, vectors = content_vectors(embeddings)
        if encoder is not None and (encoder != space.encoder or vectors.shape[1] != space.dim):
            raise RankError(
                f"CatalogFeatures: the embeddings are of {encoder} ({vectors.shape[1]} long), the ranker was "
                f"trained with those of {space.encoder} ({space.dim} long)",
                fix="embed the catalog with the ranker's encoder, or train the ranker again",
            )
        at = [self.rows[video_id] for video_id in embeddings.column("entity_id").to_pylist()]
        self.arrays.vectors[at] = unit_vectors(vectors.astype(np.float64) - space.mean)
        self.arrays.dense[at, -1] = 0
        return self


def _merge_rows(
    old: npt.NDArray[Any], rows: npt.NDArray[np.int64], new: npt.NDArray[Any], new_rows: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return `new[new_rows]` where the new row is not 0, else `old[rows]`."""
    merged = old[rows]
    merged[new_rows > 0] = new[new_rows[new_rows > 0]]
    return merged


def content_vectors(embeddings: pa.Table) -> tuple[str | None, Floats]:
    """Return the encoder of EMBEDDINGS rows, None for an empty table, and their (N, dim) float32 vectors.

    Raises:
        RankError: the rows are of several encoders, or a vector is not finite.
    """
    encoders = sorted(pc.unique(embeddings.column("encoder")).to_pylist())
    if len(encoders) > 1:
        raise RankError(
            f"EMBEDDINGS.encoder has {len(encoders)} values, such as {encoders[0]} and {encoders[1]}",
            fix="pass the embeddings of one encoder",
        )
    column = embeddings.column("vector").combine_chunks()
    vectors = np.asarray(column.flatten(), np.float32).reshape(-1, column.type.list_size)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        example = embeddings.column("entity_id")[int(bad[0])].as_py()
        raise RankError(
            f"EMBEDDINGS.vector is not finite in {len(bad):,} of {len(vectors):,} rows, such as {example}",
            fix="embed those videos again",
        )
    return (encoders[0] if encoders else None), vectors


def unit_vectors(vectors: Doubles) -> Doubles:
    """Return (N, dim) rows scaled to length 1 and rounded to ROUNDING_GRID; rows of zeros stay zeros."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    # Squares of numbers on the grid sum without error in any order: a row does not depend on the others.
    rounded = np.rint(vectors / np.where(largest > 0, largest, 1) * ROUNDING_GRID) / ROUNDING_GRID
    lengths = np.sqrt((rounded * rounded).sum(axis=1, keepdims=True))
    return np.rint(rounded / np.where(lengths > 0, lengths, 1) * ROUNDING_GRID) / ROUNDING_GRID


def table_numbers(videos: pa.Table) -> Doubles:
    """Return (N, 4) numbers of VIDEOS rows: log(1 + duration in s), log(1 + price), each with an indicator.

    A missing value is NaN, and its indicator 1.
    """
    columns: list[Doubles] = []
    for name in ("duration_s", "price"):
        value = np.asarray(videos.column(name).to_numpy(), np.float64)
        known = np.isfinite(value) & (value >= 0)
        columns += [np.log1p(np.where(known, value, np.nan)), (~known).astype(float)]
    return np.stack(columns, axis=1)


def _blank_numbers(count: int) -> Floats:
    blank = [float(name.startswith("no_")) for name in BLOCKS["video"]]
    return np.tile(np.array(blank, np.float32), (count, 1))


def _tags(tags: pa.ListArray, space: FeatureSpace) -> npt.NDArray[np.int32]:
    indices = np.zeros((len(tags), space.config.tags), np.int32)
    rows = np.asarray(pc.list_parent_indices(tags))
    values = space.vocabulary_indices("tags", pc.list_flatten(tags))
    rows, values = rows[values > 0].astype(np.int64), values[values > 0]
    # The n-th known tag of a row goes to column n.
    nth = np.arange(len(rows)) - np.searchsorted(rows, rows)
    fits = nth < space.config.tags
    indices[rows[fits], nth[fits]] = values[fits]
    return indices
