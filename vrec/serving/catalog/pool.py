"""Videos in the order of their ids, which does not depend on when they changed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vrec.ranking.reranking.catalog import Floats, RowIndices


@dataclass(frozen=True, eq=False, slots=True)
class VideoPool:
    """Videos in the order of their ids, to draw from."""

    unchanged: RowIndices
    """Rows of the bundle's videos, ascending by row and id."""
    changed: RowIndices
    """Rows of changed and new videos, ascending by id."""
    places: RowIndices
    """Places of the changed ones among all, ascending."""

    def __len__(self) -> int:
        return len(self.unchanged) + len(self.changed)

    def take(self, places: RowIndices) -> RowIndices:
        """Return the rows of the videos at (N,) places."""
        at = np.searchsorted(self.places, places)
        if not len(self.changed):
            return self.unchanged[places]
        at_most = np.minimum(at, len(self.changed) - 1)
        is_changed = self.places[at_most] == places
        rows = np.empty(len(places), np.int64)
        rows[is_changed] = self.changed[at_most[is_changed]]
        rows[~is_changed] = self.unchanged[(places - at)[~is_changed]]
        return rows


def by_value_and_id(values: Floats, rows: RowIndices, video_ids: Sequence[str]) -> RowIndices:
    """Return the order of (N,) rows by ascending value, ties by video id."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    if (ascending[1:] == ascending[:-1]).any():
        pairs = list(zip(values.tolist(), (video_ids[row] for row in rows.tolist()), strict=True))
        order = np.array(sorted(range(len(pairs)), key=pairs.__getitem__), np.int64)
    return order
