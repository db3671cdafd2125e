"""Figures of creators: counts by hand, positions that do not deceive, and smoothing."""

import datetime as dt

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.core.schema import EVENTS, FOLLOWS, VIDEOS
from vrec.profiles.creators import CreatorStatisticsConfig, creator_statistics, explain_by_position

DAY = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)


def videos_table(*rows: dict) -> pa.Table:
    base = {"uri": "", "kind": "clip", "product_ids": [], "domain": "shop", "tags": [], "available": True}
    return pa.Table.from_pylist([base | row for row in rows], schema=VIDEOS.arrow())


def events_table(*rows: dict) -> pa.Table:
    base = {"user_id": "u", "domain": "shop", "at": DAY}
    return pa.Table.from_pylist(
        [base | {"event_id": f"e{n}"} | row for n, row in enumerate(rows)], schema=EVENTS.arrow()
    )


def figures(*arguments, **options) -> dict[str, dict]:
    return {row["creator_id"]: row for row in creator_statistics(*arguments, **options).to_pylist()}


def test_counts_by_hand():
    videos = videos_table(
        {"video_id": "a", "creator_id": "c", "category": "mugs", "price": 5.0, "duration_s": 10.0,
         "published_at": DAY},
        {"video_id": "b", "creator_id": "c", "category": "mugs", "price": 9.0, "published_at": DAY
         + dt.timedelta(days=14)},
        {"video_id": "x", "creator_id": "d", "category": "hats"},
        {"video_id": "y", "creator_id": ""},
    )  # fmt: skip
    events = events_table(
        {"video_id": "a", "kind": "watch", "value": 9.6},
        {"video_id": "a", "kind": "watch", "value": 2.0, "at": DAY + dt.timedelta(days=1)},
        {"video_id": "b", "kind": "watch", "value": 2.0, "user_id": "v"},
        {"video_id": "b", "kind": "skip"},
        {"video_id": "y", "kind": "watch", "value": 2.0},
        {"video_id": "a", "kind": "impression"},
    )
    at = {"at": DAY}
    follows = pa.Table.from_pylist(
        [
            {"user_id": "u", "entity": "creator", "entity_id": "c", **at},
            {"user_id": "v", "entity": "creator", "entity_id": "c", "ended_at": DAY, **at},
            {"user_id": "w", "entity": "user", "entity_id": "c", **at},
        ],
        schema=FOLLOWS.arrow(),
    )
    found = figures(events, videos, follows)
    assert set(found) == {"c", "d"}
    names = ("videos", "videos_per_week", "category", "price", "impressions", "viewers", "followers")
    assert [found["c"][name] for name in names] == [2, 0.5, "mugs", 7.0, 1, 2, 1]
    assert [found["d"][name] for name in names] == [1, 0.0, "hats", None, 0, 0, 0]
    assert found["c"]["last_published_at"] == DAY + dt.timedelta(days=14)
    # One creator has trials, so that the prior is the configured one: rate .05, strength 20.
    assert found["c"]["completion_rate"] == pytest.approx((1 + 1) / (2 + 20))
    assert found["c"]["skip_rate"] == pytest.approx((1 + 1) / (4 + 20))
    assert found["c"]["repeat_viewers"] == pytest.approx((1 + 1) / (2 + 20))
    assert found["d"]["completion_rate"] == 0.05
    assert found["d"]["click_ratio"] == 1.0


def draw_impressions(seed: int) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """Return videos and events of 30 creators, of whom the better ones are shown higher, and their ratios."""
    rng = np.random.default_rng(seed)
    ratios = np.exp(0.5 * rng.normal(size=30))
    ratios /= ratios.mean()
    creator = rng.integers(30, size=40_000)
    height = np.log(ratios[creator]) + 0.5 * rng.normal(size=len(creator))
    position = np.clip(3 - 2 * height + rng.normal(size=len(creator)), 0, 7).astype(int)
    clicked = rng.random(len(creator)) < 0.3 * ratios[creator] / (1 + position)
    shown = pl.DataFrame(
        {
            "event_id": [f"i{n}" for n in range(len(creator))],
            "user_id": "u", "video_id": [f"v{c}" for c in creator], "kind": "impression",
            "position": position.astype(np.int16), "request_id": [f"r{n}" for n in range(len(creator))],
            "domain": "shop", "at": pl.Series([DAY]).cast(pl.Datetime("us", "UTC"))[0],
        }
    )  # fmt: skip
    clicks = shown.filter(pl.Series(clicked)).with_columns(
        kind=pl.lit("click"), event_id=pl.concat_str(pl.lit("c"), "event_id")
    )
    rows = pl.concat([shown, clicks]).to_arrow()
    absent = {"value": pa.float32(), "propensity": pa.float32()}
    for name, kind in absent.items():
        rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
    rows = rows.select(EVENTS.arrow().names).cast(EVENTS.arrow())
    videos = videos_table(*({"video_id": f"v{n}", "creator_id": f"{n:02}"} for n in range(30)))
    return rows, videos, ratios


def test_creators_that_are_shown_high_do_not_seem_better_for_it():
    events, videos, ratios = draw_impressions(0)
    found = figures(events, videos, config=CreatorStatisticsConfig(click_strength=1.0))
    frame = pl.from_arrow(events)
    counts = frame.group_by("video_id", "kind").len().pivot("kind", index="video_id", values="len")
    raw = {row["video_id"]: row["click"] / row["impression"] for row in counts.to_dicts()}
    rates = np.log([raw[f"v{n}"] for n in range(30)])
    corrected = np.log([found[f"{n:02}"]["click_ratio"] for n in range(30)])
    truth = np.log(ratios)

    def slope(values: np.ndarray) -> float:
        return float(np.polyfit(truth, values, 1)[0])

    assert slope(corrected) == pytest.approx(1.0, abs=0.1)
    assert slope(rates) > 1.4
    assert np.corrcoef(truth, corrected)[0, 1] > 0.97


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_exact_products_are_explained_exactly(creators, positions, seed):
    rng = np.random.default_rng(seed)
    ratios, rates = rng.uniform(0.5, 2, creators), rng.uniform(0.1, 0.9, positions)
    creator, position = (axis.ravel() for axis in np.indices((creators, positions)))
    shown = rng.integers(1, 100, len(creator)).astype(float)
    clicked = shown * ratios[creator] * rates[position]
    explained = explain_by_position(creator, position, shown, clicked)
    assert explained.sum() == pytest.approx(clicked.sum())
    found = np.bincount(creator, clicked) / explained
    assert found / found[0] == pytest.approx(ratios / ratios[0], rel=1e-6)


def test_nothing_gives_no_rows():
    empty = creator_statistics(events_table(), videos_table())
    assert empty.num_rows == 0
