"""Creators in logs: follows by hand and by any order, and creators in the place of videos."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, FOLLOWS, VIDEOS
from vrec.events.creators import follows_from_events, read_follows, with_creators, without_creator_events

DAY = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)
VIDEO = {"uri": "", "kind": "clip", "product_ids": [], "domain": "s", "tags": [], "available": True}
CATALOG = pa.Table.from_pylist(
    [VIDEO | {"video_id": "a", "creator_id": "c"}, VIDEO | {"video_id": "b", "creator_id": ""}],
    schema=VIDEOS.arrow(),
)


def log(*rows):
    return pa.Table.from_pylist(
        [
            {
                "event_id": str(n), "user_id": user, "video_id": target, "kind": kind, "domain": "s",
                "at": DAY + dt.timedelta(seconds=second),
            }
            for n, (user, target, kind, second) in enumerate(rows)
        ],
        schema=EVENTS.arrow(),
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("uv"),
            st.sampled_from(["a", "b", "creator:c", "creator:d"]),
            st.sampled_from(["follow", "unfollow", "click"]),
            st.integers(0, 8),
        )
    ),
    st.integers(0, 9),
)
def test_follows_hold_as_their_events_say(rows, second):
    now = DAY + dt.timedelta(seconds=second)
    found = follows_from_events(log(*rows), CATALOG).to_pylist()
    holding = {
        (one["user_id"], one["entity_id"])
        for one in found
        if one["at"] <= now and (one["ended_at"] is None or one["ended_at"] > now)
    }
    last = {}
    for user, target, kind, at in rows:
        creator = {"a": "c", "creator:c": "c", "creator:d": "d"}.get(target)
        if creator and at <= second and kind != "click":
            last[user, creator] = max(last.get((user, creator), (-1, "")), (at, kind))
    assert holding == {pair for pair, (_, kind) in last.items() if kind == "follow"}


def test_creators_stand_for_their_videos():
    events = log(("u", "a", "click", 1), ("u", "b", "click", 2), ("u", "creator:d", "follow", 3))
    assert with_creators(events, CATALOG).column("video_id").to_pylist() == ["c", "d"]
    assert without_creator_events(events).column("video_id").to_pylist() == ["a", "b"]


def test_follows_are_read_from_text_and_refused_with_all_that_is_wrong(tmp_path):
    path = tmp_path / "follows.csv"
    path.write_text("user_id,entity,entity_id,at\nu,creator,c,2025-01-06T00:00:00Z\nu,user,v,2025-01-07\n")
    found = read_follows(str(path))
    assert found.schema.names == FOLLOWS.arrow().names
    assert found.column("entity").to_pylist() == ["creator", "user"]
    path.write_text("user_id,entity,entity_id,at\n,creator,c,2025-01-06\nu,brand,c,soon\n")
    with pytest.raises(EventsError, match=r"user_id.*entity.*at"):
        read_follows(str(path))
