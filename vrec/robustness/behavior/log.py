"""Events of a log as arrays, for features of shoppers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.core.schema import CREATOR_PREFIX, EVENTS, conform
from vrec.robustness.defences.shopper_ranks import shopper_ranks
from vrec.robustness.watched import Floats, Ints

Bools = npt.NDArray[np.bool_]

NO_CHOICE = ("impression", "hide", "unhide", "dislike", "skip", "unlike", "unfollow", "refund", "search")
"""Kinds of events that do not choose a video; all others do."""


@dataclass(frozen=True)
class BehaviorLog:
    """EVENTS with videos, sorted by shopper and time."""

    shoppers: pa.Array
    """(S,) ids, ascending."""
    videos: pa.Array
    """(V,) ids, ascending."""
    user: Ints
    """(E,) place of each event's shopper."""
    video: Ints
    """(E,) place of each event's video."""
    kinds: pa.Array
    """(E,) kind of each event."""
    at: Ints
    """(E,) µs since 1970."""
    value: Floats
    """(E,) value, NaN without one."""
    duration: Floats
    """(V,) seconds of each video, NaN where unknown."""
    has_clock: bool
    """Whether times are real; if not, only their order has a meaning."""

    @classmethod
    def from_events(cls, events: pa.Table, videos: pa.Table | None = None, *, has_clock: bool = True) -> Self:
        """Build the log.

        Args:
            events: EVENTS; those about creators and searches are left out.
            videos: `video_id` and `duration_s` of videos, if known.
            has_clock: Whether `at` is a real time.

        Raises:
            SchemaError: The columns are not those of EVENTS.
        """
        table = conform(events, EVENTS, stage="BehaviorLog")
        about = pc.starts_with(table["video_id"], CREATOR_PREFIX)
        table = table.filter(pc.invert(pc.or_(about, pc.equal(table["kind"], "search"))))
        table = table.sort_by([("user_id", "ascending"), ("at", "ascending"), ("event_id", "ascending")])
        table = table.combine_chunks()
        shoppers, user = _encode(table["user_id"])
        names, video = _encode(table["video_id"])
        value = np.asarray(table["value"].cast(pa.float64()).fill_null(np.nan), np.float64)
        at = np.asarray(table["at"].cast(pa.int64()), np.int64)
        kinds = table["kind"].combine_chunks()
        return cls(shoppers, names, user, video, kinds, at, value, _durations(names, videos), has_clock)

    @cached_property
    def chosen(self) -> Bools:
        """(E,) whether an event chooses its video; all do in a log of impressions alone."""
        found = ~np.asarray(pc.is_in(self.kinds, value_set=pa.array(NO_CHOICE)))
        return found if found.any() else np.ones(len(found), bool)

    @cached_property
    def watched(self) -> sparse.csr_matrix:
        """(S, V) float64 with a 1 for each video that a shopper chose."""
        rows, columns = self.user[self.chosen], self.video[self.chosen]
        shape = len(self.shoppers), len(self.videos)
        matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    @cached_property
    def lengths(self) -> Ints:
        """(S,) number of videos that each shopper chose: the level of activity."""
        return np.diff(self.watched.indptr).astype(np.int64)

    @cached_property
    def taste_ranks(self) -> Floats:
        """(S, 4) ranks of how the videos of shoppers go together; see `shopper_ranks`."""
        return shopper_ranks(self.watched)

    @property
    def span_us(self) -> int:
        """Time from the first event to the last, µs."""
        return int(self.at.max() - self.at.min()) if len(self.at) else 0

    def of_kinds(self, *kinds: str) -> Bools:
        """Return (E,) whether an event is of one of some kinds."""
        return np.asarray(pc.is_in(self.kinds, value_set=pa.array(kinds)))

    def count(self, events: Bools) -> Floats:
        """Return (S,) number of events of each shopper among some."""
        return np.bincount(self.user[events], minlength=len(self.shoppers)).astype(np.float64)


def _encode(column: pa.ChunkedArray) -> tuple[pa.Array, Ints]:
    """Return the distinct ids in ascending order, and the place of each row's id among them."""
    ids = pc.unique(column)
    ids = ids.take(pc.sort_indices(ids))
    return ids, np.asarray(pc.index_in(column, value_set=ids)).astype(np.int64)


def _durations(names: pa.Array, videos: pa.Table | None) -> Floats:
    if videos is None or not {"video_id", "duration_s"} <= set(videos.column_names):
        return np.full(len(names), np.nan)
    place = np.asarray(pc.index_in(names, value_set=videos["video_id"].combine_chunks()).fill_null(-1))
    seconds = np.asarray(videos["duration_s"].cast(pa.float64()).fill_null(np.nan), np.float64)
    return np.append(np.where(seconds > 0, seconds, np.nan), np.nan)[place]
