"""Logs of live streams: what is live, what held at an instant, what a shopper had watched, against loops."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, STREAM_VECTORS, STREAMS
from vrec.retrieval.live.log import ContentTimeline, LiveLog

START = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)
START_US = round(START.timestamp() * 1e6)


def minute(number: float) -> dt.datetime:
    return START + dt.timedelta(minutes=number)


def micros(number: float) -> int:
    return START_US + round(number * 60e6)


def streams_table(rows: list[tuple[str, str, float, float | None]]) -> pa.Table:
    """Return STREAMS of (stream, streamer, start, end) in minutes."""
    return pa.Table.from_pylist(
        [
            {
                "stream_id": stream, "streamer_id": streamer, "tags": [], "product_ids": [], "category": None,
                "started_at": minute(start), "ended_at": None if end is None else minute(end),
            }
            for stream, streamer, start, end in rows
        ],
        schema=STREAMS.arrow(),
    )  # fmt: skip


def events_table(rows: list[tuple[str, str, float, float]]) -> pa.Table:
    """Return EVENTS of (user, stream, start, end) in minutes."""
    return pa.Table.from_pylist(
        [
            {
                "event_id": f"e{n}", "user_id": user, "video_id": stream, "kind": "watch",
                "value": (end - start) * 60, "domain": "live", "at": minute(end),
            }
            for n, (user, stream, start, end) in enumerate(rows)
        ],
        schema=EVENTS.arrow(),
    )  # fmt: skip


intervals = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 200)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=50)
@given(intervals, st.integers(-100, 700))
def test_live_streams_have_begun_and_not_ended(drawn, at):
    rows = [(f"s{n:02}", f"r{n}", start, start + length) for n, (start, length) in enumerate(drawn)]
    log = LiveLog.from_tables(events_table([("u", "s00", 0, 1)]), streams_table(rows))
    wanted = [stream for stream, _, start, end in rows if start <= at < end]
    assert log.streams.names(log.live_at(micros(at))).to_pylist() == wanted


def test_a_stream_without_an_end_is_live_for_ever():
    log = LiveLog.from_tables(events_table([("u", "a", 5, 6)]), streams_table([("a", "r", 5, None)]))
    assert [len(log.live_at(micros(at))) for at in (4, 5, 100, 10_000_000)] == [0, 1, 1, 1]


held = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), min_size=1, max_size=30, unique=True)


@settings(deadline=None, max_examples=100)
@given(held, st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 70)), min_size=1, max_size=20))
def test_the_latest_vector_holds(drawn, asked):
    streams = [f"s{n}" for n in range(5)]
    flat = pa.array(np.arange(len(drawn), dtype=np.float32))
    table = pa.table(
        {
            "stream_id": [streams[stream] for stream, _ in drawn],
            "encoder": ["e"] * len(drawn),
            "at": pa.array([minute(at) for _, at in drawn], pa.timestamp("us", "UTC")),
            "vector": pa.FixedSizeListArray.from_arrays(flat, 1),
        },
        schema=STREAM_VECTORS.arrow(1),
    )
    log = LiveLog.from_tables(
        events_table([("u", "s0", 0, 1)]), streams_table([(s, s, 0, None) for s in streams])
    )
    timeline = ContentTimeline.from_table(table, log.streams)
    rows = timeline.rows_at(np.array([s for s, _ in asked]), np.array([micros(at) for _, at in asked]))
    for (stream, at), row in zip(asked, rows.tolist(), strict=True):
        before = [(when, n) for n, (other, when) in enumerate(drawn) if other == stream and when <= at]
        assert (None if row < 0 else timeline.vectors[row, 0]) == (max(before)[1] if before else None)


def test_a_view_is_a_watch_that_ended_at_its_event():
    streams = streams_table([("a", "r1", 0, 60), ("b", "r2", 0, 60)])
    log = LiveLog.from_tables(
        events_table([("u", "b", 10, 20), ("u", "a", 0, 5), ("u", "unknown", 3, 4), ("v", "a", 1, 2)]),
        streams,
    )
    user = log.users.find(["u"])[0]
    assert [log.streams.ids[n].as_py() for n in log.view_stream[log.views_of(user, micros(11))]] == ["a", "b"]
    assert len(log.views_of(user, micros(10))) == 1
    assert log.view_seconds[log.views_of(user, micros(11))].tolist() == [300.0, 600.0]
    assert len(log.until(micros(5)).view_start) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [([("a", "r", 0, 5), ("a", "r", 6, 7)], "not unique"), ([("a", "r", 5, 0)], "end before they start")],
)
def test_impossible_streams_are_refused(rows, message):
    with pytest.raises(EventsError, match=message):
        LiveLog.from_tables(events_table([("u", "a", 0, 1)]), streams_table(rows))
