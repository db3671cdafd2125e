"""Arms' sums, rates, variances and minutes, worked out by hand."""

from hashlib import sha256

import pytest

from tests.serving.test_experiments import MINUTE_US, NOW, TWO, table
from vrec.config.serve import ExperimentConfig
from vrec.evaluation.online import OnlineConfig
from vrec.serving import experiments as module
from vrec.serving.experiments import ArmCounts, assign_arm

ONE = ExperimentConfig()
FEW = OnlineConfig(min_users=2, min_outcomes=1, expected_users=10)


def counted(rows, config=ONE, online=FEW, now=NOW):
    counts = ArmCounts(config, online)
    counts.add(table(rows), now)
    return counts.snapshot()


def shown(user, times=1, at=NOW):
    return [(user, "impression", None, at)] * times


def test_an_arm_is_the_point_of_a_digest_in_the_shares():
    config = ExperimentConfig.model_validate(
        {"salt": "s", "arms": [{"name": n, "share": x} for n, x in (("a", 0.2), ("b", 0.3), ("c", 0.5))]}
    )
    for user in [f"u{n}" for n in range(50)] + ["", "ü", "\ud800"]:
        digest = sha256(f"s\0{user}".encode(errors="surrogatepass")).digest()
        point = int.from_bytes(digest[:8], "big") / 2**64
        assert assign_arm(user, config).name == ("a" if point < 0.2 else "b" if point < 0.5 else "c")
    names = [assign_arm(f"u{n}", config).name for n in range(3_000)]
    assert [names.count(name) / 3_000 for name in "abc"] == pytest.approx([0.2, 0.3, 0.5], abs=0.03)


def test_rates_are_per_impression_and_lie_within_their_intervals():
    rows = [
        *shown("u", 3), ("u", "click", None, NOW), ("u", "watch", 9.0, NOW),
        *shown("v", 1), ("v", "click", None, NOW), ("v", "purchase", 4.0, NOW), ("v", "watch", None, NOW),
    ]  # fmt: skip
    result = counted(rows)
    (arm,) = result.arms
    assert result.level == FEW.level
    assert (arm.name, arm.share, arm.users) == ("ranked", 1.0, 2)
    assert (arm.impressions, arm.clicks, arm.watch_s, arm.conversions) == (4, 2, 9.0, 1)
    rates = (arm.ctr.value, arm.watch_s_per_impression.value, arm.conversion.value)
    assert rates == (0.5, 2.25, 0.25)
    assert arm.against_first == {}
    # Two shoppers clicked, one watched, one bought: what too few did has no interval.
    strict = OnlineConfig(min_users=2, min_outcomes=2, expected_users=10)
    (few,) = counted(rows, online=strict).arms
    assert (few.watch_s_per_impression.low, few.conversion.high) == (None, None)
    assert few.conversion.value == 0.25
    for rate in (arm.ctr, few.ctr):
        assert rate.low is None or 0 <= rate.low <= rate.value <= rate.high


def test_events_count_from_a_shopper_s_first_impression_on_in_any_order_of_kinds():
    before = [("u", "click", None, NOW), ("u", "watch", 5.0, NOW), *shown("u"), ("u", "click", None, NOW)]
    (arm,) = counted(before).arms
    assert (arm.users, arm.impressions, arm.clicks, arm.watch_s) == (1, 1, 1, 0.0)
    # Likes are in no rate.
    (arm,) = counted([*shown("u"), ("u", "like", None, NOW)]).arms
    assert (arm.clicks, arm.conversions, arm.watch_s) == (0, 0, 0.0)


def test_an_arm_without_impressions_has_no_rate_and_one_shopper_no_interval():
    first, second = counted([]).arms[0], counted(shown("u", 4)).arms[0]
    assert (first.ctr.value, first.ctr.low, first.users, first.minutes) == (None, None, 0, ())
    assert (second.ctr.value, second.ctr.low, second.ctr.high) == (0.0, None, None)


def test_other_arms_are_compared_with_the_first():
    users = {"a": [], "b": []}
    for n in range(40):
        users[assign_arm(f"u{n}", TWO).name].append(f"u{n}")
    rows = []
    for user in users["a"][:3] + users["b"][:4]:
        rows += shown(user, 2)
    rows += [(user, "click", None, NOW) for user in users["a"][:1] + users["b"][:3]]
    first, second = counted(rows, TWO).arms
    assert (first.name, second.name, first.users, second.users) == ("a", "b", 3, 4)
    assert first.against_first == {}
    difference = second.against_first["ctr"]
    assert difference.value == pytest.approx(3 / 8 - 1 / 6)
    assert difference.low is None or difference.low <= difference.value <= difference.high
    # An interval of a difference needs enough shoppers in both arms.
    strict = OnlineConfig(min_users=4, min_outcomes=1)
    first, second = counted(rows, TWO, strict).arms
    assert (first.ctr.low, second.against_first["ctr"].low) == (None, None)
    assert second.against_first["ctr"].value == pytest.approx(3 / 8 - 1 / 6)


def test_minutes_begin_at_whole_minutes_in_microseconds():
    rows = [*shown("u", 1, 59_999_999), *shown("u", 2, 60_000_000), ("u", "watch", 2.5, 119_999_999)]
    (arm,) = counted(rows).arms
    assert MINUTE_US == 60_000_000
    assert [(m.at, m.impressions, m.clicks, m.watch_s, m.conversions) for m in arm.minutes] == [
        (0, 1, 0, 0.0, 0), (60_000_000, 2, 0, 2.5, 0),
    ]  # fmt: skip


def test_the_series_ends_an_hour_before_its_last_minute():
    rows = [*shown("u", 1, NOW), *shown("u", 1, NOW - 59 * MINUTE_US), *shown("u", 1, NOW - 60 * MINUTE_US)]
    for order in (rows, rows[::-1]):
        (arm,) = counted(order).arms
        assert [(NOW - m.at) // MINUTE_US for m in arm.minutes] == [59, 0]
        assert arm.impressions == 3


def test_the_shopper_who_was_away_longest_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(module, "MAX_TRACKED_USERS", 2)
    counts = ArmCounts(ONE, FEW)
    # v is forgotten for w, since u was seen again in between.
    counts.add(table([*shown("u"), *shown("v"), *shown("u"), *shown("w"), ("u", "click", None, NOW)]), NOW)
    counts.add(table([("v", "click", None, NOW)]), NOW)
    (arm,) = counts.snapshot().arms
    assert (arm.users, arm.impressions, arm.clicks) == (3, 4, 1)
