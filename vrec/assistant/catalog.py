"""Catalog as a conversation needs it: which videos fit a query, and what may be said of them."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vrec.assistant.lexicon import NEAR, ShopLexicon
from vrec.assistant.query import FACETS, FILTERED, Facet, ShoppingQuery
from vrec.assistant.text import normal_form, stems_of
from vrec.assistant.vocabulary import ATTRIBUTE_NAMES, PRODUCT_NAMES
from vrec.core.pauses import pause_if_due

Mask = npt.NDArray[np.bool_]
"""(videos,) bool."""
Rows = npt.NDArray[np.int64]
"""Ascending rows of videos."""
_NO_ROWS = np.zeros(0, np.int64)
COLUMNS = ("video_id", "title", "tags", "category", "creator_id", "price", "available")
"""Columns of VIDEOS that are read."""
PAUSE_EVERY = 200
"""Rows that are read between two chances for other threads."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Facts of a video at this moment; an answer says of it what stands here and no more."""

    video_id: str
    title: str | None
    category: str | None
    creator_id: str
    price: float | None
    colors: frozenset[str]
    available: bool = True


class CatalogFacets:
    """Facets of the videos of a catalog, for exact filters.

    They lie in blocks that never change: that of a bundle, and smaller ones of the videos that changed since.
    A row of a video that changed again, or was removed, fits nothing.
    """

    def __init__(self, videos: pa.Table, lexicon: ShopLexicon) -> None:
        """Read the facets.

        Args:
            videos: VIDEOS; those that are not available fit no query.
            lexicon: Words of the same shop.
        """
        self.lexicon = lexicon
        base = _FacetBlock(videos, lexicon)
        self._blocks = [base]
        self._row_of = {name: row for row, name in enumerate(base.video_ids.tolist())}
        self._changed: dict[str, int] = {}
        """Rows of the videos that changed since the first block was read; −1 for removed ones."""
        self.video_ids = base.video_ids
        """(rows,) ids, those of rows that are outdated too."""
        self.prices = base.prices
        """(rows,) prices, NaN for none."""
        self.listed: Mask = np.ones(len(base), np.bool_)
        """(rows,) whether a row is the present one of its video."""
        self._fitting = self._available = base.available

    def with_changes(self, videos: pa.Table, gone: Iterable[str] = ()) -> Self:
        """Return the catalog after more changes; this one stays as it is.

        The cost is proportional to the changes, apart from copies of a few numbers per video.

        Args:
            videos: VIDEOS of the changed and new videos.
            gone: Ids of the removed videos.
        """
        other = copy(self)
        other.lexicon = self.lexicon.with_videos(videos)
        block = _FacetBlock(videos, other.lexicon)
        outdated = dict.fromkeys(gone, -1) | dict.fromkeys(block.video_ids.tolist(), -1)
        other.listed = self.listed.copy()
        other.listed[[row for name in outdated if (row := self.row(name)) >= 0]] = False
        other._blocks, start = list(self._blocks), len(self.video_ids)
        # As in a binary counter, so that each change is read again a few times only.
        while len(other._blocks) > 1 and len(other._blocks[-1]) <= len(block):
            last = other._blocks.pop()
            start -= len(last)
            present = last.videos.filter(pa.array(other.listed[start : start + len(last)]))
            block = _FacetBlock(pa.concat_tables([present, block.videos]), other.lexicon)
        if len(block):
            other._blocks.append(block)
        moved = {name: row for row, name in enumerate(block.video_ids.tolist(), start)}
        other._changed = self._changed | outdated | moved
        other.video_ids = np.concatenate([one.video_ids for one in other._blocks])
        other.prices = np.concatenate([one.prices for one in other._blocks])
        other.listed = np.concatenate([other.listed[:start], np.ones(len(block), np.bool_)])
        available = np.concatenate([one.available for one in other._blocks])
        other._fitting = other._available = available & other.listed
        return other

    def seen_by(self, fitting: Mask, available: Mask) -> Self:
        """Return the same catalog for one answer.

        Args:
            fitting: (rows,) mask of the videos that the answer may have.
            available: (rows,) mask of those that are available to anybody at this moment.
        """
        other = copy(self)
        other._fitting, other._available = fitting & available & self.listed, available
        return other

    def row(self, video_id: str) -> int:
        """Return the row of a video; −1 for one that is not in the catalog."""
        row = self._changed.get(video_id)
        return self._row_of.get(video_id, -1) if row is None else row

    def changed(self) -> tuple[Rows, list[str]]:
        """Return the rows behind the first block, outdated ones too, and the ids of their videos."""
        start = len(self._blocks[0])
        return np.arange(start, len(self.video_ids)), self.video_ids[start:].tolist()

    def card(self, video_id: str) -> CardFacts | None:
        """Return the facts of a video; None for one that is not in the catalog."""
        row = self.row(video_id)
        if row < 0:
            return None
        start = 0
        for block in self._blocks:
            if row < start + len(block):
                return block.card(row - start, available=bool(self._available[row]))
            start += len(block)
        raise AssertionError("a row beyond the last block")

    def fitting(self, query: ShoppingQuery) -> Mask:
        """Return which available videos fit all that is asked for, but words and attributes that none has.

        A video without a price fits no bound on it. A word that is refused may not stand in title or tags.
        Where no video has a color that is wanted, those of a near one fit.
        """
        fits = self._fitting_all(query, near=False)
        return self._fitting_all(query, near=True) if query.wanted.color and not fits.any() else fits

    def _fitting_all(self, query: ShoppingQuery, *, near: bool) -> Mask:
        fits = self._fitting.copy()
        for facet in FILTERED:
            if values := query.wanted.of(facet):
                having = self.having(facet, values)
                fits &= having | self._near(values) if near and facet == "color" else having
        for group in query.attribute_groups:
            having = self.having("attribute", group)
            fits &= having if having.any() else True
        for facet in FACETS:
            if values := query.unwanted.of(facet):
                gone = self.having(facet, values)
                if facet == "color":
                    gone |= self._near(values)
                    gone &= ~self.having(facet, query.spared)
                fits &= ~gone
        if not query.price.is_any:
            fits &= self._priced(query)
        return fits

    def having(self, facet: Facet, values: Sequence[str]) -> Mask:
        """Return which videos have any of the values of a facet."""
        mask, start = np.zeros(len(self.video_ids), np.bool_), 0
        phrases = values
        if facet in ("product", "attribute"):
            called = PRODUCT_NAMES if facet == "product" else ATTRIBUTE_NAMES
            phrases = [name for value in values for name in called.get(value, (value,))]
        for block in self._blocks:
            for rows in block.having(facet, values, phrases):
                mask[start + rows] = True
            start += len(block)
        return mask & self.listed

    def _near(self, colors: Sequence[str]) -> Mask:
        """Return which videos have a shade near to any of the colors."""
        shades = [shade for shade, near in NEAR.items() if not set(near).isdisjoint(colors)]
        return self.having("color", shades)

    def _priced(self, query: ShoppingQuery) -> Mask:
        bounds, prices = query.price, self.prices
        fits = ~np.isnan(prices)
        if bounds.least is not None:
            fits &= prices > bounds.least if bounds.above else prices >= bounds.least
        if bounds.most is not None:
            fits &= prices < bounds.most if bounds.below else prices <= bounds.most
        return fits


