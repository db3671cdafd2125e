"""Pages of the catalog by video id, which stay in order while the catalog changes."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.catalog.updates import changed_videos
from vrec.serving.messages import RequestFilters

NO_FILTERS = RequestFilters()
TEXT_COLUMNS = ("video_id", "title", "creator_id", "category")
"""Columns besides the tags that a text is looked up in."""


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """Request for a page of the catalog."""

    limit: int
    """Maximum number of videos."""
    after: str = ""
    """Video id after which the page begins; empty for the first page."""
    filters: RequestFilters = NO_FILTERS
    text: str | None = None
    """Words that a video has, each in its id, title, creator, category or a tag; case is ignored."""
    available: bool | None = None
    """Only videos that are available, or not; None for all."""


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """Page of the catalog as rows of a snapshot."""

    rows: tuple[int, ...]
    """Rows by ascending video id."""
    matching: int
    """Number of videos that match, on all pages."""
    has_more: bool
    """Whether further videos match after the last row."""


def list_rows(snapshot: CatalogSnapshot, query: CatalogQuery) -> CatalogRows:
    """Return a page of the catalog.

    A page holds the first videos by id after the last one of the page before. So over all pages a video that
    matches throughout comes exactly once, whatever is added, changed or removed meanwhile.
    """
    mask = snapshot.filter_mask(query.filters)
    mask = snapshot.listed.copy() if mask is None else mask
    if query.available is not None:
        mask &= snapshot.catalog.available == query.available
    for word in (query.text or "").split():
        mask &= _has_text(snapshot, word)
    ids = snapshot.catalog.video_ids

    def id_of(row: int) -> str:
        return ids[row]

    bundled = snapshot.view.columns.catalog
    listed = (name for name, row in snapshot.changed_rows.items() if row >= 0)
    new = sorted(name for name in listed if name not in bundled.row_by_id)
    orders = (
        _rows_after(snapshot.view.by_id, bundled.video_ids, query.after, snapshot.current_rows, mask),
        (row for name in new[bisect_right(new, query.after) :] if mask[row := snapshot.changed_rows[name]]),
    )
    rows = list(islice(merge(*orders, key=id_of), query.limit + 1))
    return CatalogRows(tuple(rows[: query.limit]), int(np.count_nonzero(mask)), len(rows) > query.limit)


def _rows_after(
    by_id: RowIndices, ids: Sequence[str], after: str, current_rows: RowIndices, mask: Mask
) -> Iterator[int]:
    """Yield the current rows inside the mask of the bundle's videos after an id, by ascending id."""
    start = bisect_right(range(len(by_id)), after, key=lambda place: ids[int(by_id[place])])
    rows = current_rows[by_id[start:]]
    rows = rows[rows >= 0]
    yield from rows[mask[rows]].tolist()


def _has_text(snapshot: CatalogSnapshot, word: str) -> Mask:
    """Return the (N,) mask of the videos that have a word in one of their texts."""
    mask = np.zeros(snapshot.count, np.bool_)
    mask[: snapshot.view.videos.num_rows] = _contains(snapshot.view.videos, word)
    changed: list[int] = snapshot.changed.tolist()
    changes = [snapshot.latest[snapshot.catalog.video_ids[row]] for row in changed]
    if changes:
        mask[snapshot.changed] = _contains(changed_videos(changes), word)
    return mask


def _contains(videos: pa.Table, word: str) -> Mask:
    """Return the mask of the VIDEOS rows that have a word in one of their texts, whatever the case."""
    lowered = word.lower()
    mask = np.zeros(videos.num_rows, np.bool_)
    for name in TEXT_COLUMNS:
        found = pc.match_substring(pc.utf8_lower(videos.column(name)), lowered)
        mask |= np.asarray(pc.fill_null(found, False))
    tags = videos.column("tags").combine_chunks()
    found = pc.match_substring(pc.utf8_lower(tags.flatten()), lowered)
    mask[np.asarray(pc.list_parent_indices(tags))[np.asarray(pc.fill_null(found, False))]] = True
    return mask
