"""Scores of trending videos by hand, and what cannot move them."""

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.config.trends import TrendingConfig
from vrec.core.schema import EVENTS
from vrec.events.config import InterestConfig, OwnKindConfig
from vrec.profiles.profile import VideoMetadata
from vrec.serving.trends.trending import TrendingCounts
from vrec.serving.trends.windows import HOUR_US

NOW = 1_790_000_000_000_000
MINUTE_US = 60_000_000


def table(*rows):
    """EVENTS of (user, video, kind, minutes before now[, value])."""
    made = [
        {
            "event_id": f"e{n}", "user_id": user, "video_id": video, "kind": kind, "domain": "feed",
            "at": NOW - round(ago * MINUTE_US), "value": more[0] if more else None,
        }
        for n, (user, video, kind, ago, *more) in enumerate(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(made, schema=EVENTS.arrow())


def facts(video_ids):
    return {"short": VideoMetadata({}, duration_s=4.0)} if "short" in video_ids else {}


def counts(*rows, interest=None, **more):
    made = TrendingCounts(TrendingConfig(**more), interest or InterestConfig(), facts, 1 << 14)
    made.add(table(*rows), NOW)
    return made


def chosen(video, number, ago, first=0):
    return [(f"u{first + n}", video, "click", ago) for n in range(number)]


def listed(made, window="1h"):
    return [video.video_id for video in made.videos(window, NOW)]


def test_the_score_is_the_surplus_over_the_share_of_before_in_standard_deviations():
    # In the hour 20 shoppers: 12 chose a, 20 chose b; in the four hours before 50 others: 5 chose a, 50 b.
    rows = [*chosen("b", 50, 100, 1_000), *chosen("a", 5, 100, 1_000)]
    rows += [*chosen("b", 20, 10), *chosen("a", 12, 10)]
    a, b = counts(*rows).videos("1h", NOW)
    expected = {"a": 20 * 5 / 60, "b": 20 * 50 / 60}
    assert (a.video_id, a.shoppers, a.expected) == ("a", 12, pytest.approx(expected["a"]))
    assert a.score == pytest.approx((12 - expected["a"]) / math.sqrt(expected["a"] + 10))
    assert (b.video_id, b.shoppers, b.expected) == ("b", 20, pytest.approx(expected["b"]))
    assert b.score == pytest.approx((20 - expected["b"]) / math.sqrt(expected["b"] + 10))
    # With more of everything the popular video is no longer above its share, and is not listed.
    many = [*chosen("b", 500, 100, 1_000), *chosen("b", 100, 10), *chosen("a", 12, 10)]
    assert listed(counts(*many, *chosen("c", 20, 10, 50))) == ["c", "a", "b"]
    more = [*chosen("b", 500, 100, 1_000), *chosen("b", 90, 10), *chosen("a", 12, 10, 90)]
    assert listed(counts(*more)) == ["a"]


def test_windows_are_those_up_to_now():
    rows = [*chosen("hour", 3, 30), *chosen("day", 3, 600), *chosen("week", 3, 4_000)]
    made = counts(*rows)
    assert listed(made) == ["hour"]
    assert sorted(listed(made, "24h")) == ["day", "hour"]
    assert sorted(listed(made, "7d")) == ["day", "hour", "week"]
    # An hour and a slice later.
    assert made.videos("1h", NOW + HOUR_US) == ()
    assert [one.video_id for one in made.videos("24h", NOW + HOUR_US)] == ["day", "hour"]


def test_a_chosen_video_is_one_of_interest_and_not_one_that_was_shown_or_glanced_at():
    rows = []
    for n in range(3):
        rows += [(f"u{n}", "seen", "impression", 5), (f"u{n}", "glanced", "watch", 5, 1.0)]
        rows += [(f"u{n}", "watched", "watch", 5, 9.0), (f"u{n}", "short", "watch", 5, 1.0)]
        rows += [(f"u{n}", "skipped", "skip", 5), (f"u{n}", "saved", "save", 5)]
    own = InterestConfig(own_kinds={"save": OwnKindConfig(weight=2.0)})
    assert sorted(listed(counts(*rows, interest=own))) == ["saved", "short", "watched"]
    assert sorted(listed(counts(*rows))) == ["short", "watched"]


KINDS = ["click", "watch", "like", "purchase", "cart", "unlike", "refund", "hide", "unhide"]
EVENT = st.tuples(st.sampled_from("abcd"), st.sampled_from(KINDS), st.floats(-4, 40_000))


@settings(deadline=None, max_examples=50)
@given(st.lists(EVENT, max_size=60))
def test_one_shopper_lists_nothing_and_moves_no_number_by_more_than_one(rows):
    loud = [("loud", video, kind, ago) for video, kind, ago in rows]
    assert all(not listed(counts(*loud), window) for window in ("1h", "24h", "7d"))
    others = [*chosen("a", 9, 20), *chosen("b", 4, 20), *chosen("b", 30, 200, 50), *chosen("c", 2, 3)]
    without = {one.video_id: one for one in counts(*others).videos("1h", NOW)}
    for one in counts(*others, *loud).videos("1h", NOW):
        known = without.get(one.video_id)
        assert abs(one.shoppers - (0 if known is None else known.shoppers)) <= (1 if known else 2)


def test_events_after_now_do_not_count_and_batches_do_not_matter():
    rows = [("u1", "a", "click", -10), ("u2", "a", "click", -10), *chosen("b", 3, 2)]
    assert listed(counts(*rows)) == ["b"]
    one, many = counts(*rows), counts()
    for row in rows:
        many.add(table(row), NOW)
    assert one.videos("24h", NOW) == many.videos("24h", NOW)


def test_settings_say_how_many_shoppers_it_takes():
    rows = [*chosen("one", 1, 5), *chosen("two", 2, 5, 7)]
    assert listed(counts(*rows, min_shoppers=1)) == ["two", "one"]
    assert listed(counts(*rows, min_shoppers=2)) == ["two"]
    few, many = (counts(*rows, smoothing=s).videos("1h", NOW)[0].score for s in (1.0, 100.0))
    assert (few, many) == (2.0, 0.2)
