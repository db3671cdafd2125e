"""Tails of profiles in Redis: lists of what a stored profile lacks.

An entry is a packed event, a correction of a video's counts, or a marker. Each occurs once: an event by its
id, the others by a nonce.
"""

import secrets
from collections.abc import Sequence

from vrec.core.schema import EVENTS
from vrec.profiles.profile import EventRecord, Profile
from vrec.profiles.reversals import CountChange
from vrec.profiles.stores.codec import EventRow, event_from_row, pack_row, unpack_row
from vrec.profiles.stores.fold import ProfileFold

NONCE_BYTES = 12
MARKER, GONE, RESTORED = b"\x00", b"-", b"+"
"""First bytes of entries that are no events; that of a packed event is above 0x90."""


def new_marker() -> bytes:
    """Return an entry without effect, at which the tail of a profile is told from what it was before."""
    return MARKER + secrets.token_bytes(NONCE_BYTES)


def correction_entries(change: CountChange) -> list[bytes]:
    """Return the entries that correct a video's counts. They tell nothing of who did it."""
    return [
        sign + secrets.token_bytes(NONCE_BYTES) + pack_row(_anonymous(event))
        for sign, events in ((GONE, change.gone), (RESTORED, change.restored))
        for event in events
    ]


def change_entry(video_id: str) -> bytes:
    """Return an entry of the log that says that the profile of a video has changed."""
    return pack_row(tuple(video_id if column.name == "video_id" else None for column in EVENTS.columns))


def is_change_entry(row: EventRow) -> bool:
    """Return whether a row of the log only says that the profile of its video has changed."""
    return row[0] is None


def fold_tail(profile: Profile, tail: Sequence[bytes], fold: ProfileFold) -> Profile:
    """Return a stored profile with its tail."""
    owner = profile.entity_id if profile.entity == "user" else None
    marks = (MARKER, GONE, RESTORED)
    events = [event_from_row(unpack_row(entry), owner) for entry in tail if not entry.startswith(marks)]
    folded = fold(profile, events)
    gone, restored = (
        tuple(event_from_row(unpack_row(e[1 + NONCE_BYTES :])) for e in tail if e.startswith(sign))
        for sign in (GONE, RESTORED)
    )
    return fold.adjust(folded, CountChange(gone, restored)) if gone or restored else folded


def _anonymous(event: EventRecord) -> EventRow:
    return ("", "", event.video_id, event.kind, event.value, None, None, None, "", 0)
