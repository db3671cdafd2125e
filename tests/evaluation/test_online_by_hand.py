"""Outcomes and intervals of a few users by hand: the window's borders, units, lengths, and every setting."""

import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tests.evaluation.tables import events
from vrec.core.schema import VIDEOS
from vrec.evaluation.online import (
    OnlineConfig,
    compare_arms,
    difference_over_time,
    fixed_horizon_interval,
    user_outcomes,
)

DAY = 24
CONFIG = OnlineConfig(window_days=1, min_users=2, expected_users=100)


def event(user, kind, hours, video="v", value=None):
    return {"user_id": user, "video_id": video, "kind": kind, "hours": hours, "value": value}


def videos(*durations):
    rows = [
        {
            "video_id": v, "uri": "u", "kind": "clip", "product_ids": [], "creator_id": "c", "domain": "shop",
            "tags": [], "duration_s": d, "available": True,
        }
        for v, d in durations
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=VIDEOS.arrow())


def one(rows, config=CONFIG, lengths=None, now=None, user="v"):
    outcomes = user_outcomes(events(rows), {user: "new"}, config, lengths, now)
    assert outcomes.height == 1
    return outcomes.row(0, named=True)


def test_the_window_opens_with_the_first_impression_and_is_half_open():
    # The user's id is a video's id too.
    row = one(
        [
            event("v", "click", 9),
            event("v", "impression", 10),
            event("v", "click", 10),
            event("v", "impression", 10 + DAY - 0.001),
            event("v", "purchase", 10 + DAY - 0.001),
            event("v", "click", 10 + DAY),
            event("v", "impression", 10 + DAY),
        ]
    )
    assert (row["impressions"], row["clicks"], row["purchases"]) == (2, 1, 1)
    assert row["closed_at"] == (10 + DAY) * 3_600_000_000


def test_a_window_that_closes_now_is_over():
    rows = [event("v", "impression", 0)]
    at = datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC)
    assert one(rows, now=at)["impressions"] == 1
    with pytest.raises(Exception, match="none of 1 users"):
        one(rows, now=at - datetime.timedelta(microseconds=1))


def test_window_days_is_in_days():
    rows = [event("v", "impression", 0), event("v", "click", 30), event("v", "click", 50)]
    assert one(rows)["clicks"] == 0
    assert one(rows, CONFIG.model_copy(update={"window_days": 1.5}))["clicks"] == 1


def test_watch_shares_need_a_length_and_end_at_one():
    rows = [
        event("v", "impression", 0, "long"),
        event("v", "watch", 1, "long", 5),
        event("v", "impression", 1, "short"),
        event("v", "watch", 2, "short", 30),
        event("v", "impression", 2, "zero"),
        event("v", "watch", 3, "zero", 7),
        event("v", "impression", 3, "unknown"),
        event("v", "like", DAY),
    ]
    lengths = videos(("long", 20.0), ("long", 5.0), ("short", 10.0), ("zero", 0.0))
    row = one(rows, lengths=lengths)
    assert row["watch_s"] == 42
    assert row["watch_share"] == pytest.approx(5 / 20 + 1)
    assert (row["impressions"], row["impressions_timed"]) == (4, 2)


def test_users_come_in_the_order_of_their_windows_ties_by_id():
    ids = [f"u{i:03}" for i in range(200)]
    hours = [("late", 2), *((u, 1) for u in reversed(ids)), ("zero", 0), ("x", 60)]
    outcomes = user_outcomes(
        events(event(u, "impression", h) for u, h in hours),
        dict.fromkeys(["late", "zero", *ids], "new"),
        CONFIG,
    )
    assert outcomes["user_id"].to_list() == ["zero", *ids, "late"]


def looks(config=CONFIG, y=(1.0, 0, 2, 1, 0, 3)):
    y, n = np.array(y), np.array([2.0, 1, 4, 2, 1, 3])
    return difference_over_time(y, n, np.array([True, False] * 3), config, looks=range(1, 7))


def test_intervals_start_with_min_users_and_min_outcomes_in_both_arms():
    assert np.isfinite(looks().error).tolist() == [False, False, False, True, True, True]
    enough = CONFIG.model_copy(update={"min_outcomes": 1})
    many = np.tile([1.0, 0, 2, 1, 0, 3], 200), np.tile([2.0, 1, 4, 2, 1, 3], 200), np.tile([True, False], 600)
    holders = np.minimum(*(np.cumsum((many[0] > 0) & (many[2] == arm)) for arm in (True, False)))
    for users, outcomes in ((300, 1), (2, 200)):
        config = enough.model_copy(update={"min_users": users, "min_outcomes": outcomes})
        first = max(int(np.argmax(holders >= outcomes)) + 1, 2 * users)
        found = difference_over_time(*many, config, looks=[first - 1, first, 1200])
        assert np.isinf(found.low).tolist() == np.isinf(found.high).tolist() == [True, False, False]
    assert looks().difference[-1] == pytest.approx(3 / 7 - 4 / 6)
    assert looks().treated[-1] == pytest.approx(3 / 7)
    assert looks().control[-1] == pytest.approx(4 / 6)


def test_the_usual_interval_has_its_level():
    config = OnlineConfig(level=0.9, min_users=2)
    low, high = fixed_horizon_interval(looks(config), config)
    assert high[-1] - low[-1] == pytest.approx(2 * 1.6448536 * looks(config).error[-1])


def test_arms_are_compared_with_the_control_and_not_the_reverse():
    frame = pl.DataFrame(
        {
            "user_id": list("abcdef"),
            "arm": ["new", "old"] * 3,
            "closed_at": range(6),
            "impressions": [4, 4, 4, 4, 4, 4],
            "impressions_timed": [2, 1, 2, 1, 2, 1],
            "clicks": [2, 1, 1, 1, 3, 1],
            "watch_s": [8.0, 4, 8, 4, 8, 4],
            "watch_share": [1.0, 0.5, 1, 0.5, 1, 0.5],
            "purchases": [1, 0, 0, 0, 0, 0],
        }
    )
    found = {c.metric: c for c in compare_arms(frame, "old", CONFIG)}
    assert {m: (c.value, c.control_value) for m, c in found.items()} == {
        "click_rate": (0.5, 0.25),
        "watch_s": (2.0, 1.0),
        "watch_share": (0.5, 0.5),
        "conversion": (pytest.approx(1 / 12), 0.0),
    }
    assert {c.arm for c in found.values()} == {"new"}
    assert found["click_rate"].difference == 0.25
    assert found["click_rate"].users == 6
