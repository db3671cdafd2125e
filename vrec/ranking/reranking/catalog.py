"""What a list's order depends on besides predictions: the catalog's facts and the shopper's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent, Vectors

RowIndices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class CatalogArrays:
    """What the catalog says of M videos, a column each. Codes count from 0; −1 stands for none."""

    video_ids: Sequence[str]
    creators: Sequence[str]
    """Names of the codes in `creator`."""
    categories: Sequence[str]
    kinds: Sequence[str]
    creator: RowIndices
    """(M,)."""
    category: RowIndices
    """(M,)."""
    kind: RowIndices
    """(M,)."""
    tags: Sequence[frozenset[str]]
    """Of each video, without regard to case or outer spaces."""
    price: npt.NDArray[np.float32]
    """(M,) NaN where there is none."""
    available: npt.NDArray[np.bool_]
    """(M,)."""
    published_at: Floats
    """(M,) µs since 1970, NaN where it is not known."""
    vectors: Vectors
    """(M, dim) unit rows, zeros where there is none; dim is 0 where no video has one."""
    row_by_id: Mapping[str, int]
    """The row of each video by its id."""

    @classmethod
    def from_content(cls, content: CatalogContent) -> Self:
        """The catalog of VIDEOS, and of EMBEDDINGS where there are any; those of other videos are left out.

        Raises SchemaError, and RankError for a video with two rows or a vector that is not finite.
        """
        if content.videos is None:
            raise RankError("order: no VIDEOS, and so nothing is known of any candidate")
        videos = conform(content.videos, VIDEOS, stage="order", extra=True)
        ids = tuple(videos.column("video_id").to_pylist())
        place = {video_id: row for row, video_id in enumerate(ids)}
        if len(place) < len(ids):
            twice = next(i for row, i in enumerate(ids) if place[i] != row)
            raise RankError(
                f"order: VIDEOS.video_id has {len(ids) - len(place):,} duplicates of {len(ids):,}, such as "
                f"{twice}",
                fix="give every video an id of its own",
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
            price=np.asarray(pc.fill_null(videos.column("price"), np.nan), np.float32),
            available=np.asarray(videos.column("available"), np.bool_),
            published_at=_times(videos.column("published_at")),
            vectors=_vectors(content.embeddings, place),
            row_by_id=place,
        )

    def find(self, video_ids: Sequence[str]) -> RowIndices:
        """(N,) the rows of videos, −1 for those that are not on the catalog."""
        return np.array([self.row_by_id.get(video_id, -1) for video_id in video_ids], np.int64)


@dataclass(frozen=True, slots=True)
class ShopperContext:
    """What is known of one shopper at the moment; a blank one is a stranger."""

    history: Mapping[str, int] = field(default_factory=dict)
    """The videos watched, each with the time in µs of the last watch."""
    bought: Mapping[str, int] = field(default_factory=dict)
    """The videos bought from, each with the time in µs of the last purchase."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """`Profile.counts`, of which `creator:ID` and `category:NAME` are looked at: signs of interest."""
    blocked_videos: frozenset[str] = frozenset()
    blocked_creators: frozenset[str] = frozenset()
    blocked_categories: frozenset[str] = frozenset()
    age: int | None = None
    """The least age in years that was declared or proved; None counts as too young for any age limit."""


def normalize_tag(tag: str) -> str:
    """The tag as age limits compare it: without case and outer spaces."""
    return tag.strip().casefold()


def encode_categories(column: pa.ChunkedArray) -> tuple[RowIndices, tuple[str, ...]]:
    """(N,) a code for each string, −1 for null and the empty one, and the names of the codes."""
    # An empty name is none: logs without creators have it.
    names = pc.unique(column.filter(pc.not_equal(column, "")))
    codes = pc.fill_null(pc.index_in(column, value_set=names, skip_nulls=True), -1)
    return np.asarray(codes).astype(np.int64), tuple(names.to_pylist())


def _times(column: pa.ChunkedArray) -> Floats:
    # Doubles: a float64 holds every µs until the year 2255.
    at = np.asarray(pc.fill_null(column.cast(pa.int64()), 0)).astype(np.float64)
    return np.where(np.asarray(pc.is_valid(column)), at, np.nan)


def _vectors(embeddings: pa.Table | None, place: Mapping[str, int]) -> Vectors:
    if embeddings is None:
        return np.zeros((len(place), 0), np.float32)
    table = conform(embeddings, EMBEDDINGS, stage="order")
    column = table.column("vector").combine_chunks()
    dim = column.type.list_size
    rows = np.asarray(column.flatten(), np.float64).reshape(-1, dim)
    wrong = ~np.isfinite(rows).all(axis=1)
    names = table.column("entity_id").to_pylist()
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise RankError(
            f"order: EMBEDDINGS.vector is not finite in {int(wrong.sum()):,} of {len(rows):,} rows, such as "
            f"{names[first]}",
            fix="embed those videos again",
        )
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = (rows / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    vectors = np.zeros((len(place), dim), np.float32)
    known = [(place[name], row) for row, name in enumerate(names) if name in place]
    if known:
        places, source = np.array(known).T
        vectors[places] = unit[source]
    return vectors
