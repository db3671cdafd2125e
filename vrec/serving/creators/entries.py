"""Creators as the service tells of them, one by one and in lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vrec.core.errors import VrecError
from vrec.serving.creators.lists import RankedCreator


class UnknownCreator(VrecError):
    """Creator id that no video of the catalog has."""

    fix = "give the creator_id of a video, or the streamer_id of a stream"


@dataclass(frozen=True, slots=True)
class CreatorEntry:
    """Creator with figures."""

    creator_id: str
    videos: int
    """Number of videos in the catalog now, streams too."""
    streams: int
    figures: Mapping[str, Any] | None
    """Row of CREATORS when the bundle was made; None if the bundle does not have the creator."""
    is_new: bool


@dataclass(frozen=True, slots=True)
class CreatorList:
    """List of creators, best first."""

    creators: tuple[RankedCreator, ...]
    entries: tuple[CreatorEntry, ...]
    """Figures of each of them."""
    bundle: str
    """Version of the bundle that was used."""
    degraded: tuple[str, ...] = ()
    """Parts of the service that were missing; empty if none."""


@dataclass(frozen=True, slots=True)
class CreatorPage:
    """Page of the creators, by ascending id."""

    entries: tuple[CreatorEntry, ...]
    matching: int
    """Number of creators on all pages."""
    has_more: bool
