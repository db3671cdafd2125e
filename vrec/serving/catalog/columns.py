"""What a catalogue says of its videos as columns that grow: new rows at the end, old ones as they were."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.schema import VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, encode_categories

Mask = npt.NDArray[np.bool_]

CODED_COLUMNS = ("creator", "category", "kind", "language")
PLAIN_COLUMNS = ("price", "available", "published_at", "vectors", "states")


class OverlayMapping(Mapping[str, int]):
    """Rows by id: those of `top`, where −1 says that there is none any more, and else those of `base`."""

    def __init__(self, base: Mapping[str, int], top: Mapping[str, int]) -> None:
        self.base, self.top = base, top

    def get(self, key: str, default: Any = None) -> Any:
        """The row of an id, or the default."""
        row = self.top.get(key)
        if row is None:
            return self.base.get(key, default)
        return default if row < 0 else row

    def __getitem__(self, key: str) -> int:
        row = self.get(key, -1)
        if row < 0:
            raise KeyError(key)
        return row

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self.base if key not in self.top)
        yield from (key for key, row in self.top.items() if row >= 0)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class CategoryCodes:
    """Names and their codes, from 0; new ones are added at the end."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.codes = {name: code for code, name in enumerate(self.names)}

    def recode(self, codes: RowIndices, names: Sequence[str]) -> RowIndices:
        """(N,) codes of other names as codes of these; −1 stays."""
        for name in names:
            if name not in self.codes:
                self.codes[name] = len(self.names)
                self.names.append(name)
        return np.array([*(self.codes[name] for name in names), -1], np.int64)[codes]


@dataclass(frozen=True, eq=False, slots=True)
class FilterColumns:
    """A shelf, and what requests filter by besides."""

    catalog: CatalogArrays
    language: RowIndices
    """(M,) codes, −1 for none."""
    languages: Sequence[str]

    @classmethod
    def from_content(cls, content: CatalogContent) -> Self:
        """The facts in VIDEOS and EMBEDDINGS; raises as `Shelf.of`."""
        shelf = CatalogArrays.from_content(content)
        assert content.videos is not None
        videos = conform(content.videos, VIDEOS, stage="serving", extra=True)
        return cls(shelf, *encode_categories(videos.column("language")))


class GrowableColumns:
    """The facts and counts of N videos in arrays that grow.

    Who holds the first n rows goes on to do so whatever is added. A video that changes gets a new row, so
    that those who know the old one are not disturbed. One thread adds at a time.
    """

    def __init__(self, facts: FilterColumns, states: Doubles, spare: int) -> None:
        """Copies facts and (N, len(STATE)) states into arrays with `room` for more."""
        self._names = {
            "creator": CategoryCodes(facts.catalog.creators),
            "category": CategoryCodes(facts.catalog.categories),
            "kind": CategoryCodes(facts.catalog.kinds),
            "language": CategoryCodes(facts.languages),
        }
        self._arrays = {
            name: np.concatenate([array, np.zeros((spare, *array.shape[1:]), array.dtype)])
            for name, array in _columns(facts, states).items()
        }
        self.ids, self.tags = list(facts.catalog.video_ids), list(facts.catalog.tags)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def spare_rows(self) -> int:
        """How many rows can be added."""
        return len(self._arrays["price"]) - len(self.ids)

    def add(self, facts: FilterColumns, states: Doubles) -> int:
        """The row of the first video added; there must be room."""
        start, shelf, columns = len(self), facts.catalog, _columns(facts, states)
        names = (shelf.creators, shelf.categories, shelf.kinds, facts.languages)
        for name, own in zip(CODED_COLUMNS, names, strict=True):
            columns[name] = self._names[name].recode(columns[name], own)
        for name, column in columns.items():
            self._arrays[name][start : start + len(column)] = column
        self.ids += shelf.video_ids
        self.tags += shelf.tags
        return start

    def codes(self, name: str) -> Mapping[str, int]:
        """The codes of a column's names."""
        return self._names[name].codes

    def column(self, name: str, count: int) -> npt.NDArray[Any]:
        """The first `count` rows of a column: no copy."""
        return self._arrays[name][:count]

    def catalog_arrays(self, count: int, place: Mapping[str, int]) -> CatalogArrays:
        """The first `count` rows as a shelf on which ids have these places."""
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
            vectors=self.column("vectors", count),
            row_by_id=place,
        )


def zero_counts(count: int) -> Doubles:
    """(count, len(STATE)) zeros: the counts of videos without events."""
    return np.zeros((count, len(VIDEO_COUNT_KEYS)))


def concat_videos(rows: Sequence[pa.Table]) -> pa.Table:
    """VIDEOS rows as one table; raises SchemaError."""
    if not all(row.schema.equals(rows[0].schema) for row in rows):
        rows = [conform(row, VIDEOS, stage="serving", extra=True) for row in rows]
    return conform(pa.concat_tables(rows), VIDEOS, stage="serving", extra=True)


def _columns(facts: FilterColumns, states: Doubles) -> dict[str, npt.NDArray[Any]]:
    shelf = facts.catalog
    coded = (shelf.creator, shelf.category, shelf.kind, facts.language)
    plain = (shelf.price, shelf.available, shelf.published_at, shelf.vectors, states)
    return dict(zip((*CODED_COLUMNS, *PLAIN_COLUMNS), (*coded, *plain), strict=True))
