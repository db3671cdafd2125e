"""Effect of `unlike`, `unhide` and `refund` on profiles: the reversed events count as never sent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vrec.core.schema import REVERSED_BY
from vrec.events.reversals import ReversalTracker, reversal_order
from vrec.profiles.profile import EventRecord


def event_order(event: EventRecord) -> tuple[int, bool, str]:
    """Return the sort key of an event by time; of the same moment, those that reverse others come last."""
    return reversal_order(event.at, event.kind, event.event_id)


def reversed_events(events: Iterable[EventRecord]) -> list[EventRecord]:
    """Return the events that another one of them reverses, whatever their order, oldest first."""
    tracker, found = ReversalTracker[EventRecord](), list[EventRecord]()
    for event in sorted(events, key=event_order):
        found += tracker.add((event.user_id, event.video_id), event.kind, event)
    return sorted(found, key=event_order)


def without_reversed(events: Sequence[EventRecord]) -> Sequence[EventRecord]:
    """Return events without those that another one of them reverses, in their order."""
    if not any(event.kind in REVERSED_BY for event in events):
        return events
    ids = {event.event_id for event in reversed_events(events)}
    return [event for event in events if event.event_id not in ids]


@dataclass(frozen=True, slots=True)
class CountChange:
    """Events that count no longer in a video's profile, and events that count again."""

    gone: tuple[EventRecord, ...] = ()
    restored: tuple[EventRecord, ...] = ()


def changes_by_video(
    reversed_before: Iterable[EventRecord],
    reversed_after: Iterable[EventRecord],
    removed: EventRecord | None = None,
) -> dict[str, CountChange]:
    """Return what changes in the profiles of videos when other events are reversed than before.

    Args:
        reversed_before: Events that were reversed.
        reversed_after: Events that are reversed now.
        removed: Event that is removed.

    Returns:
        The change by video; videos without a change are absent.
    """
    before = {event.event_id: event for event in reversed_before}
    after = {event.event_id: event for event in reversed_after}
    gone = [event for name, event in after.items() if name not in before]
    restored = [event for name, event in before.items() if name not in after]
    if removed is not None:
        # A reversed event did not count, and one that is removed does not count again.
        gone += [removed] if removed.event_id not in before else []
        restored = [event for event in restored if event.event_id != removed.event_id]
    videos = dict.fromkeys(event.video_id for event in (*gone, *restored))
    return {
        name: CountChange(
            tuple(event for event in gone if event.video_id == name),
            tuple(event for event in restored if event.video_id == name),
        )
        for name in videos
    }
