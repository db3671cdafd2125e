"""A log replayed: every impression with what was known strictly before its moment.

Two passes, each of which can be cut into parts: videos' states at their impressions (any subset of videos),
then users' requests (any subset of users). Both use the profiles' own fold, so that serving sees the same.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.profiles.profile import Profile, ProfileBuilder, VideoMetadata
from vrec.profiles.update import ProfilesConfig, event_rows, record_event, sort_events, validate_events
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles

VIDEO_COUNTS = pa.schema(
    [("event_id", pa.string()), ("state", pa.list_(pa.float64(), len(VIDEO_COUNT_KEYS)))]
)
"""Of each impression its video's counts before its moment."""

VideoFactsById = Mapping[str, VideoMetadata]


def replay_video_counts(events: pa.Table, facts: VideoFactsById, config: ProfilesConfig) -> pa.Table:
    """STATES, one row an impression of EVENTS: what its video's events strictly before it add up to.

    By video, time and id. Every video's rows depend on its own events only: all events of some videos give
    their rows of the whole. Raises SchemaError, EventsError for impossible events, and RankError for event
    ids that repeat.
    """
    events = sort_events(_distinct(validate_events(events)), "video_id")
    ids: list[str] = []
    found: list[float] = []
    for video_id, group in groupby(event_rows(events), lambda event: event.video_id):
        draft = ProfileBuilder(Profile("video", video_id))
        for _, moment in groupby(group, lambda event: event.at):
            now = list(moment)
            shown = [event.event_id for event in now if event.kind == "impression"]
            ids += shown
            found += [draft.counts.get(key, 0.0) for key in VIDEO_COUNT_KEYS] * len(shown)
            for event in now:
                record_event(draft, event, facts.get(video_id), config)
    flat = pa.array(found, pa.float64())
    lists = pa.FixedSizeListArray.from_arrays(flat, len(VIDEO_COUNT_KEYS))
    return pa.Table.from_arrays([pa.array(ids, pa.string()), lists], schema=VIDEO_COUNTS)


def replay_requests(
    events: pa.Table, states: pa.Table, facts: VideoFactsById, config: ProfilesConfig
) -> Iterator[RankingRequest]:
    """The requests of EVENTS, by user, time and request_id (null first), candidates by position and id.

    Impressions of one user with equal time and request_id are one request; its surface is their first domain.
    Its profile holds the user's events strictly before its moment. Every user's requests depend on their own
    events only, and on `states`, which must hold all impressions (STATES of more are passed over); their
    candidates are in the order of `impressions`. Raises SchemaError, EventsError, and RankError for event ids
    that repeat and for impressions without a state.
    """
    events = sort_events(_distinct(validate_events(events)), "user_id")
    places, rows = _state_rows(events, states)
    shown = zip(
        places,
        events.column("request_id").to_pylist(),
        events.column("position").to_pylist(),
        event_rows(events),
        strict=True,
    )
    for user_id, group in groupby(shown, lambda row: row[3].user_id):
        draft = ProfileBuilder(Profile("user", user_id))
        for at, moment in groupby(group, lambda row: row[3].at):
            now = list(moment)
            seen = [row for row in now if row[3].kind == "impression"]
            if seen:
                yield from _requests(draft.build(), at, seen, rows)
            for *_, event in now:
                record_event(draft, event, facts.get(event.video_id), config)


def impressions(events: pa.Table) -> pa.Table:
    """The impressions of EVENTS in the order in which `replay` gives them."""
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    keys = [
        pc.fill_null(shown.column("request_id"), ""),
        # What has no position comes last.
        pc.fill_null(shown.column("position").cast(pa.int32()), 1 << 16),
    ]
    names = ("user_id", "at", "request_id", "position", "event_id")
    table = pa.table([shown.column("user_id"), shown.column("at"), *keys, shown.column("event_id")], names)
    return shown.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))


def _requests(user: Profile, at: int, seen: list[tuple], rows: Doubles) -> Iterator[RankingRequest]:
    seen.sort(key=lambda row: (row[1] or "", 1 << 16 if row[2] is None else row[2], row[3].event_id))
    for _, group in groupby(seen, key=lambda row: row[1] or ""):
        shown = list(group)
        positions = [-1 if row[2] is None else row[2] for row in shown]
        yield RankingRequest(
            user=user,
            context=RequestContext(at, shown[0][3].domain),
            video_ids=tuple(row[3].video_id for row in shown),
            video_counts=rows[[row[0] for row in shown]],
            positions=np.array(positions, np.int16),
        )


def _state_rows(events: pa.Table, states: pa.Table) -> tuple[list[int], Doubles]:
    """Of each event its row among the states, −1 where it has none; and the (N, len(STATE)) states."""
    column = states.column("state").combine_chunks()
    rows = np.asarray(column.flatten(), np.float64).reshape(-1, len(VIDEO_COUNT_KEYS))
    ids = states.column("event_id").combine_chunks()
    places = pc.fill_null(pc.index_in(events.column("event_id"), value_set=ids), -1)
    missing = events.filter(pc.and_(pc.equal(events.column("kind"), "impression"), pc.less(places, 0)))
    if missing.num_rows:
        raise RankError(
            f"replay: {missing.num_rows:,} impressions have no state, such as "
            f"{missing.column('event_id')[0]}",
            fix="give video_states all events of the videos that these users were shown",
        )
    return places.to_pylist(), rows


def _distinct(events: pa.Table) -> pa.Table:
    ids = events.column("event_id")
    count = pc.count_distinct(ids).as_py()
    if count < events.num_rows:
        counts = pc.value_counts(ids)
        example = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"]
        raise RankError(
            f"replay: {events.num_rows - count:,} of {events.num_rows:,} events repeat another's event_id, "
            f"such as {example}",
            fix="read the events with vrec, which leaves repeated ones out",
        )
    return events
