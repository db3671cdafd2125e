"""Snapshots of the catalog: a bundle's videos with the changes since."""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vrec.core.pauses import pause_if_due
from vrec.ranking.features.video_counts import Doubles
from vrec.ranking.reranking.catalog import CatalogArrays, Floats, RowIndices, ShopperContext, normalize_tag
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig, age_limited_tags
from vrec.serving.catalog.bundle_view import BundleCatalogView
from vrec.serving.catalog.columns import FilterColumns, GrowableColumns, Mask, OverlayMapping, zero_counts
from vrec.serving.catalog.pool import VideoPool, by_value_and_id
from vrec.serving.catalog.updates import changed_videos, changes_to_content
from vrec.serving.messages import BooleanFilter, CatalogChange, FilterExpression, RequestFilters

INITIAL_SPARE_ROWS = 1_024
"""Spare rows for changes at first; when they are used up, all columns are copied into arrays with more."""


COMPARISONS: Mapping[str, Callable[[Floats, Sequence[Any]], Mask]] = {
    "<": lambda column, values: column < values[0],
    "<=": lambda column, values: column <= values[0],
    ">": lambda column, values: column > values[0],
    ">=": lambda column, values: column >= values[0],
    "in": np.isin,
}
"""Comparison of a column of numbers with the values of an expression, by operator."""
_NO_ROWS: RowIndices = np.empty(0, np.int64)


