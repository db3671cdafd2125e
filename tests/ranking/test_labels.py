"""Labels: what each event belongs to, by a plain search through all impressions, and the log cut by time."""

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.events.rows import day, events, shuffled, videos
from tests.ranking.logs import micros, requests_of, shop, some_log
from vrec.core.compute import pc
from vrec.core.errors import RankError, SchemaError
from vrec.events.polars_tables import to_polars
from vrec.events.reversals import drop_reversed
from vrec.profiles.user import HOUR_US
from vrec.ranking.config import LabelsConfig, LogSplitConfig
from vrec.ranking.labels import build_labels, hash_user_id, split_log
from vrec.ranking.replay import impressions

WINDOWS = LabelsConfig(
    conversion_kinds=("purchase", "like"), conversion_window_hours=12, response_window_hours=8
)
HOUR = 1 / 24
REVERSING = ["unlike", "refund", "unhide"]


def searched(log, config, end):
    """(click, watch_s, conversion, mature) of each impression, by looking at every one for every event."""
    rows = log.drop_columns(["at"]).to_pylist()
    for row, at in zip(rows, micros(log).tolist(), strict=True):
        row["at"] = at
    place = {e: n for n, e in enumerate(impressions(log).column("event_id").to_pylist())}
    shown = sorted((r for r in rows if r["kind"] == "impression"), key=lambda r: place[r["event_id"]])
    found = [[False, 0.0, False] for _ in shown]
    for row in rows:
        if row["kind"] == "impression" or row["at"] > end:
            continue
        mine = [
            (s["at"], n)
            for n, s in enumerate(shown)
            if (s["user_id"], s["video_id"]) == (row["user_id"], row["video_id"]) and s["at"] <= row["at"]
        ]
        same = [
            (at, n) for at, n in mine if row["request_id"] and shown[n]["request_id"] == row["request_id"]
        ]
        if not mine:
            continue
        at, n = max(same or mine)
        hours = (row["at"] - at) / HOUR_US
        found[n][0] |= row["kind"] == "click" and hours <= config.response_window_hours
        if row["kind"] == "watch" and hours <= config.response_window_hours:
            found[n][1] += row["value"] or 0.0
        found[n][2] |= row["kind"] in config.conversion_kinds and hours <= config.conversion_window_hours
    window = config.conversion_window_hours * HOUR_US
    return [
        (click, watch, click and conv, s["at"] + window <= end)
        for (click, watch, conv), s in zip(found, shown, strict=True)
    ]


@settings(max_examples=75, deadline=None)
@given(some_log(few=True), st.integers(0, 8), st.randoms(use_true_random=False))
def test_labels_are_those_of_a_plain_search(log, ends, random):
    end = [None, *sorted(set(micros(log).tolist()))][min(ends, len(set(micros(log).tolist())))]
    found = build_labels(shuffled(log, random), None, WINDOWS, end)
    expected = searched(log, WINDOWS, micros(log).max() if end is None else end)
    rows = zip(found.click, found.watch_s, found.conversion, found.mature, strict=True)
    for row, (click, watch, conversion, mature) in zip(rows, expected, strict=True):
        assert (bool(row[0]), bool(row[2]), bool(row[3])) == (click, conversion, mature)
        assert row[1] == pytest.approx(watch)


@settings(max_examples=40, deadline=None)
@given(some_log())
def test_labels_lie_in_the_order_of_replay_and_users_have_the_same_number_in_any_part(log):
    requests, end = requests_of(log, shop()[1]), int(micros(log).max())
    labels = build_labels(log, None, WINDOWS)
    assert labels.at.tolist() == [r.context.at for r in requests for _ in r.video_ids]
    users = [r.user.entity_id for r in requests for _ in r.video_ids]
    assert (
        len(set(zip(users, labels.user.tolist(), strict=True)))
        == len(set(users))
        == len(set(labels.user.tolist()))
    )
    own = [
        build_labels(log.filter(pc.equal(log.column("user_id"), u)), None, WINDOWS, end)
        for u in sorted(set(users))
    ]
    for name in ("click", "watch_s", "conversion", "mature", "user", "at"):
        parts = np.concatenate([getattr(labels, name)[:0], *(getattr(part, name) for part in own)])
        assert (parts == getattr(labels, name)).all()


