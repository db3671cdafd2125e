"""Simulated live streams: intervals, drifting content, regulars, newcomers, and reproducibility."""

import datetime as dt
import itertools

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.simulate import LiveSimulation, simulate_live

SMALL = LiveSimulationConfig(shoppers=250, streamers=80, days=14, dim=16)


@pytest.fixture(scope="module")
def world() -> LiveSimulation:
    return simulate_live(SMALL)


@pytest.fixture(scope="module")
def views(world: LiveSimulation) -> pl.DataFrame:
    """Watches with their start and their stream, by start."""
    events, streams = pl.from_arrow(world.events), pl.from_arrow(world.streams)
    watches = events.filter(pl.col("kind") == "watch")
    length = pl.duration(microseconds=(pl.col("value").cast(pl.Float64) * 1e6).cast(pl.Int64))
    joined = watches.join(streams, left_on="video_id", right_on="stream_id")
    return joined.with_columns(start=pl.col("at") - length).sort("start", "user_id")


def test_equal_seeds_give_equal_logs_and_others_do_not(world):
    again, other = simulate_live(SMALL), simulate_live(SMALL.model_copy(update={"seed": 1}))
    assert world.events.equals(again.events)
    assert world.streams.equals(again.streams)
    assert world.vectors.equals(again.vectors)
    assert not world.events.equals(other.events)


def test_a_streamer_has_one_stream_at_a_time(world):
    streams = sorted(world.streams.to_pylist(), key=lambda row: (row["streamer_id"], row["started_at"]))
    assert all(row["started_at"] < row["ended_at"] for row in streams)
    for one, other in itertools.pairwise(streams):
        assert one["streamer_id"] != other["streamer_id"] or one["ended_at"] < other["started_at"]


def test_views_lie_within_their_streams_and_a_shopper_watches_one(views):
    slack = pl.duration(milliseconds=10)
    assert views.filter(pl.col("start") < pl.col("started_at") - slack).is_empty()
    assert views.filter(pl.col("at") > pl.col("ended_at") + slack).is_empty()
    following = pl.col("start").shift(-1).over("user_id")
    assert views.sort("start").filter(following < pl.col("at") - slack).is_empty()


def test_live_at_is_what_the_table_says(world):
    streams, start = pl.from_arrow(world.streams), SMALL.start.timestamp()
    for hour in np.linspace(0, SMALL.days * 24 - 0.1, 200):
        at = float(start + hour * 3600)
        live = streams.filter(
            (pl.col("started_at").cast(pl.Int64) / 1e6 <= at) & (at < pl.col("ended_at").cast(pl.Int64) / 1e6)
        )
        rows = pa.array(world.truth.live_at(hour * 3600))
        found = world.truth.stream_ids.take(rows).to_pylist()
        assert found == live["stream_id"].sort().to_list()


def test_content_moves_from_one_category_to_the_other(world):
    truth, table = world.truth, pl.from_arrow(world.vectors)
    turning = np.flatnonzero(truth.turn + SMALL.drift_s + SMALL.window_s < truth.ended)
    assert len(turning) > 50
    nearer = []
    for row in turning:
        own = table.filter(pl.col("stream_id") == truth.stream_ids[row].as_py())["vector"].to_numpy()
        home, other = (
            truth.centers[of[truth.streamer[row]]] for of in (truth.streamers.home, truth.streamers.other)
        )
        nearer.append((own[0] @ home > own[0] @ other, own[-1] @ home < own[-1] @ other))
    assert np.mean(nearer, axis=0).min() > 0.9
    steady = np.flatnonzero(np.isinf(truth.turn))
    assert 0.5 < len(steady) / len(truth.turn) < 0.8


def test_regulars_come_back_and_stay_longer(views):
    seen = views.with_columns(before=pl.int_range(pl.len()).over("user_id", "streamer_id"))
    first, regular = seen.filter(pl.col("before") == 0), seen.filter(pl.col("before") >= 3)
    assert regular.height > 0.1 * seen.height
    assert regular["value"].median() > 2 * first["value"].median()
    assert (first["value"] < 60).mean() > 2 * (regular["value"] < 60).mean()
    # Early in the stream: they came for it.
    age = pl.col("start") - pl.col("started_at")
    assert regular.select(age.median()).item() < first.select(age.median()).item()


def test_some_shoppers_and_streamers_come_later(views, world):
    for name in ("user_id", "streamer_id"):
        days = views.group_by(name).agg(pl.col("start").min())["start"].dt.date()
        late = (days > SMALL.start.date() + dt.timedelta(days=4)).mean()
        assert 0.05 < late < 0.6
    popular = views.group_by("streamer_id").len()["len"].sort(descending=True)
    assert popular[:8].sum() > 0.25 * views.height
