"""The videos of a shop as they are now: a bundle's, and what has changed since."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa

from vrec.core.schema import VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.ranking.features.video_counts import Doubles
from vrec.ranking.reranking.catalog import CatalogArrays, Floats, RowIndices, ShopperContext, normalize_tag
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig, age_limited_tags
from vrec.serving.catalog.columns import FilterColumns, GrowableColumns, Mask, OverlayMapping, zero_counts
from vrec.serving.catalog.updates import changes_to_content, latest_changes
from vrec.serving.messages import CatalogChange, RequestFilters

INITIAL_SPARE_ROWS = 1_024
"""Changes for which there is room from the start; beyond, all is copied to where there is twice the room."""


@dataclass(frozen=True, eq=False, slots=True)
class BundleCatalogView:
    """The M videos of a bundle, which do not change."""

    videos: pa.Table
    """VIDEOS; a video's place is its row here."""
    columns: FilterColumns
    encoder: str | None
    """Of the vectors on the shelf."""
    popular: RowIndices
    """(M,) all places: the popular ones in their order, then the others, the newest first."""
    newest_first: RowIndices
    """RowIndices of the videos with a publishing date, the newest first."""
    rows_by_tag: Mapping[str, RowIndices]
    """RowIndices by tag."""

    @classmethod
    def from_content(cls, content: CatalogContent, encoder: str | None, popular: Sequence[str]) -> Self:
        """What is stocked of a bundle; raises SchemaError and RankError as `Shelf.of`."""
        facts = FilterColumns.from_content(content)
        shelf = facts.catalog
        assert content.videos is not None
        videos = conform(content.videos, VIDEOS, stage="serving", extra=True).combine_chunks()
        by_date = np.argsort(-shelf.published_at, kind="stable")
        first = np.array([shelf.row_by_id[name] for name in popular if name in shelf.row_by_id], np.int64)
        rest = by_date[~np.isin(by_date, first)]
        tagged: dict[str, list[int]] = defaultdict(list)
        for place, tags in enumerate(shelf.tags):
            for tag in tags:
                tagged[tag].append(place)
        return cls(
            videos,
            facts,
            encoder,
            popular=np.concatenate([first, rest]),
            newest_first=by_date[: np.count_nonzero(~np.isnan(shelf.published_at))],
            rows_by_tag={tag: np.array(places, np.int64) for tag, places in tagged.items()},
        )


