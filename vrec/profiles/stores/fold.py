"""From a stored profile and the events since to the profile as it is now, by the one update rule."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import StoreError
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata
from vrec.profiles.update import ProfilesConfig, record_event
from vrec.profiles.video import set_catalog_attributes

VideoLookup = Callable[[Collection[str]], Mapping[str, VideoMetadata]]
"""What the catalogue says of videos at this moment, by id; what it does not know is absent. It is called from
several threads, and must not call the store."""


class FoldConfig(BaseConfig):
    """When profiles are written, which is never needed for safety: the log alone is."""

    fold_after: int = Field(default=32, ge=1)
    """Events of one user or video after which its profile is written anew. Fewer make reading after a restart
    faster, more make writing cheaper."""


class ProfileFold:
    """The update rule with a catalogue and a config."""

    def __init__(self, facts: VideoLookup, config: ProfilesConfig) -> None:
        self._facts = facts
        self._config = config
        # The store knows by the log which events are new: a late one need not be taken for a repeated one.
        self._trusting = config.model_copy(update={"remember": sys.maxsize})

    def __call__(self, profile: Profile, events: Sequence[EventRecord]) -> Profile:
        """The profile after events of its user or video that it has not noted yet.

        What `vrec.profiles.update.profiles_of` gives for all its events: to the last bit where they come in
        the order of (at, event_id), to float rounding in any other, however late. Raises StoreError where
        its vector and a video's embedding are not of one length.
        """
        if not events:
            return profile
        facts, draft = self._facts({event.video_id for event in events}), ProfileBuilder(profile)
        if profile.entity == "video" and profile.entity_id in facts:
            set_catalog_attributes(draft, facts[profile.entity_id])
        for event in sorted(events, key=lambda event: (event.at, event.event_id)):
            known = facts.get(event.video_id)
            _same_length(draft, known)
            record_event(draft, event, known, self._trusting)
        done = draft.build()
        return replace(done, seen=done.seen[-self._config.remember :])


def _same_length(draft: ProfileBuilder, facts: VideoMetadata | None) -> None:
    if draft.profile.entity != "user" or draft.vector is None or facts is None or facts.vector is None:
        return
    if draft.vector.shape != facts.vector.shape:
        raise StoreError(
            f"the profile of user {draft.profile.entity_id} has a vector of {len(draft.vector)}, the "
            f"catalogue's embeddings are of {len(facts.vector)}: they are of two encoders",
            fix="export the events of this store and apply them to a new one, with the encoder that serves",
        )
