"""Catalog columns that grow: new rows are appended, existing rows never change."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.pauses import pause_if_due
from vrec.core.schema import VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, encode_categories
from vrec.serving.streams.states import STREAM_URI

Mask = npt.NDArray[np.bool_]

CODED_COLUMNS = ("creator", "category", "kind", "language")
PLAIN_COLUMNS = ("price", "available", "published_at", "expires_at", "vectors", "is_stream")
FURTHER_COLUMNS = ("video_counts", "arrived")


class OverlayMapping(Mapping[str, int]):
    """Row by id: rows in `changed` replace those in `base`, and −1 in `changed` marks a removed id."""

    def __init__(self, base: Mapping[str, int], changed: Mapping[str, int]) -> None:
        self.base, self.changed = base, changed

    def get(self, key: str, default: Any = None) -> Any:
        """Return the row of an id, or the default."""
        row = self.changed.get(key)
        if row is None:
            return self.base.get(key, default)
        return default if row < 0 else row

    def __getitem__(self, key: str) -> int:
        row = self.get(key, -1)
        if row < 0:
            raise KeyError(key)
        return row

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self.base if key not in self.changed)
        yield from (key for key, row in self.changed.items() if row >= 0)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class CategoryCodes:
    """Names and their codes, from 0; new names are appended."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.codes = {name: code for code, name in enumerate(self.names)}

    def recode(self, codes: RowIndices, names: Sequence[str]) -> RowIndices:
        """Translate (N,) codes of `names` into codes of this object, adding unknown names; −1 stays −1."""
        for name in names:
            if name not in self.codes:
                self.codes[name] = len(self.names)
                self.names.append(name)
        return np.array([*(self.codes[name] for name in names), -1], np.int64)[codes]


@dataclass(frozen=True, eq=False, slots=True)
class FilterColumns:
    """Catalog arrays of M videos and the further columns that requests filter by."""

    catalog: CatalogArrays
    language: RowIndices
    """(M,) codes, −1 for none."""
    languages: Sequence[str]
    """Languages by code."""
    is_stream: Mask
    """(M,) whether it is a live stream, which may be over."""

    @classmethod
    def from_content(cls, content: CatalogContent) -> Self:
        """Build the columns from VIDEOS and EMBEDDINGS; raises as `CatalogArrays.from_content`.

        Videos of `other_domains` are not available: they tell what shoppers like, and are in no list.
        """
        catalog = CatalogArrays.from_content(content)
        assert content.videos is not None
        if content.other_domains:
            others = pa.array(content.other_domains, pa.string())
            is_other = np.asarray(pc.is_in(content.videos.column("domain"), value_set=others))
            catalog = replace(catalog, available=catalog.available & ~is_other)
        videos = conform(content.videos, VIDEOS, stage="serving", extra=True)
        is_stream = np.asarray(pc.starts_with(videos.column("uri"), STREAM_URI))
        return cls(catalog, *encode_categories(videos.column("language")), is_stream)


