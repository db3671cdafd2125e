"""Replay of a log: each impression with the counts and profiles from strictly before its moment.

Two passes, each of which can run on shards: the counts of videos at their impressions (any subset of videos),
then the requests of users (any subset of users). Both update profiles by the same code as serving, so that
features at training and serving are equal. From the moment of an `unlike`, `unhide` or `refund` on, what it
reverses counts as never sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.events.reversals import ReversalTracker
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata
from vrec.profiles.reversals import event_order
from vrec.profiles.update import ProfilesConfig, event_rows, record_event, sort_events, validate_events
from vrec.profiles.video import take_back_video_event
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles

VIDEO_COUNTS = pa.schema(
    [("event_id", pa.string()), ("state", pa.list_(pa.float64(), len(VIDEO_COUNT_KEYS)))]
)
"""Schema of the replayed counts: for each impression, the counts of its video before its moment."""

VideoFactsById = Mapping[str, VideoMetadata]
"""Metadata of videos by video_id."""


def replay_video_counts(events: pa.Table, facts: VideoFactsById, config: ProfilesConfig) -> pa.Table:
    """Replay the counts of videos at their impressions.

    The rows of a video depend on its own events only, so videos can be processed in shards.

    Args:
        events: All EVENTS of some videos.
        facts: Metadata of videos.
        config: Settings of the profiles.

    Returns:
        VIDEO_COUNTS, one row per impression, sorted by video, time and event id: the counts of the events of
        its video strictly before it.

    Raises:
        EventsError: an event is invalid.
        RankError: an event_id occurs twice.
        SchemaError: `events` has other columns.
    """
    events = sort_events(_check_unique_ids(validate_events(events, config.own_kinds)), "video_id")
    ids: list[str] = []
    values: list[float] = []
    for video_id, group in groupby(event_rows(events), lambda event: event.video_id):
        builder, tracker = ProfileBuilder(Profile("video", video_id)), ReversalTracker[EventRecord]()
        for _, moment in groupby(group, lambda event: event.at):
            simultaneous = list(moment)
            shown = [event.event_id for event in simultaneous if event.kind == "impression"]
            ids += shown
            values += [builder.counts.get(key, 0.0) for key in VIDEO_COUNT_KEYS] * len(shown)
            for event in sorted(simultaneous, key=event_order):
                record_event(builder, event, facts.get(video_id), config)
                for reversed_one in tracker.add(event.user_id, event.kind, event):
                    take_back_video_event(builder, reversed_one, facts.get(video_id), config.video)
    flat = pa.array(values, pa.float64())
    lists = pa.FixedSizeListArray.from_arrays(flat, len(VIDEO_COUNT_KEYS))
    return pa.Table.from_arrays([pa.array(ids, pa.string()), lists], schema=VIDEO_COUNTS)


def replay_requests(
    events: pa.Table, video_counts: pa.Table, facts: VideoFactsById, config: ProfilesConfig
) -> Iterator[RankingRequest]:
    """Yield the requests of EVENTS, sorted by user, time and request_id (null first).

    Impressions of one user with equal time and request_id are one request, whose surface is the domain of the
    first. Its profile holds the user's events strictly before its moment. The candidates are sorted by
    position and event id, so that all candidates are in the order of `impressions`. The requests of a user
    depend on the user's events and `video_counts` only, so users can be processed in shards.

    Args:
        events: All EVENTS of some users.
        video_counts: VIDEO_COUNTS of all their impressions; rows of other impressions are ignored.
        facts: Metadata of videos.
        config: Settings of the profiles.

    Raises:
        EventsError: an event is invalid.
        RankError: an event_id occurs twice, or an impression has no row in `video_counts`.
        SchemaError: `events` has other columns.
    """
    events = sort_events(_check_unique_ids(validate_events(events, config.own_kinds)), "user_id")
    rows, counts = _align_counts(events, video_counts)
    stream = zip(
        rows,
        events.column("request_id").to_pylist(),
        events.column("position").to_pylist(),
        event_rows(events),
        strict=True,
    )
    for user_id, group in groupby(stream, lambda row: row[3].user_id):
        builder = UserReplay(user_id, facts, config)
        for at, moment in groupby(group, lambda row: row[3].at):
            simultaneous = list(moment)
            seen = [row for row in simultaneous if row[3].kind == "impression"]
            if seen:
                yield from _requests(builder.build(), at, seen, counts)
            builder.record([event for *_, event in simultaneous])


class UserReplay:
    """Profile of a user in the course of a log, without the events that were reversed so far."""

    def __init__(self, user_id: str, facts: VideoFactsById, config: ProfilesConfig) -> None:
        self._user_id, self._facts, self._config = user_id, facts, config
        self._tracker, self._recorded = ReversalTracker[EventRecord](), list[EventRecord]()
        self._builder = ProfileBuilder(Profile("user", user_id))

    def build(self) -> Profile:
        """Return the profile with everything recorded so far."""
        return self._builder.build()

    def record(self, simultaneous: Sequence[EventRecord]) -> None:
        """Record the user's events of the next moment."""
        reversed_ids: set[str] = set()
        for event in sorted(simultaneous, key=event_order):
            reversed_now = self._tracker.add(event.video_id, event.kind, event)
            reversed_ids |= {one.event_id for one in reversed_now}
        self._recorded += simultaneous
        if not reversed_ids:
            return self._record(simultaneous)
        # The history may have dropped older events in favor of a reversed one: only all events tell.
        self._recorded = [event for event in self._recorded if event.event_id not in reversed_ids]
        self._builder = ProfileBuilder(Profile("user", self._user_id))
        self._record(self._recorded)
        return None

    def _record(self, events: Sequence[EventRecord]) -> None:
        for event in events:
            record_event(self._builder, event, self._facts.get(event.video_id), self._config)