class _FacetBlock:
    """Facets of some videos, which never change."""

    def __init__(self, videos: pa.Table, lexicon: ShopLexicon) -> None:
        self.videos = videos.select(COLUMNS)
        ids: list[str] = videos.column("video_id").to_pylist()
        self.video_ids = np.empty(len(ids), object)
        self.video_ids[:] = ids
        self._titles: list[str | None] = videos.column("title").to_pylist()
        tags: list[list[str]] = [held or [] for held in videos.column("tags").to_pylist()]
        self._categories: list[str | None] = videos.column("category").to_pylist()
        self._creators: list[str | None] = videos.column("creator_id").to_pylist()
        self.prices = _prices(videos.column("price"))
        self.available = np.array(videos.column("available").to_pylist(), np.bool_)
        # Tags, and often titles too, are those of many videos.
        read = _Remembered(lambda text: _ReadText(text, lexicon))
        plain = _Remembered(normal_form)
        self._colors: list[frozenset[str]] = []
        by_stem, by_tag = dict[str, list[int]](), dict[str, list[int]]()
        self._texts: list[str] = []
        for row, (title, held) in enumerate(zip(self._titles, tags, strict=True)):
            if row % PAUSE_EVERY == 0:
                pause_if_due()
            texts = [read[title or ""], *(read[tag] for tag in held)]
            self._texts.append("|".join([one.line for one in texts]))
            colors = [one.colors for one in texts if one.colors]
            self._colors.append(colors[0] if len(colors) == 1 else frozenset[str]().union(*colors))
            for stem in {stem for one in texts for stem in one.stems}:
                by_stem.setdefault(stem, []).append(row)
            for tag in {plain[tag] for tag in held}:
                by_tag.setdefault(tag, []).append(row)
        self._rows_by_stem = _arrays(by_stem)
        self._rows: dict[str, dict[str, Rows]] = {
            "category": _rows_by_value([(value,) if value else () for value in self._categories]),
            "creator": _rows_by_value([(value,) if value else () for value in self._creators]),
            "color": _rows_by_value(self._colors),
            "tag": _arrays(by_tag),
        }

    def __len__(self) -> int:
        return len(self.video_ids)

    def card(self, row: int, *, available: bool) -> CardFacts:
        price = self.prices[row]
        return CardFacts(
            self.video_ids[row],
            self._titles[row],
            self._categories[row],
            self._creators[row] or "",
            None if np.isnan(price) else float(price),
            self._colors[row],
            available,
        )

    def having(self, facet: Facet, values: Sequence[str], phrases: Sequence[str]) -> Iterable[Rows]:
        """Iterate over the rows with each value, or in whose texts each phrase stands."""
        rows = self._rows.get(facet)
        if rows is None:
            return (self._rows_with(phrase) for phrase in phrases)
        names = (normal_form(value) if facet == "tag" else value for value in values)
        return (rows.get(name, _NO_ROWS) for name in names)

    def _rows_with(self, phrase: str) -> Rows:
        """Return the videos in whose title, or in one of whose tags, a phrase stands."""
        stems = stems_of(phrase)
        if not stems:
            return _NO_ROWS
        postings = sorted((self._rows_by_stem.get(stem, _NO_ROWS) for stem in stems), key=len)
        rows = postings[0]
        for others in postings[1:]:
            rows = np.intersect1d(rows, others, assume_unique=True)
        if len(stems) > 1:
            sought = f" {' '.join(stems)} "
            rows = np.array([row for row in rows.tolist() if sought in self._texts[row]], np.int64)
        return rows


class _ReadText:
    """Title or tag: its stems in one line, and the colors that it names."""

    __slots__ = ("colors", "line", "stems")

    def __init__(self, text: str, lexicon: ShopLexicon) -> None:
        self.stems = stems_of(text)
        self.line = f" {' '.join(self.stems)} "
        self.colors = lexicon.colors_in(text, self.stems)


class _Remembered(dict[str, Any]):
    """Results of a function of texts, each of which is computed once."""

    def __init__(self, function: Callable[[str], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> Any:
        found = self[text] = self._function(text)
        return found


def _prices(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    filled = pc.fill_null(column.cast(pa.float64()), float("nan"))
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.float64)


def _rows_by_value(values: Iterable[Iterable[str]]) -> dict[str, Rows]:
    rows: dict[str, list[int]] = {}
    for row, held in enumerate(values):
        for value in held:
            rows.setdefault(value, []).append(row)
    return _arrays(rows)


def _arrays(rows: dict[str, list[int]]) -> dict[str, Rows]:
    return {value: np.array(held, np.int64) for value, held in rows.items()}