def test_an_event_belongs_to_the_latest_impression_or_to_that_of_its_request():
    log = events(
        {"kind": "impression", "request_id": "r", "at": day(0)},
        {"kind": "impression", "request_id": "s", "at": day(HOUR)},
        {"kind": "click", "request_id": "r", "at": day(2 * HOUR)},
        {"kind": "watch", "value": 7.0, "at": day(2 * HOUR)},
        {"kind": "watch", "value": 5.0, "request_id": "another", "at": day(2 * HOUR)},
        {"kind": "purchase", "request_id": "r", "at": day(3 * HOUR)},
        {"kind": "click", "video_id": "w", "at": day(0)},
    )
    labels = build_labels(log, videos(v=12.5, w=3.0), LabelsConfig())
    assert labels.click.tolist() == [1, 0]
    assert labels.watch_s.tolist() == [0, 12]
    assert labels.conversion.tolist() == [1, 0]
    assert labels.mature.tolist() == [False, False]
    assert labels.duration_s.tolist() == [12.5, 12.5]
    assert np.isnan(build_labels(log, videos(w=3.0, v=None), LabelsConfig()).duration_s).all()


def test_a_part_s_end_hides_what_came_after():
    log = events(
        {"kind": "impression", "at": day(0)},
        {"kind": "click", "at": day(HOUR)},
        {"kind": "purchase", "at": day(1)},
        {"kind": "impression", "at": day(9), "video_id": "w"},
    )
    whole = build_labels(log, None, LabelsConfig())
    assert (whole.conversion[0], whole.mature.tolist()) == (1, [True, False])
    early = build_labels(log, None, LabelsConfig(), end=int(micros(log)[1]))
    assert (early.click[0], early.conversion[0], early.mature[0]) == (1, 0, False)
    late = build_labels(log, None, LabelsConfig(), end=int(micros(log)[0]) + 72 * HOUR_US)
    assert late.mature.tolist() == [True, False]


def test_the_shop_s_clicks_purchases_and_seconds_are_all_found():
    log, content = shop()
    everything = LabelsConfig(conversion_window_hours=9999, response_window_hours=9999)
    labels = build_labels(log, content.videos, everything)
    kinds = log.column("kind").to_pylist()
    assert labels.click.sum() == kinds.count("click")
    assert labels.conversion.sum() == kinds.count("purchase")
    assert labels.watch_s.sum() == pytest.approx(
        pc.sum(log.filter(pc.equal(log.column("kind"), "watch"))["value"]).as_py()
    )
    assert np.isfinite(labels.duration_s).all()
    assert not labels.mature.any()


def test_other_columns_are_refused():
    log, _ = shop()
    with pytest.raises(SchemaError, match="missing at"):
        build_labels(log.drop_columns(["at"]), None, LabelsConfig())


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=300))
def test_parts_are_cut_between_moments_near_their_shares(times):
    at = np.array(times, np.int64)
    try:
        parts = split_log(at, LogSplitConfig())
    except RankError:
        assert len(set(times)) < 3 or len(times) < 20 or max(times.count(t) for t in times) > 1
        return
    part = parts.split_of(at)
    assert set(part) == {0, 1, 2}
    for moment in set(times):
        assert len(set(part[at == moment])) == 1
    assert at[part == 0].max() < parts.validation_from <= at[part == 1].min()
    assert at[part == 1].max() < parts.test_from <= at[part == 2].min()
    most = max(times.count(t) for t in times)
    assert abs((part == 2).mean() - 0.2) <= (most + 1) / len(times)
    assert abs((part == 1).mean() - 0.1) <= 2 * (most + 1) / len(times)


def test_parts_that_cannot_be_are_refused():
    with pytest.raises(RankError, match="4 impressions at 1 times cannot be split in three"):
        split_log(np.zeros(4, np.int64), LogSplitConfig())
    with pytest.raises(RankError, match="0 impressions"):
        split_log(np.zeros(0, np.int64), LogSplitConfig())
    with pytest.raises(ValidationError, match="leave nothing to train on"):
        LogSplitConfig(validation_share=0.5, test_share=0.5)
    assert (
        split_log(np.arange(10), LogSplitConfig()).split_of(np.arange(10)).tolist() == [0] * 7 + [1] + [2] * 2
    )


