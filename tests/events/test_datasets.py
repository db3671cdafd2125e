import datetime as dt
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.events.rows import pair_set
from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, VIDEOS, conform
from vrec.events.config import InterestConfig, LeaveLastOutConfig
from vrec.events.datasets import DATASETS, KUAIRAND_INTEREST_CONFIG, ORDER_END, PublicDataset, open_bandit
from vrec.events.interactions import weigh_events
from vrec.events.polars_tables import to_polars
from vrec.events.split import split_interactions


@pytest.fixture(scope="module")
def sets(shared_data: Path) -> dict[str, PublicDataset]:
    return {name: read(shared_data / "interactions") for name, read in DATASETS.items()}


@pytest.mark.parametrize("name", DATASETS)
def test_every_set_is_sound(sets, name):
    found = sets[name]
    assert found.name == name
    assert found.note
    events = to_polars(conform(found.events, EVENTS, stage="test"))
    assert events["event_id"].is_unique().all()
    assert events["at"].is_sorted()
    weighed = weigh_events(found.events, InterestConfig(), found.videos)
    assert 0 < weighed.num_rows <= events.height
    if found.videos is not None:
        videos = to_polars(conform(found.videos, VIDEOS, stage="test"))
        assert videos["video_id"].is_unique().all()
        assert events["video_id"].is_in(videos["video_id"].to_list()).all()
        assert not (videos["duration_s"] <= 0).any()
    assert found.has_timestamps == (name != "microlens_50k")


def test_movielens(sets):
    found = sets["movielens_100k"]
    events, videos = to_polars(found.events), to_polars(found.videos)
    assert (events.height, events["user_id"].n_unique(), events["video_id"].n_unique()) == (
        100_000,
        943,
        1682,
    )
    assert events["at"].min() == dt.datetime(1997, 9, 20, 3, 5, 10, tzinfo=dt.UTC)
    assert set(events["kind"]) == {"click"}
    assert videos.height == 1682
    first = videos.row(by_predicate=pl.col("video_id") == "1", named=True)
    assert (first["title"], first["tags"]) == ("Toy Story", ["Animation", "Children's", "Comedy"])


def test_microlens_keeps_the_order_and_its_end(sets, shared_data):
    found = sets["microlens_50k"]
    events = to_polars(found.events)
    assert (events.height, events["user_id"].n_unique(), found.videos.num_rows) == (359_708, 50_000, 19_220)
    lines = (shared_data / "interactions/microlens50k/MicroLens-50k_pairs.tsv").read_text().splitlines()
    histories = dict(line.split("\t") for line in lines)
    for user in ("1", "2", "39779", "50000"):
        own = events.filter(pl.col("user_id") == user).sort("at")
        assert own["video_id"].to_list() == histories[user].split()
        assert own["at"].max() == ORDER_END
        assert set(own["at"].diff().drop_nulls()) == {dt.timedelta(days=1)}
    parts = split_interactions(weigh_events(found.events, InterestConfig()), LeaveLastOutConfig())
    assert pair_set(parts.test) == {(user, videos.split()[-1]) for user, videos in histories.items()}