class CatalogSnapshot:
    """All videos at one moment. Only `video_counts` changes in place; changes make another snapshot.

    The bundle's M videos have the first M rows of the N; a changed or new video has a row beyond.
    """

    def __init__(
        self,
        view: BundleCatalogView,
        rows: GrowableColumns,
        changed_rows: dict[str, int],
        latest: dict[str, CatalogChange],
        before: "CatalogSnapshot | None" = None,
        *,
        names: Collection[str] | None = None,
    ) -> None:
        """Build a snapshot.

        Args:
            view: The bundle's videos.
            rows: Columns of the bundle's and the changed videos.
            changed_rows: Row of each changed video by id, −1 where it was removed.
            latest: Last change of each changed video by id.
            before: Snapshot with the same rows before the last changes, whose work is taken over.
            names: Ids of the last changes; None for all of `changed_rows`.
        """
        self.view, self._rows, self.changed_rows, self.latest = view, rows, changed_rows, latest
        self.count, base = len(rows), len(view.columns.catalog.video_ids)
        bundled = view.columns.catalog.row_by_id
        # Without changes the bundle's own rows, which are found in a third of the time.
        row_by_id = OverlayMapping(bundled, changed_rows) if changed_rows else bundled
        self.catalog: CatalogArrays = rows.catalog_arrays(self.count, row_by_id)
        self.video_counts = rows.column("video_counts", self.count)
        """(N, len(VIDEO_COUNT_KEYS)) counts."""
        known = {} if before is None else before.changed_rows
        moved = changed_rows if names is None else {name: changed_rows[name] for name in names}
        changed = _NO_ROWS if before is None else before.changed
        outdated = [known[name] for name in moved if known.get(name, -1) >= 0]
        # New rows come last, so that their order stays.
        more = np.array(sorted(row for row in moved.values() if row >= 0), np.int64)
        is_outdated = np.zeros(self.count, np.bool_)
        is_outdated[outdated] = True
        self.changed: RowIndices = np.concatenate([changed[~is_outdated[changed]], more])
        """Rows of changed and new videos, ascending."""
        self.current_rows: RowIndices = np.arange(base) if before is None else before.current_rows.copy()
        """(M,) current row of each of the bundle's videos, −1 for removed ones."""
        for video_id, row in moved.items():
            bundle_row = view.columns.catalog.row_by_id.get(video_id)
            if bundle_row is not None:
                self.current_rows[bundle_row] = row
        self.listed: Mask = np.zeros(self.count, np.bool_)
        """(N,) whether a row is the current row of a video."""
        self.listed[self.current_rows[self.current_rows >= 0]] = True
        self.listed[self.changed] = True
        self.streams: RowIndices = np.flatnonzero(rows.column("is_stream", self.count) & self.listed)
        """Current rows of the streams, live or over, ascending."""
        new = self.arrived = self._by_arrival(moved, outdated, before)
        """Rows of the videos that the bundle does not have, the last to arrive first."""
        popular = self.current_rows[view.popular]
        self.popular: RowIndices = np.concatenate([popular[popular >= 0], new])
        """Current rows of all videos: the popular ones first, those that the bundle does not have last."""
        pause_if_due()
        self._dated, self._dates = self._by_date(new)
        self._changed_by_id: tuple[RowIndices, RowIndices] | None = None
        """Changed rows by id, and the bundle's row before which each comes; None until they are needed."""
        pause_if_due()

    @classmethod
    def from_view(cls, view: BundleCatalogView) -> Self:
        """Return a snapshot of a bundle without changes."""
        count = len(view.columns.catalog.video_ids)
        return cls(view, GrowableColumns(view.columns, zero_counts(count), INITIAL_SPARE_ROWS), {}, {})

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another snapshot after more changes, each of which replaces the one of its video before.

        A video without a vector of the bundle's encoder in its changes keeps the bundle's vector. This
        snapshot stays as it is.

        Raises:
            SchemaError: A row does not match VIDEOS.
            ServeError: A change has a row of another video.
        """
        new = {change.video_id: change for change in changes}
        if not new:
            return self
        latest, rows, changed_rows = self.latest | new, self._rows, self.changed_rows
        if len(new) > rows.spare_rows:
            rows, changed_rows = self._compacted(2 * (len(latest) + len(new)) + INITIAL_SPARE_ROWS)
        changed_rows = changed_rows | dict.fromkeys(new, -1)
        changed = [change for change in new.values() if change.row is not None]
        if changed:
            columns = self._changed_columns(changed)
            ids = columns.catalog.video_ids
            arrived = np.array([change.at for change in changed], np.int64)
            start = rows.add(columns, self._counts_of(ids), arrived)
            changed_rows |= {video_id: row for row, video_id in enumerate(ids, start)}
        pause_if_due()
        same_rows = rows is self._rows
        return type(self)(
            self.view,
            rows,
            changed_rows,
            latest,
            self if same_rows else None,
            names=new if same_rows else None,
        )

    def __len__(self) -> int:
        """Return the number of videos, available or not."""
        return int(np.count_nonzero(self.listed))

    @property
    def video_ids(self) -> list[str]:
        """Ids of all videos, available or not."""
        rows: list[int] = np.flatnonzero(self.listed).tolist()
        return [self.catalog.video_ids[row] for row in rows]

    def card(self, video_id: str) -> dict[str, Any] | None:
        """Return a video's row of VIDEOS by column, or None for an unknown video."""
        if self.catalog.row_by_id.get(video_id) is None:
            return None
        if (change := self.latest.get(video_id)) is not None and change.row is not None:
            return changed_videos([change]).to_pylist()[0]
        row = self.view.columns.catalog.row_by_id[video_id]
        columns = zip(self.view.videos.column_names, self.view.videos.columns, strict=True)
        return {name: column[row].as_py() for name, column in columns}

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a column of `GrowableColumns` as a view."""
        return self._rows.column(name, self.count)

    def names_of(self, name: str) -> Sequence[str]:
        """Return the names by code in a coded column."""
        return self._rows.names(name)

    def rows_of_creator(self, code: int) -> RowIndices:
        """Return the current rows of a creator's videos, by the creator's code."""
        view, creator = self.view, self.catalog.creator
        first, end = np.searchsorted(view.creators, [code, code + 1])
        rows = view.by_creator[first:end]
        rows = rows[self.current_rows[rows] == rows]
        return np.concatenate([rows, self.changed[creator[self.changed] == code]])

    def pool(self, mask: Mask | None) -> VideoPool:
        """Return the videos inside a (N,) mask, None for all, in the order of their ids."""
        rows = np.flatnonzero(self.listed if mask is None else mask)
        if self._changed_by_id is None:
            ids, bundled = self.catalog.video_ids, self.view.columns.catalog.video_ids
            unsorted: list[int] = self.changed.tolist()
            numbers = sorted(unsorted, key=ids.__getitem__)
            places = [bisect_left(bundled, ids[row]) for row in numbers]
            self._changed_by_id = np.array(numbers, np.int64), np.array(places, np.int64)
        changed, places = self._changed_by_id
        unchanged = rows[: np.searchsorted(rows, len(self.current_rows))]
        if mask is not None:
            changed, places = changed[mask[changed]], places[mask[changed]]
        return VideoPool(unchanged, changed, np.searchsorted(unchanged, places) + np.arange(len(changed)))

    def filter_mask(self, filters: RequestFilters) -> Mask | None:
        """Return a (N,) mask of the videos that match a request's filters, or None without filters."""
        wanted = filters.kinds, filters.categories, filters.creators, filters.tags, filters.languages
        if not any(wanted) and filters.most_price is None and filters.expression is None:
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
            mask &= ~(self.catalog.price > filters.most_price)
        if filters.expression is not None:
            mask &= self._matching(filters.expression)
        return mask

    def eligible_mask(self, shopper: ShopperContext, rules: EligibilityRulesConfig, at: int) -> Mask:
        """Return a (N,) mask of the videos that no rule excludes, leaving out rules that name single videos.

        Args:
            shopper: The shopper.
            rules: The hard rules.
            at: Time of the request, µs since 1970.
        """
        catalog = self.catalog
        # NaN, no date, is neither greater nor less than anything.
        mask = self.listed & catalog.available & ~(catalog.published_at > at) & ~(catalog.expires_at <= at)
        if rules.kinds is not None:
            mask &= self._in_categories("kind", rules.kinds)
        blocked = {"creator": shopper.blocked_creators, "category": shopper.blocked_categories}
        for name, names in blocked.items():
            if names:
                mask &= ~self._in_categories(name, names)
        return mask & ~self._tagged(age_limited_tags(shopper, rules))

    def published_rows(self, at: int) -> RowIndices:
        """Return the rows of the videos published by a time (µs since 1970), newest first.

        A new video without a date counts as published when it arrived; a video of the bundle without a date
        is left out.
        """
        return self._dated[np.searchsorted(self._dates, -at) :]

    def _matching(self, expression: FilterExpression) -> Mask:
        """Return the (N,) mask of the videos that match an expression."""
        if isinstance(expression, BooleanFilter):
            masks = [self._matching(part) for part in expression.parts]
            if expression.operator == "not":
                return ~masks[0]
            return (np.logical_and if expression.operator == "and" else np.logical_or).reduce(masks)
        names = [value for value in expression.values if isinstance(value, str)]
        if expression.field == "price":
            return COMPARISONS[expression.operator](np.nan_to_num(self.catalog.price), expression.values)
        if expression.field == "tag":
            return self._tagged({normalize_tag(name) for name in names})
        mask = self._in_categories(expression.field, names)
        return (
            mask | (self._rows.column("language", self.count) < 0) if expression.field == "language" else mask
        )

    def _in_categories(self, name: str, names: Collection[str]) -> Mask:
        codes = self._rows.codes(name)
        wanted = [codes[one] for one in names if one in codes]
        return np.isin(self._rows.column(name, self.count), wanted)

    def _tagged(self, tags: set[str]) -> Mask:
        mask = np.zeros(self.count, np.bool_)
        for tag in tags & self.view.rows_by_tag.keys():
            mask[self.view.rows_by_tag[tag]] = True
        # A video's rows of before are among them too.
        mask[self._rows.added_with(tags, self.count)] = True
        return mask & self.listed

    def _compacted(self, spare: int) -> tuple[GrowableColumns, dict[str, int]]:
        """Return the columns without outdated rows but with spare ones, and the rows of changed videos."""
        base = len(self.view.columns.catalog.video_ids)
        rows = self._rows.compacted(base, self.changed, spare)
        # A video of the bundle that is removed and comes back has the counts of its row there.
        present = self.current_rows >= 0
        rows.column("video_counts", base)[present] = self.video_counts[self.current_rows[present]]
        place = np.full(self.count, -1)
        place[self.changed] = np.arange(base, base + len(self.changed))
        places: list[int] = place[np.array(list(self.changed_rows.values()), np.int64)].tolist()
        moved = zip(self.changed_rows.items(), places, strict=True)
        return rows, {name: -1 if row < 0 else to for (name, row), to in moved}

    def _changed_columns(self, changes: Sequence[CatalogChange]) -> FilterColumns:
        """Return the columns of changed videos, with the bundle's vectors where they have none."""
        bundled = self.view.columns.catalog
        dim = bundled.vectors.shape[1]
        content = changes_to_content(changes, self.view.encoder, dim)
        columns = FilterColumns.from_content(replace(content, other_domains=self.view.other_domains))
        pause_if_due()
        catalog = columns.catalog
        vectors = catalog.vectors if catalog.vectors.shape[1] else np.zeros((len(changes), dim), np.float32)
        for row, video_id in enumerate(catalog.video_ids):
            bundle_row = bundled.row_by_id.get(video_id)
            if bundle_row is not None and not vectors[row].any():
                vectors[row] = bundled.vectors[bundle_row]
        return replace(columns, catalog=replace(catalog, vectors=vectors))

    def _counts_of(self, video_ids: Sequence[str]) -> Doubles:
        """Return the current (N, len(VIDEO_COUNT_KEYS)) counts of videos, zeros for new ones."""
        current = self.catalog.find(video_ids)
        bundled = self.view.columns.catalog.find(video_ids)
        # A video that comes back after its removal still has its counts.
        rows = np.where(current < 0, bundled, current)
        return np.where(rows[:, None] < 0, 0.0, self.video_counts[rows])

    def _by_arrival(
        self, moved: Mapping[str, int], outdated: Sequence[int], before: "CatalogSnapshot | None"
    ) -> RowIndices:
        """Return the rows of the videos that the bundle does not have, the last to arrive first, ties by id.

        Args:
            moved: Rows of the videos that changed since a snapshot, −1 for removed ones.
            outdated: Rows that they had.
            before: The snapshot; None for none.
        """
        bundled = self.view.columns.catalog.row_by_id
        new = {name: row for name, row in moved.items() if row >= 0 and name not in bundled}
        rest = _NO_ROWS
        if before is not None:
            # One that was changed, but came when it did before, keeps its place.
            places = np.arange(self.count)
            places[outdated] = -1
            for name in [one for one in new if before.changed_rows.get(one, -1) >= 0]:
                if before.latest[name].at == self.latest[name].at:
                    places[before.changed_rows[name]] = new.pop(name)
            rest = places[before.arrived]
            rest = rest[rest >= 0]
        order = sorted(new, key=lambda name: (-self.latest[name].at, name))
        arrived = self._rows.column("arrived", self.count)
        if len(rest) and order and arrived[rest[0]] >= self.latest[order[-1]].at:
            # Not all of them came after the others.
            names = [*new, *(self.catalog.video_ids[row] for row in rest.tolist())]
            order = sorted(names, key=lambda name: (-self.latest[name].at, name))
            rest = _NO_ROWS
        return np.concatenate([np.array([self.changed_rows[name] for name in order], np.int64), rest])

    def _by_date(self, new: RowIndices) -> tuple[RowIndices, Floats]:
        """Return the rows of the videos with a date, newest first, and their negated dates.

        A new video without a date takes the time of its arrival.
        """
        unchanged, bundled = self.view.newest_first, self.view.columns.catalog
        unchanged = unchanged[self.current_rows[unchanged] == unchanged]
        dates = self.catalog.published_at[self.changed].copy()
        is_new = np.zeros(self.count, np.bool_)
        is_new[new] = True
        undated = np.isnan(dates) & is_new[self.changed]
        dates[undated] = self._rows.column("arrived", self.count)[self.changed[undated]]
        rows, dates = self.changed[~np.isnan(dates)], dates[~np.isnan(dates)]
        order = by_value_and_id(-dates, rows, self.catalog.video_ids)
        known = -bundled.published_at[unchanged]
        at = np.searchsorted(known, -dates[order])
        return np.insert(unchanged, at, rows[order]), np.insert(known, at, -dates[order])
