"""Numbers of shoppers that make a video popular."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self


class PopularVideo(NamedTuple):
    """Place of a video in the order of popularity, and its shoppers."""

    rank: int
    """Place in the order of popularity, from 0."""
    users: int
    """Number of shoppers who showed interest in it."""


@dataclass(frozen=True, slots=True)
class Popularity:
    """Popularity of the videos at the head of the order of popularity, by video id."""

    videos: Mapping[str, PopularVideo] = field(default_factory=dict)
    watched_videos: int = 0
    """Number of available videos of the catalog that any shopper showed interest in."""

    @classmethod
    def from_order(cls, video_ids: Sequence[str], users: Sequence[int], watched_videos: int) -> Self:
        """Build it from videos, the most popular first, and the number of shoppers of each."""
        places = enumerate(zip(video_ids, users, strict=True))
        return cls({name: PopularVideo(rank, count) for rank, (name, count) in places}, watched_videos)
