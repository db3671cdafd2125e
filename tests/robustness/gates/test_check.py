"""Gates on simulated shops: clean days raise no alarm, planted faults do, and single facts of the counts."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from tests.robustness.gates.shops import GOOD, JUDGED, gate_of, shop_days
from vrec.robustness.gates.check import EventsGate
from vrec.robustness.gates.config import GatesConfig
from vrec.robustness.gates.cut import cut_rows
from vrec.robustness.gates.findings import GateFinding, hour_ranges
from vrec.robustness.gates.heavy import COUNTERS
from vrec.robustness.gates.profile import GoodDays, good_days_text, read_good_days
from vrec.synthetic.faults.days import START
from vrec.synthetic.faults.plant import FAULTS, plant_fault

NOW = datetime(2025, 3, 1, tzinfo=UTC)
READER = {"negative_watch", "future_times", "kind_renamed", "null_users", "conflicting_ids"}
"""Faults of rows that no reader takes; `vrec check` names them."""


@pytest.fixture(scope="module")
def good() -> GoodDays:
    days = shop_days(0)
    return gate_of(days.between(*GOOD), days.videos).good_days()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clean_days_raise_no_alarm(seed):
    days = shop_days(seed)
    known = gate_of(days.between(*GOOD), days.videos).good_days()
    judged = gate_of(days.between(*JUDGED), days.videos)
    assert [str(one) for one in judged.report(known, NOW).findings] == []
    assert [str(one) for one in gate_of(days.events, days.videos).report(None, NOW).faults] == []


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - READER))
def test_a_planted_fault_is_found_with_its_column(good, name):
    days = shop_days(0)
    events, videos = plant_fault(name, days.between(*JUDGED), days.videos, day=9, strength=0.7, seed=0)
    faults = gate_of(events, videos).report(good, NOW).faults
    assert {column for one in faults for column in one.columns} & set(FAULTS[name][1]), list(map(str, faults))


def test_the_counts_do_not_depend_on_batches_or_the_order_of_rows(good):
    days = shop_days(0)
    events = days.between(*JUDGED)
    whole, parts = gate_of(events, days.videos), EventsGate(GatesConfig(), days.videos)
    shuffled = events.sample(fraction=1, shuffle=True, seed=1)
    for first in range(0, events.height, 7001):
        parts.add(shuffled.slice(first, 7001))
    for day, held in whole.good_days().days.items():
        other = parts.good_days().days[day]
        # Counts of the heaviest are bounded in memory, and so are up to a share too low.
        assert abs(held.top_video - other.top_video) <= 1 / COUNTERS
        other.top_video = held.top_video
        assert held.as_json() == other.as_json()
    assert whole.report(good, NOW).findings == parts.report(good, NOW).findings


def test_good_days_are_the_same_after_they_were_saved(good, tmp_path):
    path = tmp_path / "good.json"
    path.write_bytes(good_days_text(good))
    read = read_good_days(str(path))
    assert good_days_text(read) == good_days_text(good)
    days = shop_days(0)
    assert not [user for user in days.events["user_id"].unique() if user in path.read_text()]


def test_known_days_are_not_judged_again(good):
    days = shop_days(0)
    assert gate_of(days.between(*GOOD), days.videos).report(good, NOW).tests == 0


def test_a_bad_hour_is_named_and_cut_whole(good):
    days = shop_days(0)
    clean = days.between(*JUDGED)
    events, _ = plant_fault("null_values", clean, days.videos, day=9, strength=0.05, seed=0)
    (found,) = gate_of(events, days.videos).report(good, NOW).faults
    assert (found.gate, found.hours) == ("null_watch", ((START + 9) * 24 + 18,))
    cut = events.filter(cut_rows(events, [found], None, GatesConfig()))
    assert (cut["at"].to_physical() // 3_600_000_000).unique().to_list() == list(found.hours)


def test_repeated_rows_are_cut_once(good):
    days = shop_days(0)
    clean = days.between(*JUDGED)
    events, _ = plant_fault("repeated_rows", clean, days.videos, day=9, strength=0.2, seed=0)
    (found,) = gate_of(events, days.videos).report(good, NOW).faults
    kept = events.filter(~cut_rows(events, [found], None, GatesConfig()))
    # A handful of clean events are equal up to the float of their value.
    assert kept.height == pytest.approx(clean.height, abs=5)


def test_numbers_from_one_as_ids_of_both_are_no_swap():
    rows = 3000
    rng = np.random.default_rng(0)
    days = shop_days(0)
    frame = days.events.head(rows).with_columns(
        user_id=pl.Series(rng.integers(1, 400, rows)).cast(pl.String),
        video_id=pl.Series(rng.integers(1, 330, rows)).cast(pl.String),
    )
    ids = pl.Series("video_id", range(1, 301)).cast(pl.String).to_arrow().cast("string")
    videos = days.videos.slice(0, 300).set_column(0, days.videos.schema.field("video_id"), ids)
    found = {one.gate for one in gate_of(frame, videos).report(None, NOW).findings}
    assert "user_is_video" not in found


def test_without_a_clock_nothing_is_said_of_hours():
    days = shop_days(0)
    gate = EventsGate(GatesConfig(), days.videos, has_clock=False)
    gate.add(days.events)
    report = gate.report(None, NOW)
    assert (report.findings, report.tests, gate.good_days().days) == ((), 0, {})


def test_a_stale_table_is_named_where_asked():
    days = shop_days(0)
    gate = EventsGate(GatesConfig(fresh_hours=24), days.videos)
    gate.add(days.events)
    assert [one.gate for one in gate.report(None, NOW).faults] == ["stale"]


def test_hours_are_told_as_ranges():
    assert hour_ranges([0, 1, 2, 30]) == "1970-01-01 00:00 to 03:00, 1970-01-02 06:00 to 07:00 UTC"
    text = str(GateFinding("g", "EVENTS", ("value",), "bad", rows=(4, 7), count=9))
    assert text == "EVENTS value: bad (rows 4, 7, …)"
