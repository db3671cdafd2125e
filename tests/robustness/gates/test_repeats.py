"""Repeated events, and samples of rows in bounded memory."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from vrec.robustness.gates.heavy import COUNTERS, HeavyHitters, bot_hours
from vrec.robustness.gates.repeats import RowSample, early_clicks, id_conflicts, repeated_hours

RNG = np.random.default_rng(1)
U64 = np.iinfo(np.uint64).max


def keys(count, rng=RNG):
    return rng.integers(0, U64, count, dtype=np.uint64, endpoint=True)


@given(st.integers(1, 3000), st.integers(0, 5))
def test_a_sample_holds_all_rows_of_a_key_or_none(count, seed):
    rng = np.random.default_rng(seed)
    one = keys(count, rng)
    sample = RowSample(2, most=200)
    for part in np.array_split(np.concatenate([one, one]), 7):
        sample.add(part, np.arange(len(part)))
    rows = sample.table()
    assert len(rows) <= 200
    _, times = np.unique(rows[:, 0], return_counts=True)
    assert (times == 2).all()


def content(hours, rng):
    sample = RowSample(3)
    for hour, held in hours:
        sample.add(held, np.full(len(held), hour), keys(len(held), rng).view(np.int64))
    return sample


def test_an_hour_that_repeats_another_is_named_with_it():
    held = [(hour, keys(100)) for hour in range(1000, 1020)]
    held.append((1020, held[-1][1]))
    (found,) = repeated_hours(content(held, RNG))
    assert (found.gate, found.hours, found.count) == ("duplicated_hour", (1020,), 100)


def test_a_replayed_day_is_one():
    held = [(hour, keys(50)) for hour in range(480, 504)]
    (found,) = repeated_hours(content([*held, *((hour + 24, one) for hour, one in held)], RNG))
    assert (found.gate, len(found.hours), found.count) == ("replayed_day", 24, 1200)


def test_hours_without_repeats_are_left_alone_and_so_are_coarse_times():
    assert repeated_hours(content([(hour, keys(100)) for hour in range(30)], RNG)) == []
    # Times to the day: shoppers often do the same on two days.
    common = keys(60)
    assert (
        repeated_hours(content([(24 * day, np.concatenate([common, keys(40)])) for day in range(20)], RNG))
        == []
    )


def test_one_event_id_with_two_contents_is_a_conflict_and_twice_the_same_is_none():
    sample, ids = RowSample(3), keys(500)
    sample.add(ids, np.arange(500), np.arange(1, 501))
    sample.add(ids[:100], np.arange(100), np.arange(501, 601))
    assert id_conflicts(sample) is None
    sample.add(ids[:100], np.arange(1000, 1100), np.arange(601, 701))
    found = id_conflicts(sample)
    assert found is not None
    assert found.count == 100


def test_clicks_before_their_impression_are_told_with_the_lag():
    request, at = keys(200), np.arange(200) * 3_600_000_000
    sample = RowSample(3)
    sample.add(request, at, np.zeros(200, np.int64))
    late = RowSample(3)
    late.add(request, at, np.zeros(200, np.int64))
    sample.add(request, at + 5_000_000, np.ones(200, np.int64))
    late.add(request, at - 8 * 3_600_000_000, np.ones(200, np.int64))
    assert early_clicks(sample) is None
    found = early_clicks(late)
    assert found is not None
    assert "by 8 hours" in found.message


@given(st.integers(0, 50))
def test_heavy_hitters_are_at_most_a_share_too_low(seed):
    rng = np.random.default_rng(seed)
    names = np.concatenate([np.repeat("bot", 400), [f"u{n}" for n in rng.integers(0, 3000, 5000)]])
    rng.shuffle(names)
    heavy = HeavyHitters()
    for part in np.array_split(names, 9):
        heavy.add(pl.DataFrame({"group": 0, "name": part}).group_by("group", "name").len())
    name, count = heavy.top(0)
    assert name == "bot"
    assert 400 - len(names) / COUNTERS <= count <= 400
    assert bot_hours(heavy) == []