def impressions(events: pa.Table) -> pa.Table:
    """Return the impressions of EVENTS in the order of the candidates of `replay_requests`."""
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    keys = [
        pc.fill_null(shown.column("request_id"), ""),
        # Impressions without a position come last.
        pc.fill_null(shown.column("position").cast(pa.int32()), 1 << 16),
    ]
    names = ("user_id", "at", "request_id", "position", "event_id")
    table = pa.table([shown.column("user_id"), shown.column("at"), *keys, shown.column("event_id")], names)
    return shown.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))


def _requests(user: Profile, at: int, seen: list[tuple], counts: Doubles) -> Iterator[RankingRequest]:
    seen.sort(key=lambda row: (row[1] or "", 1 << 16 if row[2] is None else row[2], row[3].event_id))
    for _, group in groupby(seen, key=lambda row: row[1] or ""):
        shown = list(group)
        positions = [-1 if row[2] is None else row[2] for row in shown]
        yield RankingRequest(
            user=user,
            context=RequestContext(at, shown[0][3].domain),
            video_ids=tuple(row[3].video_id for row in shown),
            video_counts=counts[[row[0] for row in shown]],
            positions=np.array(positions, np.int16),
        )


def _align_counts(events: pa.Table, video_counts: pa.Table) -> tuple[list[int], Doubles]:
    """Return each event's row in VIDEO_COUNTS, −1 where it has none, and the (N, keys) float64 counts."""
    column = video_counts.column("state").combine_chunks()
    counts = np.asarray(column.flatten(), np.float64).reshape(-1, len(VIDEO_COUNT_KEYS))
    ids = video_counts.column("event_id").combine_chunks()
    rows = pc.fill_null(pc.index_in(events.column("event_id"), value_set=ids), -1)
    missing = events.filter(pc.and_(pc.equal(events.column("kind"), "impression"), pc.less(rows, 0)))
    if missing.num_rows:
        raise RankError(
            f"replay: {missing.num_rows:,} impressions have no row in VIDEO_COUNTS, such as "
            f"{missing.column('event_id')[0]}",
            fix="pass replay_video_counts all events of the videos that these users were shown",
        )
    return rows.to_pylist(), counts


def _check_unique_ids(events: pa.Table) -> pa.Table:
    ids = events.column("event_id")
    count = pc.count_distinct(ids).as_py()
    if count < events.num_rows:
        counts = pc.value_counts(ids)
        example = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise RankError(
            f"replay: {events.num_rows - count:,} of {events.num_rows:,} events repeat another's event_id, "
            f"such as {example}",
            fix="read the events with vrec, which drops repeated ones",
        )
    return events