@pytest.mark.parametrize("config", [LabelsConfig(), WINDOWS], ids=["default", "short"])
def test_windows_are_hours_and_hold_to_their_last_microsecond(config):
    last = {"click": config.response_window_hours, "purchase": config.conversion_window_hours}
    micro = 1e-6 / 86_400
    for late in (0, 1):
        log = events(
            {"kind": "impression", "at": day(0)},
            {"kind": "click", "at": day(last["click"] * HOUR + late * micro)},
            {"kind": "watch", "value": 4.0, "at": day(last["click"] * HOUR + late * micro)},
        )
        labels = build_labels(log, None, config)
        assert (labels.click[0], labels.watch_s[0]) == ((0, 0) if late else (1, 4))
        log = events(
            {"kind": "impression", "at": day(0)},
            {"kind": "click", "at": day(HOUR)},
            {"kind": "purchase", "at": day(last["purchase"] * HOUR + late * micro)},
        )
        labels = build_labels(log, None, config)
        assert (labels.conversion[0], labels.mature[0]) == (1 - late, True)
    assert labels.at.tolist() == [int(day(0).timestamp() * 1e6)]


def test_a_conversion_needs_a_click_and_one_of_the_kinds():
    def converted(*kinds, **config):
        log = events({"kind": "impression"}, *({"kind": kind, "at": day(HOUR)} for kind in kinds))
        return build_labels(log, None, LabelsConfig(**config)).conversion[0]

    assert converted("click", "purchase") == 1
    assert converted("purchase") == 0
    assert converted("click", "cart") == 0
    assert converted("click", "cart", conversion_kinds=("cart", "like")) == 1
    assert converted("click", "purchase", conversion_kinds=("cart",)) == 0


def test_watches_add_up_and_other_values_do_not_count():
    log = events(
        {"kind": "impression"},
        {"kind": "watch", "value": 4.0, "at": day(HOUR)},
        {"kind": "watch", "value": None, "at": day(HOUR)},
        {"kind": "watch", "value": 2.5, "at": day(2 * HOUR)},
        {"kind": "purchase", "value": 99.0, "at": day(2 * HOUR)},
    )
    assert build_labels(log, videos(v=0.0), LabelsConfig()).watch_s.tolist() == [6.5]
    assert np.isnan(build_labels(log, videos(v=0.0), LabelsConfig()).duration_s).all()


def test_shares_of_the_splits_are_those_configured():
    at = np.arange(100)[::-1]
    split = split_log(at, LogSplitConfig(validation_share=0.3, test_share=0.1))
    assert (split.validation_from, split.test_from) == (60, 90)
    assert split.split_of(np.array([59, 60, 89, 90])).tolist() == [0, 1, 1, 2]


def test_user_numbers_are_the_same_in_any_version():
    assert hash_user_id("ann") == int.from_bytes(blake2b(b"ann", digest_size=8).digest(), "big", signed=True)
    assert hash_user_id("ann") != hash_user_id("bob")


@settings(max_examples=75, deadline=None)
@given(some_log(kinds=[*REVERSING, "impression", "purchase", "like", "click", "click"]), st.integers(0, 8))
def test_what_was_reversed_by_the_end_is_no_outcome(log, end):
    end = int(day(end * 20_000 / 86_400).timestamp() * 1e6)
    past = log.filter(pc.less_equal(log["at"].cast(pa.int64()), end))
    gone = set(past["event_id"].to_pylist()) - set(drop_reversed(to_polars(past))["event_id"].to_list())
    kept = log.filter(pc.invert(pc.is_in(log["event_id"], value_set=pa.array(sorted(gone), pa.string()))))
    plain = kept.filter(pc.invert(pc.is_in(kept["kind"], value_set=pa.array(REVERSING))))
    found, want = build_labels(log, None, WINDOWS, end), build_labels(plain, None, WINDOWS, end)
    for name in ("click", "watch_s", "conversion", "mature"):
        assert np.array_equal(getattr(found, name), getattr(want, name)), name