class CatalogSnapshot:
    """What is known of all videos at this moment. It does not change but for `states`: changes give another.

    A row is a video's place on `shelf`. The bundle's M videos have the first M rows; a video that has changed
    has a row beyond.
    """

    def __init__(
        self,
        view: BundleCatalogView,
        rows: GrowableColumns,
        changed_rows: dict[str, int],
        latest: dict[str, CatalogChange],
    ) -> None:
        """`top` are rows of the videos that changed, −1 where removed; `latest` the changes."""
        self.stocked, self._rows, self.top, self.latest = view, rows, changed_rows, latest
        self.count, base = len(rows), len(view.columns.catalog.video_ids)
        self.shelf: CatalogArrays = rows.catalog_arrays(
            self.count, OverlayMapping(view.columns.catalog.row_by_id, changed_rows)
        )
        self.states = rows.column("states", self.count)
        self.changed = np.array(sorted(row for row in changed_rows.values() if row >= 0), np.int64)
        """Rows of changed and new videos."""
        self.current: RowIndices = np.arange(base)
        """(M,) of each video of the bundle its row now, −1 for none."""
        for video_id, row in changed_rows.items():
            place = view.columns.catalog.row_by_id.get(video_id)
            if place is not None:
                self.current[place] = row
        self.listed: Mask = np.zeros(self.count, np.bool_)
        """(N,) which rows are a video now."""
        self.listed[self.current[self.current >= 0]] = True
        self.listed[self.changed] = True
        new = self._by_arrival()
        popular = self.current[view.popular]
        self.popular: RowIndices = np.concatenate([popular[popular >= 0], new])
        """All rows that are a video, the popular ones first and those that the bundle did not have last."""
        self._dated, self._dates = self._by_date(new)

    @classmethod
    def from_view(cls, stocked: BundleCatalogView) -> Self:
        """The bundle's videos and no changes."""
        count = len(stocked.columns.catalog.video_ids)
        return cls(stocked, GrowableColumns(stocked.columns, zero_counts(count), INITIAL_SPARE_ROWS), {}, {})

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """The videos after more changes, of which the last of each video counts, whenever it was given.

        A change without vectors leaves a video those of the change before, and one that has none of the
        bundle's encoder that of the bundle. This one stays as it is. Raises SchemaError and ServeError for
        rows that are not a video's.
        """
        fresh = latest_changes(self.latest, changes)
        if not fresh:
            return self
        latest, rows, top, todo = self.latest | fresh, self._rows, dict(self.top), fresh
        if len(fresh) > rows.spare_rows:
            stock = self.stocked.columns
            states = self._states_of(stock.catalog.video_ids)
            rows, top, todo = GrowableColumns(stock, states, 2 * len(latest) + INITIAL_SPARE_ROWS), {}, latest
        top |= dict.fromkeys(todo, -1)
        kept = [change for change in todo.values() if change.row is not None]
        if kept:
            facts = self._facts(kept)
            ids = facts.catalog.video_ids
            states = self._states_of(ids)
            start = rows.add(facts, states)
            top |= {video_id: row for row, video_id in enumerate(ids, start)}
        return type(self)(self.stocked, rows, top, latest)

    def __len__(self) -> int:
        """How many videos there are, whether they are available or not."""
        return int(np.count_nonzero(self.listed))

    @property
    def video_ids(self) -> list[str]:
        """The ids of all videos."""
        rows: list[int] = np.flatnonzero(self.listed).tolist()
        return [self.shelf.video_ids[row] for row in rows]

    def card(self, video_id: str) -> dict[str, Any] | None:
        """A video's row of VIDEOS by column, or None where there is no such video."""
        if self.shelf.row_by_id.get(video_id) is None:
            return None
        if (change := self.latest.get(video_id)) is not None and change.row is not None:
            return conform(change.row, VIDEOS, stage="serving", extra=True).to_pylist()[0]
        place = self.stocked.columns.catalog.row_by_id[video_id]
        columns = zip(self.stocked.videos.column_names, self.stocked.videos.columns, strict=True)
        return {name: column[place].as_py() for name, column in columns}

    def filter_mask(self, filters: RequestFilters) -> Mask | None:
        """(N,) which videos are what a request wants to see, or None where it wants nothing in particular."""
        wanted = filters.kinds, filters.categories, filters.creators, filters.tags, filters.languages
        if not any(wanted) and filters.most_price is None:
            return None
        mask = self.listed.copy()
        coded = {"kind": filters.kinds, "category": filters.categories, "creator": filters.creators}
        for name, names in coded.items():
            if names:
                mask &= self._in_categories(name, names)
        if filters.languages:
            mask &= self._in_categories("language", filters.languages) | (
                self._rows.column("language", self.count) < 0
            )
        if filters.tags:
            mask &= self._tagged({normalize_tag(tag) for tag in filters.tags})
        if filters.most_price is not None:
            # NaN, no price, is not greater than anything.
            mask &= ~(self.shelf.price > filters.most_price)
        return mask

    def eligible_mask(self, shopper: ShopperContext, rules: EligibilityRulesConfig, at: int) -> Mask:
        """(N,) which videos no rule bars, but for those rules that name single videos."""
        shelf = self.shelf
        # NaN, an unknown date, is not greater than anything.
        mask = self.listed & shelf.available & ~(shelf.published_at > at)
        if rules.kinds is not None:
            mask &= self._in_categories("kind", rules.kinds)
        blocked = {"creator": shopper.blocked_creators, "category": shopper.blocked_categories}
        for name, names in blocked.items():
            if names:
                mask &= ~self._in_categories(name, names)
        return mask & ~self._tagged(age_limited_tags(shopper, rules))

    def published_rows(self, at: int) -> RowIndices:
        """Rows of the videos that have a date and were published by a time in µs, the newest first.

        A video that the bundle did not have and that has no date has that of its arrival.
        """
        return self._dated[np.searchsorted(self._dates, -at) :]

    def _in_categories(self, name: str, names: Collection[str]) -> Mask:
        codes = self._rows.codes(name)
        wanted = [codes[one] for one in names if one in codes]
        return np.isin(self._rows.column(name, self.count), wanted)

    def _tagged(self, tags: set[str]) -> Mask:
        mask = np.zeros(self.count, np.bool_)
        for tag in tags & self.stocked.rows_by_tag.keys():
            mask[self.stocked.rows_by_tag[tag]] = True
        changed: list[int] = self.changed.tolist()
        for row in changed:
            mask[row] = not tags.isdisjoint(self.shelf.tags[row])
        return mask

    def _facts(self, kept: Sequence[CatalogChange]) -> FilterColumns:
        """The facts of changed videos, with the bundle's vectors where they have none."""
        stock = self.stocked.columns.catalog
        dim = stock.vectors.shape[1]
        found = FilterColumns.from_content(changes_to_content(kept, self.stocked.encoder, dim))
        shelf = found.catalog
        vectors = shelf.vectors if shelf.vectors.shape[1] else np.zeros((len(kept), dim), np.float32)
        for row, video_id in enumerate(shelf.video_ids):
            place = stock.row_by_id.get(video_id)
            if place is not None and not vectors[row].any():
                vectors[row] = stock.vectors[place]
        return replace(found, catalog=replace(shelf, vectors=vectors))

    def _states_of(self, video_ids: Sequence[str]) -> Doubles:
        """(N, len(STATE)) counts of videos as they are now, zeros of new ones."""
        now, stocked = self.shelf.find(video_ids), self.stocked.columns.catalog.find(video_ids)
        # One that comes back after it was removed still has those that it had.
        rows = np.where(now < 0, stocked, now)
        return np.where(rows[:, None] < 0, 0.0, self.states[rows])

    def _by_arrival(self) -> RowIndices:
        """Rows of the videos that the bundle did not have, the last that came first."""
        stock = self.stocked.columns.catalog.row_by_id
        new = [name for name, row in self.top.items() if row >= 0 and name not in stock]
        new.sort(key=lambda name: (-self.latest[name].at, name))
        return np.array([self.top[name] for name in new], np.int64)

    def _by_date(self, new: RowIndices) -> tuple[RowIndices, Floats]:
        """Rows of the videos with a date, the newest first, and minus their dates.

        One that came later and has none has that of its arrival.
        """
        place, stock = self.stocked.newest_first, self.stocked.columns.catalog
        place = place[self.current[place] == place]
        dates = self.shelf.published_at[self.changed].copy()
        arrived = np.isnan(dates) & np.isin(self.changed, new)
        late: list[int] = self.changed[arrived].tolist()
        dates[arrived] = [self.latest[self.shelf.video_ids[row]].at for row in late]
        rows, dates = self.changed[~np.isnan(dates)], dates[~np.isnan(dates)]
        order = np.argsort(-dates, kind="stable")
        known = -stock.published_at[place]
        at = np.searchsorted(known, -dates[order])
        return np.insert(place, at, rows[order]), np.insert(known, at, -dates[order])
