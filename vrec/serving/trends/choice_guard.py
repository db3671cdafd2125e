"""Guard of trends and of the counts that rank videos against shoppers who push a video, and its tables."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Set
from typing import TypeVar

from vrec.core.errors import VrecError
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata
from vrec.profiles.video import VideoProfileConfig, record_video_event
from vrec.robustness.behavior.announced import read_announced
from vrec.robustness.behavior.config import StreamGuardConfig
from vrec.robustness.behavior.stream import StreamGuard
from vrec.robustness.behavior.stream_state import Announcement
from vrec.robustness.behavior.table import quarantined, read_suspects

T = TypeVar("T")
logger = logging.getLogger("ray.serve")


class ChoiceGuard:
    """Decision for each event that chooses a video whether it counts now."""

    def __init__(
        self,
        config: StreamGuardConfig,
        profiles: VideoProfileConfig,
        in_quarantine: Set[str] = frozenset(),
        announced: Mapping[str, Announcement] | None = None,
    ) -> None:
        """Build it without events.

        Args:
            config: Settings.
            profiles: Settings of the profiles of videos, for what an event adds to their counts.
            in_quarantine: Shoppers of whom only purchases count.
            announced: Newcomers that the shop expects, by video.
        """
        self.stream: StreamGuard[EventRecord] = StreamGuard(config, in_quarantine, announced)
        """Decisions, and counts that do not count."""
        self._profiles, self._orders_surface = profiles, config.orders_surface

    def admits(self, key: int, event: EventRecord, facts: VideoMetadata | None) -> bool:
        """Return whether an event counts now; a purchase always does.

        Args:
            key: Hash of the pair of shopper and video.
            event: Event that chooses the video.
            facts: Catalog data of the video; None where the catalog does not know it.
        """
        if event.kind == "purchase":
            self.stream.purchase(event.user_id, event.video_id, event.at, vouches=self._is_of_the_shop(event))
            return True
        if self.stream.admit(key, event.user_id, event.video_id, event.at):
            return True
        builder = ProfileBuilder(Profile("video", event.video_id))
        record_video_event(builder, event, facts, self._profiles)
        self.stream.hold(key, event.video_id, event, builder.counts)
        return False

    def take_note(self, key: int, event: EventRecord, facts: VideoMetadata | None) -> None:
        """Judge an event that chooses nothing: a short watch, or a refund.

        Args:
            key: Hash of the pair of shopper and video.
            event: The event.
            facts: Catalog data of the video; None where the catalog does not know it.
        """
        if event.kind == "watch":
            self.admits(key, event, facts)  # it counts among the watches of the video
        elif event.kind == "refund":
            vouched = self._is_of_the_shop(event)
            self.stream.refund(event.user_id, event.video_id, event.at, vouches=vouched)

    def released(self) -> Iterator[EventRecord]:
        """Yield the events that were held back and count now, each once."""
        return self.stream.take_released()

    def _is_of_the_shop(self, event: EventRecord) -> bool:
        return self._orders_surface in (None, event.domain)


class GuardTables:
    """Shoppers in quarantine and newcomers that are expected, by tables that people and jobs change."""

    def __init__(self, config: StreamGuardConfig) -> None:
        """Build them; they are empty until `follow`."""
        self._quarantine, self._announced = config.quarantine, config.announced
        self._reread_s = config.reread_s
        self._read_at: float | None = None
        self.user_ids: frozenset[str] = frozenset()
        """Ids of the shoppers in quarantine."""
        self.announced: Mapping[str, Announcement] = {}
        """Newcomers that are expected, by video."""

    async def follow(self) -> bool:
        """Read the tables again if it is time, and return whether they have changed.

        A table that cannot be read changes nothing: the last one stays in force.
        """
        now = time.monotonic()
        if self._read_at is not None and now - self._read_at < self._reread_s:
            return False
        self._read_at = now
        before = self.user_ids, self.announced
        self.user_ids = await _read(self._quarantine, _quarantined, self.user_ids)
        self.announced = await _read(self._announced, read_announced, self.announced)
        return (self.user_ids, self.announced) != before


def _quarantined(uri: str) -> frozenset[str]:
    return frozenset(quarantined(read_suspects(uri)).to_pylist())


async def _read(uri: str | None, read: Callable[[str], T], last: T) -> T:
    """Return what a table says, or the last that it said."""
    if uri is None:
        return last
    try:
        return await asyncio.to_thread(read, uri)
    except VrecError as error:
        logger.warning("a table of the guard cannot be read", extra={"why": str(error)[:300]})
        return last