def test_kuairand(sets, shared_data):
    found = sets["kuairand_pure"]
    events = to_polars(found.events)
    base = shared_data / "interactions/kuairand_pure"
    windows = [pl.read_parquet(base / f"{part}.parquet") for part in ("val", "test")]
    assert [w.height - w.unique().height for w in windows] == [2_750, 2_710], "exact duplicates"
    raw = pl.concat(windows).unique()
    showing = ["user_id", "video_id", "time_ms"]
    kinds = Counter(events["kind"])
    assert kinds["impression"] == raw.select(showing).n_unique() == 222_444
    assert kinds["click"] == raw.filter(pl.col("is_click") == 1).select(showing).n_unique()
    assert kinds["watch"] == raw.filter(pl.col("play_time_ms") > 0).select(showing).n_unique()
    for kind, sign in (("like", "is_like"), ("follow", "is_follow"), ("share", "is_forward")):
        assert kinds[kind] == raw.filter(pl.col(sign) == 1).select(showing).n_unique() > 0
    one = events.filter(pl.col("request_id") == "712-5239-1650812741436").sort("kind")
    assert one["kind"].to_list() == ["click", "impression", "watch"]
    assert one["value"].to_list()[2] == pytest.approx(61.802)
    assert one["at"][0] == dt.datetime(2022, 4, 24, 15, 5, 41, 436_000, tzinfo=dt.UTC)
    videos = to_polars(found.videos)
    assert videos.height == 7_583
    assert videos["duration_s"].null_count() == 239
    assert videos["published_at"].min() == dt.datetime(2022, 4, 9, tzinfo=dt.UTC)
    assert "unknown" not in videos["tags"].explode().to_list()
    assert videos.row(by_predicate=pl.col("video_id") == "5", named=True)["tags"] == ["20", "43"]
    authors = raw.filter(pl.col("is_follow") == 1).select("user_id", pl.col("video_id").cast(pl.String))
    authors = authors.join(videos.select("video_id", "creator_id"), on="video_id")
    follows = to_polars(found.follows)
    assert follows.height == authors.select("user_id", "creator_id").n_unique() > 100
    assert follows["ended_at"].null_count() == follows.height


def test_a_whole_watch_in_kuairand_is_its_own_long_view(sets, shared_data):
    found = sets["kuairand_pure"]
    only_watch = dict.fromkeys(("click", "like", "follow", "share"), 0.0)
    whole = weigh_events(found.events, KUAIRAND_INTEREST_CONFIG.model_copy(update=only_watch), found.videos)
    base = shared_data / "interactions/kuairand_pure"
    raw = pl.concat([pl.read_parquet(base / f"{part}.parquet") for part in ("val", "test")])
    long = raw.filter(pl.col("long_view") == 1).select(
        pl.col("user_id", "video_id").cast(pl.String), at=pl.col("time_ms") * 1000
    )
    ours = to_polars(whole).select("user_id", "video_id", pl.col("at").to_physical())
    assert ours.join(long, on=ours.columns, how="anti").height == 0
    assert ours.unique().height / long.unique().height == pytest.approx(0.992, abs=0.001)


@pytest.mark.parametrize(("policy", "clicks"), [("random", 46), ("bts", 69)])
def test_open_bandit(sets, shared_data, policy, clicks):
    events = to_polars(sets[f"open_bandit_{policy}"].events)
    raw = pl.read_csv(shared_data / f"interactions/obd_men/{policy}_men.csv")
    shown, clicked = (events.filter(pl.col("kind") == kind) for kind in ("impression", "click"))
    assert (shown.height, clicked.height) == (10_000, clicks)
    assert events["video_id"].n_unique() == 34
    assert set(shown["position"]) == {0, 1, 2}
    np.testing.assert_array_equal(
        np.sort(shown["propensity"]), np.sort(raw["propensity_score"]).astype(np.float32)
    )
    if policy == "random":
        np.testing.assert_allclose(shown["propensity"], 1 / 34, rtol=1e-4)
    assert clicked["propensity"].null_count() == clicks
    both = clicked.join(shown, on=["request_id", "video_id", "user_id", "position", "at"])
    assert both.height == clicks, "each click belongs to the impression with its request_id"
    features = [f"user_feature_{n}" for n in range(4)]
    assert shown["user_id"].n_unique() == raw.select(features).n_unique()
    assert (
        raw.filter(pl.col("click") == 1)["item_id"]
        .cast(pl.String)
        .sort()
        .equals(clicked["video_id"].sort(), check_names=False)
    )


def test_a_missing_set_is_named(tmp_path):
    for read in DATASETS.values():
        with pytest.raises(EventsError, match="no such file"):
            read(tmp_path)
    with pytest.raises(EventsError, match="no policy greedy"):
        open_bandit(tmp_path, "greedy")


@pytest.mark.parametrize(("name", "folder"), [("movielens_100k", "ml100k"), ("open_bandit_bts", "obd_men")])
def test_a_set_is_read_from_its_own_folder_too(sets, shared_data, name, folder):
    assert DATASETS[name](shared_data / "interactions" / folder).events.equals(sets[name].events)
