"""Requests of the assistant to the shopper's own ranking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vrec.assistant.catalog import CatalogFacets, Rows


@dataclass(frozen=True, eq=False, slots=True)
class RankRequest:
    """Request to the shopper's own ranking."""

    text: str
    """Words by which to order, in the shopper's language; "" for none."""
    rows: Rows
    """Rows of the catalog with the videos to order, all of which fit."""
    catalog: CatalogFacets
    seeds: tuple[str, ...]
    """Videos to which the list is related."""
    k: int

    @property
    def video_ids(self) -> tuple[str, ...]:
        """Videos to order."""
        return tuple(self.catalog.video_ids[self.rows].tolist())


RankVideos = Callable[[RankRequest], Sequence[str]]
"""The shopper's own ranking: at most k of the videos, best first."""
