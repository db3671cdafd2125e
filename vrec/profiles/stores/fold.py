"""Fold of a stored profile and later events into the present profile, by the update rule."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import StoreError
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata
from vrec.profiles.reversals import CountChange, without_reversed
from vrec.profiles.update import ProfilesConfig, record_event, start_profile
from vrec.profiles.video import record_video_event, take_back_video_event

VideoLookup = Callable[[Collection[str]], Mapping[str, VideoMetadata]]
"""A function from video ids to the catalog's present data of them; unknown videos are absent. It is called
from several threads, and must not call the store."""


class FoldConfig(BaseConfig):
    """Settings for writing profiles; durability depends on the log of events alone."""

    fold_after: int = Field(default=32, ge=1)
    """Events of one user or video after which its profile is written again. A smaller number makes reads
    after a restart faster, a larger one makes writes cheaper."""


class ProfileFold:
    """Update rule bound to a catalog and a config."""

    def __init__(self, facts: VideoLookup, config: ProfilesConfig) -> None:
        self._facts = facts
        self._config = config
        # The store knows from the log which events are new, so late events are never taken for repeated ones.
        self._remember_all = config.model_copy(update={"remember": sys.maxsize})

    def __call__(self, profile: Profile, events: Sequence[EventRecord]) -> Profile:
        """Return the profile after new events of its user or video.

        Gives what `vrec.profiles.update.build_profiles` gives for all its events: to the last bit where they
        come in the order of (at, event_id), up to float rounding in any other order, however late. A video's
        profile has no `seen`. Of a user, events that others of `events` reverse are left out; the store tells
        by `adjust` which ones are reversed for a video.

        Args:
            profile: The stored profile.
            events: Events that are not in the profile yet, in any order.

        Raises:
            StoreError: The profile's vector and a video's embedding have different lengths.
        """
        if not events:
            return profile
        if profile.entity == "user":
            events = without_reversed(events)
        facts = self._facts({event.video_id for event in events})
        builder = start_profile(profile, facts)
        for event in sorted(events, key=lambda event: (event.at, event.event_id)):
            video = facts.get(event.video_id)
            _check_length(builder, video)
            record_event(builder, event, video, self._remember_all)
        folded = builder.build()
        # The log tells which events are new. Ids and times in a video's profile would outlive the erasure of
        # the users they are of.
        seen = folded.seen[-self._config.remember :] if folded.entity == "user" else ()
        return replace(folded, seen=seen)

    def adjust(self, profile: Profile, change: CountChange) -> Profile:
        """Return a video's profile without some of its events, and with others."""
        facts = self._facts({profile.entity_id})
        builder, video = start_profile(profile, facts), facts.get(profile.entity_id)
        for event in change.restored:
            record_video_event(builder, event, video, self._config.video)
        for event in change.gone:
            take_back_video_event(builder, event, video, self._config.video)
        return builder.build()


def has_events(profile: Profile) -> bool:
    """Return whether any event counts in a profile."""
    return any(key.startswith("event:") for key in profile.counts)


def _check_length(builder: ProfileBuilder, facts: VideoMetadata | None) -> None:
    if builder.profile.entity != "user" or builder.vector is None or facts is None or facts.vector is None:
        return
    if builder.vector.shape != facts.vector.shape:
        raise StoreError(
            f"the profile of user {builder.profile.entity_id} has a vector of {len(builder.vector)}, the "
            f"catalog's embeddings have {len(facts.vector)}: they are of two encoders",
            fix="export the events of this store and apply them to a new one, with the encoder that serves",
        )