class GrowableColumns:
    """Columns and counts of N videos in arrays that grow.

    Readers that hold the first n rows keep a valid view whatever is added. A changed video gets a new row, so
    readers of its old row are not disturbed. Only one thread may add rows at a time.
    """

    def __init__(self, columns: FilterColumns, video_counts: Doubles, spare: int) -> None:
        """Copy columns and (N, len(VIDEO_COUNT_KEYS)) counts into arrays with `spare` rows more.

        The column "arrived" has the times at which added videos arrived, µs since 1970.
        """
        count = len(columns.catalog.video_ids)
        self._names = {
            "creator": CategoryCodes(columns.catalog.creators),
            "category": CategoryCodes(columns.catalog.categories),
            "kind": CategoryCodes(columns.catalog.kinds),
            "language": CategoryCodes(columns.languages),
        }
        self._arrays = {
            name: np.concatenate([array, np.zeros((spare, *array.shape[1:]), array.dtype)])
            for name, array in _arrays_by_name(columns, video_counts, np.zeros(count, np.int64)).items()
        }
        self.ids, self.tags = list(columns.catalog.video_ids), list(columns.catalog.tags)
        self._added_by_tag: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spare_rows(self) -> int:
        """Number of rows that can still be added."""
        return len(self._arrays["price"]) - len(self.ids)

    def add(self, columns: FilterColumns, video_counts: Doubles, arrived: RowIndices) -> int:
        """Append videos that arrived at (N,) times and return the row of the first.

        There must be enough spare rows.
        """
        start, catalog = len(self), columns.catalog
        arrays = _arrays_by_name(columns, video_counts, arrived)
        names = (catalog.creators, catalog.categories, catalog.kinds, columns.languages)
        for name, own in zip(CODED_COLUMNS, names, strict=True):
            arrays[name] = self._names[name].recode(arrays[name], own)
        for name, array in arrays.items():
            self._arrays[name][start : start + len(array)] = array
        for row, tags in enumerate(catalog.tags, start):
            for tag in tags:
                self._added_by_tag.setdefault(tag, []).append(row)
        self.ids += catalog.video_ids
        self.tags += catalog.tags
        return start

    def compacted(self, base: int, kept: RowIndices, spare: int) -> Self:
        """Return a copy of the first `base` rows and the (N,) kept ones of the others, with spare rows."""
        other = object.__new__(type(self))
        other._names = {name: CategoryCodes(codes.names) for name, codes in self._names.items()}
        other._arrays = {}
        for name, array in self._arrays.items():
            grown = np.zeros((base + len(kept) + spare, *array.shape[1:]), array.dtype)
            grown[:base], grown[base : base + len(kept)] = array[:base], array[kept]
            other._arrays[name] = grown
            pause_if_due()
        numbers: list[int] = kept.tolist()
        other.ids = [*self.ids[:base], *(self.ids[row] for row in numbers)]
        other.tags = [*self.tags[:base], *(self.tags[row] for row in numbers)]
        place = {row: to for to, row in enumerate(numbers, base)}
        other._added_by_tag = {
            tag: [place[row] for row in rows if row in place] for tag, rows in self._added_by_tag.items()
        }
        pause_if_due()
        return other

    def added_with(self, tags: Collection[str], count: int) -> RowIndices:
        """Return those of the first `count` rows that were added with one of some tags, in any order."""
        found = [self._added_by_tag[tag] for tag in tags if tag in self._added_by_tag]
        # Rows ascend, and those of later snapshots come last.
        kept = [rows[: bisect_left(rows, count)] for rows in found]
        return np.array([row for rows in kept for row in rows], np.int64)

    def codes(self, name: str) -> Mapping[str, int]:
        """Return the code of each name in a coded column."""
        return self._names[name].codes

    def names(self, name: str) -> Sequence[str]:
        """Return the names by code in a coded column."""
        return self._names[name].names

    def column(self, name: str, count: int) -> npt.NDArray[Any]:
        """Return the first `count` rows of a column as a view."""
        return self._arrays[name][:count]

    def catalog_arrays(self, count: int, row_by_id: Mapping[str, int]) -> CatalogArrays:
        """Return the first `count` rows as catalog arrays with the given row of each id."""
        return CatalogArrays(
            video_ids=self.ids,
            creators=self._names["creator"].names,
            categories=self._names["category"].names,
            kinds=self._names["kind"].names,
            creator=self.column("creator", count),
            category=self.column("category", count),
            kind=self.column("kind", count),
            tags=self.tags,
            price=self.column("price", count),
            available=self.column("available", count),
            published_at=self.column("published_at", count),
            expires_at=self.column("expires_at", count),
            vectors=self.column("vectors", count),
            row_by_id=row_by_id,
        )


def zero_counts(count: int) -> Doubles:
    """Return (count, len(VIDEO_COUNT_KEYS)) zeros, the counts of videos without events."""
    return np.zeros((count, len(VIDEO_COUNT_KEYS)))


def _arrays_by_name(
    columns: FilterColumns, video_counts: Doubles, arrived: RowIndices
) -> dict[str, npt.NDArray[Any]]:
    catalog = columns.catalog
    coded = (catalog.creator, catalog.category, catalog.kind, columns.language)
    times = (catalog.published_at, catalog.expires_at)
    plain = (catalog.price, catalog.available, *times, catalog.vectors, columns.is_stream)
    arrays = (*coded, *plain, video_counts, arrived)
    return dict(zip((*CODED_COLUMNS, *PLAIN_COLUMNS, *FURTHER_COLUMNS), arrays, strict=True))
