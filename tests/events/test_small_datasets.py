"""Readers of public data sets on a few rows of their formats: every column, unit and default, by hand."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from vrec.events.datasets import (
    DATASETS,
    kuairand_pure,
    microlens_50k,
    movielens_100k,
    open_bandit,
    open_bandit_bts,
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def rows(table, *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


def at(*when: int) -> dt.datetime:
    return dt.datetime(*when, tzinfo=dt.UTC)


def test_movielens_ratings_are_clicks_in_seconds(tmp_path):
    write(
        tmp_path / "ml100k" / "ml-100k.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t1\t1\t86401\n1\t2\t5\t86400\n",
    )
    write(
        tmp_path / "ml100k" / "ml-100k.item",
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\n2\t"Two\tDrama Crime\n',
    )
    found = movielens_100k(tmp_path)
    assert rows(found.events, "event_id", "user_id", "video_id", "kind", "value", "domain", "at") == [
        ("1-2", "1", "2", "click", None, "movielens_100k", at(1970, 1, 2)),
        ("1-1", "1", "1", "click", None, "movielens_100k", at(1970, 1, 2, 0, 0, 1)),
    ]
    names = ("video_id", "title", "tags", "language", "kind", "creator_id", "domain", "uri", "available")
    assert rows(found.videos, *names) == [
        ("2", '"Two', ["Drama", "Crime"], "en", "clip", "", "movielens_100k", "", True)
    ]
    assert rows(found.videos, "product_ids", "category", "duration_s") == [([], None, None)]
    assert found.has_timestamps


def test_microlens_days_count_back_from_the_end(tmp_path):
    write(tmp_path / "microlens50k" / "MicroLens-50k_pairs.tsv", "7\ta b c\n8\tb\n")
    write(tmp_path / "microlens50k" / "MicroLens-50k_titles.csv", "item,title\nb,Bee\na,Ay\nc,See\n")
    found = microlens_50k(tmp_path)
    assert rows(found.events, "event_id", "user_id", "video_id", "kind", "domain", "at") == [
        ("7-0", "7", "a", "click", "microlens_50k", at(2023, 12, 30)),
        ("7-1", "7", "b", "click", "microlens_50k", at(2023, 12, 31)),
        ("7-2", "7", "c", "click", "microlens_50k", at(2024, 1, 1)),
        ("8-0", "8", "b", "click", "microlens_50k", at(2024, 1, 1)),
    ]
    assert rows(found.videos, "video_id", "title", "tags") == [
        ("a", "Ay", []),
        ("b", "Bee", []),
        ("c", "See", []),
    ]
    assert not found.has_timestamps


def write_kuairand(folder: Path) -> None:
    base = folder / "kuairand_pure"
    base.mkdir()
    columns = [
        "user_id",
        "video_id",
        "time_ms",
        "is_click",
        "is_like",
        "is_follow",
        "is_forward",
        "play_time_ms",
        "tab",
    ]
    windows = {
        "val": [(1, 5, 1_000_001, 1, 0, 0, 0, 0, 2), (1, 5, 1_000_001, 0, 0, 0, 0, 2_500, 1)],
        "test": [(5, 1, 2_000, 0, 1, 1, 1, 0, 0), (5, 1, 2_000, 0, 1, 1, 1, 0, 0)],
    }
    for name, values in windows.items():
        pl.DataFrame(values, schema=columns, orient="row").write_parquet(base / f"{name}.parquet")
    pl.DataFrame(
        {
            "video_id": [5, 1],
            "author_id": [50, 10],
            "tag": ["20,43", "unknown"],
            "video_duration": [12_500.0, None],
            "upload_dt": ["2022-04-09", "2022-04-10"],
        }
    ).write_parquet(base / "item_features.parquet")


def test_kuairand_impressions_are_merged_and_each_signal_is_an_event(tmp_path):
    write_kuairand(tmp_path)
    found = kuairand_pure(tmp_path)
    late, early = at(1970, 1, 1, 0, 16, 40).replace(microsecond=1_000), at(1970, 1, 1, 0, 0, 2)
    assert rows(found.events, "event_id", "kind", "value", "request_id", "domain", "at") == [
        *(
            ("5-1-2000-" + kind, kind, None, "5-1-2000", "tab0", early)
            for kind in ("follow", "impression", "like", "share")
        ),
        ("1-5-1000001-click", "click", None, "1-5-1000001", "tab2", late),
        ("1-5-1000001-impression", "impression", None, "1-5-1000001", "tab2", late),
        ("1-5-1000001-watch", "watch", 2.5, "1-5-1000001", "tab2", late),
    ]
    assert set(rows(found.events, "user_id", "video_id")) == {("5", "1"), ("1", "5")}
    assert "2 rows repeat another" in found.note
    assert found.has_timestamps


def test_kuairand_videos_may_lack_tags_and_duration(tmp_path):
    write_kuairand(tmp_path)
    names = ("video_id", "creator_id", "tags", "duration_s", "published_at", "language", "domain")
    assert rows(kuairand_pure(tmp_path).videos, *names) == [
        ("1", "10", [], None, at(2022, 4, 10), "zh", "kuairand_pure"),
        ("5", "50", ["20", "43"], 12.5, at(2022, 4, 9), "zh", "kuairand_pure"),
    ]


def test_open_bandit_positions_start_at_0_and_clicks_have_no_propensity(tmp_path):
    header = ",timestamp,item_id,position,click,propensity_score," + ",".join(
        f"user_feature_{n}" for n in range(4)
    )
    features = "abcdefgh,11111199,x,yyyyyyyy"
    for policy, item in (("random", 3), ("bts", 4)):
        write(
            tmp_path / "obd_men" / f"{policy}_men.csv",
            f"{header}\n0,2019-11-24 09:00:01.5+00:00,{item},1,1,0.25,{features}\n"
            f"1,2019-11-24 09:00:00+00:00,{item},3,0,0.5,{features}\n",
        )
    found = open_bandit(tmp_path)
    user, early, late = "abcdef-111111-x-yyyyyy", at(2019, 11, 24, 9), at(2019, 11, 24, 9, 0, 1, 500_000)
    names = (
        "event_id",
        "user_id",
        "video_id",
        "kind",
        "position",
        "request_id",
        "propensity",
        "domain",
        "at",
    )
    assert rows(found.events, *names) == [
        ("random-1-impression", user, "3", "impression", 2, "random-1", 0.5, "open_bandit_random", early),
        ("random-0-click", user, "3", "click", 0, "random-0", None, "open_bandit_random", late),
        ("random-0-impression", user, "3", "impression", 0, "random-0", 0.25, "open_bandit_random", late),
    ]
    assert (found.name, found.videos, found.has_timestamps) == ("open_bandit_random", None, True)
    other = open_bandit_bts(tmp_path)
    assert other.name == "open_bandit_bts"
    assert rows(other.events, "video_id", "domain", "request_id")[0] == ("4", "open_bandit_bts", "bts-1")


@pytest.mark.parametrize("name", DATASETS)
def test_each_reader_stands_under_the_name_of_its_data_set(name, tmp_path):
    expected = {"open_bandit_random": open_bandit, "open_bandit_bts": open_bandit_bts}
    assert DATASETS[name] is expected.get(name, globals().get(name))
