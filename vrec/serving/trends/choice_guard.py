"""Guard of trends and of the counts that rank videos against newcomers who push a video, and quarantine."""

import asyncio
import logging
import time
from collections.abc import Iterator, Set

from vrec.core.errors import VrecError
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata
from vrec.profiles.video import VideoProfileConfig, record_video_event
from vrec.robustness.behavior.config import StreamGuardConfig
from vrec.robustness.behavior.stream import StreamGuard
from vrec.robustness.behavior.table import quarantined, read_suspects

logger = logging.getLogger("ray.serve")


class ChoiceGuard:
    """Decision for each event that chooses a video whether it counts now."""

    def __init__(
        self, config: StreamGuardConfig, profiles: VideoProfileConfig, in_quarantine: Set[str] = frozenset()
    ) -> None:
        """Build it without events.

        Args:
            config: Settings.
            profiles: Settings of the profiles of videos, for what an event adds to their counts.
            in_quarantine: Shoppers of whom only purchases count.
        """
        self.stream: StreamGuard[EventRecord] = StreamGuard(config, in_quarantine)
        """Decisions, and counts that do not count."""
        self._profiles = profiles

    def admits(self, key: int, event: EventRecord, facts: VideoMetadata | None) -> bool:
        """Return whether an event counts now; a purchase always does.

        Args:
            key: Hash of the pair of shopper and video.
            event: Event that chooses the video.
            facts: Catalog data of the video; None where the catalog does not know it.
        """
        if event.kind == "purchase":
            self.stream.purchase(event.user_id, event.video_id, event.at)
            return True
        if self.stream.admit(key, event.user_id, event.video_id, event.at):
            return True
        builder = ProfileBuilder(Profile("video", event.video_id))
        record_video_event(builder, event, facts, self._profiles)
        self.stream.hold(key, event.video_id, event, builder.counts)
        return False

    def released(self) -> Iterator[EventRecord]:
        """Yield the events that were held back and count now, each once."""
        return self.stream.take_released()


class QuarantineList:
    """Shoppers in quarantine by a table that people and jobs change."""

    def __init__(self, config: StreamGuardConfig) -> None:
        """Build the list; it is empty until `follow`."""
        self._uri, self._reread_s = config.quarantine, config.reread_s
        self._read_at: float | None = None
        self.user_ids: frozenset[str] = frozenset()
        """Ids of the shoppers."""

    async def follow(self) -> bool:
        """Read the table again if it is time, and return whether the list has changed.

        A table that cannot be read changes nothing: the last list stays in force.
        """
        now = time.monotonic()
        if self._uri is None or (self._read_at is not None and now - self._read_at < self._reread_s):
            return False
        self._read_at = now
        try:
            table = await asyncio.to_thread(read_suspects, self._uri)
        except VrecError as error:
            logger.warning("the quarantine cannot be read", extra={"why": str(error)[:300]})
            return False
        before, self.user_ids = self.user_ids, frozenset(quarantined(table).to_pylist())
        return self.user_ids != before
