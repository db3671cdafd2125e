"""Readers of logs of live streams on files that the tests write in the published formats."""

import datetime as dt
import gzip
import itertools
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.errors import EventsError
from vrec.events.live_datasets import LIVE_DATASETS, STEP_0, read_kuailive, read_liverec

LIVEREC = """1,34347669376,grimnax,5415,5419
1,34391109664,jtgtv,5869,5870
2,33881429664,sal_gu,519,524
2,34347669376,grimnax,5417,5421
"""


def rows(table, *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def step(number: int) -> dt.datetime:
    return STEP_0 + dt.timedelta(minutes=10 * number)


@pytest.mark.parametrize("place", ["file", "folder", "gzip"])
def test_liverec_views_are_watches_in_steps_of_ten_minutes(tmp_path, place):
    path = tmp_path / ("full_a.csv.gz" if place == "gzip" else "100k.csv")
    path.write_bytes(gzip.compress(LIVEREC.encode()) if place == "gzip" else LIVEREC.encode())
    found = read_liverec(path if place == "file" else tmp_path)
    assert rows(found.events, "user_id", "video_id", "kind", "value", "at") == [
        ("2", "33881429664", "watch", 3000.0, step(524)),
        ("1", "34347669376", "watch", 2400.0, step(5419)),
        ("2", "34347669376", "watch", 2400.0, step(5421)),
        ("1", "34391109664", "watch", 600.0, step(5870)),
    ]
    assert rows(found.streams, "stream_id", "streamer_id", "started_at", "ended_at") == [
        ("33881429664", "sal_gu", step(519), step(524)),
        ("34347669376", "grimnax", step(5415), step(5421)),
        ("34391109664", "jtgtv", step(5869), step(5870)),
    ]


views = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 40), st.integers(0, 9)), min_size=1
)


@settings(deadline=None, max_examples=50)
@given(views)
def test_a_streamer_of_liverec_has_one_stream_at_a_time(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("liverec") / "100k.csv"
    # A stream belongs to the streamer of its number divided by 2.
    path.write_text("".join(f"{u},{s},name{s // 2},{start},{start + n}\n" for u, s, start, n in drawn))
    found = read_liverec(path)
    assert found.events.num_rows == len(drawn)
    by_streamer: dict[str, list] = {}
    for row in sorted(found.streams.to_pylist(), key=lambda row: (row["started_at"], row["ended_at"])):
        assert row["started_at"] <= row["ended_at"]
        by_streamer.setdefault(row["streamer_id"], []).append(row)
    for streams in by_streamer.values():
        for one, other in itertools.pairwise(streams):
            assert one["ended_at"] <= other["started_at"]


@pytest.mark.parametrize(
    "text", ["1,2,a,5\n", "user,stream,streamer,start,stop\n", "1,2,a,9,5\n", "1,2,a,,5\n"]
)
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "100k.csv").write_text(text)
    with pytest.raises(EventsError, match=r"100k\.csv"):
        read_liverec(tmp_path)


def write_kuailive(folder: Path) -> Path:
    base = folder / "kuailive"
    base.mkdir()
    files = {
        "room.csv": "p_date,live_id,streamer_id,live_type,start_timestamp,end_timestamp,"
        "live_content_category,live_name_id\n20250525,7336601,252634,1,1748131180878,1748275200000,shop,0\n"
        "20250525,7336602,252635,1,1748131180000,1748131190000,chat,3\n",
        "click.csv": "user_id,live_id,streamer_id,timestamp,watch_live_time\n"
        "8505,7336601,252634,1748131181000,2852\n8505,99,5,1748131181000,10\n",
        "negative.csv": "user_id,live_id,streamer_id,timestamp\n9810,7336602,252635,1748131182000\n",
        "like.csv": "user_id,live_id,streamer_id,timestamp\n8505,7336601,252634,1748131183000\n",
        "comment.csv": "user_id,live_id,streamer_id,timestamp\n8505,7336601,252634,1748131183500\n",
        "gift.csv": "user_id,live_id,streamer_id,timestamp,gift_price\n8505,7336601,252634,1748131183700,2\n",
    }
    for name, text in files.items():
        (base / name).write_text(text)
    return base


def milli(at: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=at)


def test_kuailive_rooms_are_streams_and_each_file_a_kind_of_event(tmp_path):
    write_kuailive(tmp_path)
    found = read_kuailive(tmp_path)
    assert rows(found.streams, "stream_id", "streamer_id", "category", "started_at", "ended_at") == [
        ("7336601", "252634", "shop", milli(1748131180878), milli(1748275200000)),
        ("7336602", "252635", "chat", milli(1748131180000), milli(1748131190000)),
    ]
    assert rows(found.events, "event_id", "user_id", "video_id", "kind", "value", "at") == [
        ("click-0", "8505", "7336601", "click", None, milli(1748131181000)),
        ("negative-0", "9810", "7336602", "impression", None, milli(1748131182000)),
        ("like-0", "8505", "7336601", "like", None, milli(1748131183000)),
        ("comment-0", "8505", "7336601", "comment", None, milli(1748131183500)),
        ("gift-0", "8505", "7336601", "gift", 2.0, milli(1748131183700)),
        ("watch-0", "8505", "7336601", "watch", pytest.approx(2.852), milli(1748131183852)),
    ]


def test_kuailive_needs_rooms_and_clicks_only(tmp_path):
    base = write_kuailive(tmp_path)
    for name in ("negative", "like", "comment", "gift"):
        (base / f"{name}.csv").unlink()
    assert set(pl.Series(read_kuailive(base).events.column("kind"))) == {"click", "watch"}
    (base / "click.csv").write_text("user_id,live_id\n1,2\n")
    with pytest.raises(EventsError, match=r"no column timestamp, watch_live_time"):
        read_kuailive(base)
    (base / "click.csv").unlink()
    with pytest.raises(EventsError, match=r"click\.csv: no such file"):
        read_kuailive(base)


def test_readers_have_their_names(tmp_path):
    write_kuailive(tmp_path)
    (tmp_path / "100k.csv").write_text(LIVEREC)
    for name, read in LIVE_DATASETS.items():
        found = read(tmp_path)
        assert found.name == name
        assert set(found.events.column("video_id").to_pylist()) <= set(
            found.streams.column("stream_id").to_pylist()
        )
