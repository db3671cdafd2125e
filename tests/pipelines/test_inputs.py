"""Input tables: what each path brings, what is left out and counted, and what cannot be read."""

import datetime as dt
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.config.load import load_settings
from vrec.core.errors import ConfigError, SchemaError, SourceError
from vrec.core.schema import VIDEOS
from vrec.core.types import CatalogContent
from vrec.events.videos import complete_videos
from vrec.pipelines import inputs as module
from vrec.pipelines.inputs import (
    InputPaths,
    input_fingerprint,
    read_inputs,
    read_users,
    read_videos,
)

EVENTS = load_settings().events
START = datetime(2025, 1, 1, tzinfo=UTC)


def write_events(path: Path, rows: list[dict]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def event(user: str, video: str, hours: float, **more) -> dict:
    return {"user_id": user, "video_id": video, "at": START + timedelta(hours=hours), "kind": "click"} | more


def video(name: str, **more) -> dict:
    base = {"video_id": name, "uri": "/", "kind": "product", "product_ids": [], "creator_id": "c"}
    return base | {"domain": "d", "tags": [], "duration_s": 4.0, "available": True} | more


@pytest.fixture
def events(tmp_path) -> str:
    rows = [event("u", "u", 2), event("u", "a", 1), event("u", "a", 1), event("v", "a", 0, kind="impression")]
    return write_events(tmp_path / "EVENTS.parquet", rows)


def test_events_become_interactions_and_duplicates_are_counted(events):
    data = read_inputs(InputPaths(events), EVENTS, "fused")
    assert (data.name, data.has_clock, data.duplicates, data.future_events) == (events, True, 1, 0)
    assert data.events.num_rows == 3
    assert sorted(data.interactions["video_id"].to_pylist()) == ["a", "u"], "an impression shows no interest"
    assert data.content is None
    assert data.events["at"].to_pylist() == sorted(data.events["at"].to_pylist())
    assert data.events["at"][2].as_py() == START + timedelta(hours=2)


def test_future_events_are_counted_where_they_are_dropped(tmp_path):
    late = {"at": datetime.now(UTC) + timedelta(days=9)}
    path = write_events(tmp_path / "E.parquet", [event("u", "a", 1), event("u", "b", 1) | late])
    config = load_settings(overrides=["events.read.future=drop"]).events
    data = read_inputs(InputPaths(path), config, "fused")
    assert (data.future_events, data.duplicates, data.events.num_rows) == (1, 0, 1)


def test_columns_are_mapped_by_name(tmp_path):
    path = str(tmp_path / "log.parquet")
    pq.write_table(pa.table({"who": ["u"], "item": ["a"], "when": [START]}), path)
    mapping = {"user_id": "who", "video_id": "item", "at": "when"}
    data = read_inputs(InputPaths(path, mapping=mapping), EVENTS, "fused")
    assert data.events.select(["user_id", "video_id"]).to_pylist() == [{"user_id": "u", "video_id": "a"}]


def test_durations_of_videos_change_what_a_watch_weighs(tmp_path):
    path = write_events(tmp_path / "E.parquet", [event("u", "a", 1, kind="watch", value=4.0)])
    pq.write_table(pa.Table.from_pylist([video("a")], schema=VIDEOS.arrow()), tmp_path / "V.parquet")
    config = load_settings(
        overrides=["events.interest={watch: 3.0, watch_whole_s: 8.0, watch_least: 0}"]
    ).events
    without = read_inputs(InputPaths(path), config, "fused")
    known = read_inputs(InputPaths(path, videos=str(tmp_path / "V.parquet")), config, "fused")
    assert without.interactions["weight"].to_pylist() == [1.5]
    assert known.interactions["weight"].to_pylist() == [3.0]
    assert known.content is not None
    assert known.content.embeddings is None
    assert known.content.videos.num_rows == 1


def test_embeddings_are_of_the_modality_that_is_asked_for(events, monkeypatch):
    table = pa.table({"entity_id": ["a"]})
    monkeypatch.setattr(
        module, "read_embeddings", lambda uri, modality: table if modality == "text" else None
    )
    data = read_inputs(InputPaths(events, embeddings="/emb"), EVENTS, "text")
    assert data.content == CatalogContent(None, table)
    with pytest.raises(SourceError, match="/emb: no frames embeddings there") as raised:
        read_inputs(InputPaths(events, embeddings="/emb"), EVENTS, "frames")
    assert "fit.modality" in raised.value.fix


def test_a_public_data_set_is_read_by_its_name_and_an_unknown_one_refused(monkeypatch, events):
    plain = read_inputs(InputPaths(events), EVENTS, "fused")
    own = pa.Table.from_pylist([video("a")], schema=VIDEOS.arrow())
    public = module.PublicDataset("Toy", plain.events, own, has_timestamps=False, note="")
    monkeypatch.setattr(module, "DATASETS", {"toy": lambda uri: replace(public, note=uri)})
    data = read_inputs(InputPaths("/folder", dataset="toy"), EVENTS, "fused")
    assert (data.name, data.has_clock, data.duplicates, data.future_events) == ("Toy", False, 0, 0)
    assert data.content == CatalogContent(own, None)
    with pytest.raises(ConfigError, match="--dataset tyo: there is no reader") as raised:
        read_inputs(InputPaths("/folder", dataset="tyo"), EVENTS, "fused")
    assert raised.value.fix == "give one of toy, pairs, lists"


def test_videos_that_cannot_be_read_are_refused_in_words(tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"uri": ["a"]}), tmp_path / "short.parquet")
    for name, kind, words in (
        ("nothing.parquet", SourceError, "no such file"),
        ("text.parquet", SourceError, "not a Parquet table"),
        ("short.parquet", SchemaError, "missing video_id"),
    ):
        with pytest.raises(kind, match=words):
            read_videos(str(tmp_path / name))


TEXT_VIDEOS = {
    "v.csv": "video_id,title,tags,price,available,published_at,extra\n"
    "007,Red bag,bags|red,12.5,yes,2026-03-01,x\n8,,,,0,,y\n",
    "v.tsv": "video_id\ttitle\ttags\tprice\tavailable\tpublished_at\n"
    "007\tRed bag\t['bags', 'red']\t12.5\ttrue\t20260301\n8\t\t[]\t\tFalse\t\n",
    "v.jsonl": '{"video_id": "007", "title": "Red bag", "tags": ["bags", "red"], "price": 12.5, '
    '"available": true, "published_at": 1772323200}\n{"video_id": 8, "tags": [], "available": false}\n',
}


@pytest.mark.parametrize("name", TEXT_VIDEOS)
def test_videos_are_read_from_text_as_from_parquet(tmp_path, name):
    (tmp_path / name).write_text(TEXT_VIDEOS[name])
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(TEXT_VIDEOS[name].encode()))
    day = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    rows = [
        {"video_id": "007", "title": "Red bag", "tags": ["bags", "red"], "price": 12.5, "available": True,
         "published_at": day},
        {"video_id": "8", "title": None, "tags": [], "price": None, "available": False, "published_at": None},
    ]  # fmt: skip
    expected = complete_videos(pa.Table.from_pylist(rows), "test")
    assert read_videos(str(tmp_path / name)).equals(expected)
    assert read_videos(str(tmp_path / f"{name}.gz")).equals(expected)


def test_videos_of_text_that_cannot_be_cast_name_every_column(tmp_path):
    (tmp_path / "v.csv").write_text("video_id,price,available,published_at\na,cheap,maybe,soon\n")
    with pytest.raises(SchemaError) as raised:
        read_videos(str(tmp_path / "v.csv"))
    for words in ("price", "cheap", "available", "maybe", "published_at", "soon"):
        assert words in str(raised.value)
    (tmp_path / "w.csv").write_text("title\nx\n")
    with pytest.raises(SchemaError, match="missing video_id"):
        read_videos(str(tmp_path / "w.csv"))


def test_users_are_read_without_blanks_and_broken_files_refused(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffuser_id,x\nu1,1\n,2\nu2,3\n", encoding="utf-8")
    assert read_users(str(tmp_path / "a.csv")) == ["u1", "u2"]
    pq.write_table(pa.table({"user_id": ["u", None]}), tmp_path / "a.parquet")
    assert read_users(str(tmp_path / "a.parquet")) == ["u"]
    pq.write_table(pa.table({"id": ["u"]}), tmp_path / "b.parquet")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("b.parquet", "b.txt"):
        with pytest.raises(SourceError, match="no user_id to be read"):
            read_users(str(tmp_path / name))


def test_a_fingerprint_is_of_all_tables_and_of_nothing_else(events):
    data = read_inputs(InputPaths(events), EVENTS, "fused")
    base = input_fingerprint(data)
    assert len(base) == 12
    assert input_fingerprint(replace(data, name="else", duplicates=7)) == base
    one = pa.table({"x": [1]})
    others = [
        replace(data, events=data.events.slice(1)),
        replace(data, interactions=data.interactions.slice(1)),
        replace(data, content=CatalogContent(one, None)),
        replace(data, content=CatalogContent(None, pa.table({"x": [2]}))),
    ]
    assert len({base, *map(input_fingerprint, others)}) == 5
