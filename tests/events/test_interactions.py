import datetime as dt
import itertools
import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import START, day, events, interactions, shuffled, some_interactions, videos
from vrec.core.errors import EventsError, SchemaError
from vrec.core.schema import EVENT_KINDS, INTERACTIONS, INTEREST_KINDS, conform
from vrec.events.config import InterestConfig
from vrec.events.interactions import DAY_US, aggregate_interactions, to_micros, weigh_events

PLAIN = InterestConfig()


def weights(table: pa.Table) -> list[float]:
    return table["weight"].to_pylist()


def test_each_kind_weighs_what_its_setting_says():
    config = InterestConfig(
        **{kind: float(n) for n, kind in enumerate(INTEREST_KINDS)}, watch_whole_s=10, watch_least=0
    )
    rows = events(*[{"kind": kind, "video_id": kind, "value": 10.0} for kind in EVENT_KINDS])
    got = weigh_events(rows, config)
    assert got["video_id"].to_pylist() == list(INTEREST_KINDS[1:]), "weight 0 gives no row, and order is kept"
    assert weights(got) == [float(n) for n in range(1, len(INTEREST_KINDS))]
    assert got.schema == INTERACTIONS.arrow()


def test_an_impression_alone_is_no_interest():
    assert weigh_events(events({"kind": "impression"}), PLAIN).num_rows == 0
    assert weigh_events(events(), PLAIN).num_rows == 0


@given(
    st.floats(0, 1000, width=32), st.none() | st.floats(0, 1000, width=32), st.floats(1, 100), st.floats(0, 1)
)
def test_a_watch_counts_by_the_share_of_what_is_whole(seconds, duration, whole, least):
    config = InterestConfig(watch=2, watch_whole_s=whole, watch_least=least)
    got = weights(
        weigh_events(events({"kind": "watch", "value": seconds}), config, videos(v=duration, other=1.0))
    )
    share = min(1.0, seconds / min(whole, duration or math.inf))
    want = 2 * share if share >= least else 0
    assert got == ([float(np.float32(want))] if np.float32(want) > 0 else [])


def test_a_watch_without_seconds_is_taken_as_whole_and_an_unknown_video_by_the_setting():
    rows = events({"kind": "watch"}, {"kind": "watch", "value": 9.0, "video_id": "absent"})
    assert weights(weigh_events(rows, PLAIN, videos(v=5.0))) == [1.0, 0.5]
    assert weights(weigh_events(rows, PLAIN)) == [1.0, 0.5]


def test_a_catalogue_with_a_video_twice_does_not_double_events():
    twice = pa.concat_tables([videos(v=4.0), videos(v=4.0)])
    assert weights(weigh_events(events({"kind": "watch", "value": 2.0}), PLAIN, twice)) == [0.5]


@pytest.mark.parametrize("seconds", [math.nan, -1.0, math.inf])
def test_watched_seconds_that_cannot_be_are_named(seconds):
    rows = events({"kind": "click"}, {"kind": "watch", "value": seconds})
    with pytest.raises(
        EventsError, match=r"weigh_events: value has 1 watched seconds .* of 2, such as .* in row 2"
    ):
        weigh_events(rows, PLAIN)


def test_an_unknown_kind_is_named():
    with pytest.raises(EventsError, match=r"kind has 1 that are none of impression.*'wink' in row 1"):
        weigh_events(events({"kind": "wink"}), PLAIN)
    with pytest.raises(SchemaError, match="missing user_id"):
        weigh_events(events({"kind": "click"}).drop_columns("user_id"), PLAIN)


def naive_aggregate(table: pa.Table, half_life: float | None, now) -> dict:
    terms, last = defaultdict(list), {}
    for row in table.to_pylist():
        pair = (row["user_id"], row["video_id"])
        age = max((now - row["at"]).total_seconds() / 86_400, 0)
        terms[pair].append(row["weight"] * (0.5 ** (age / half_life) if half_life else 1))
        last[pair] = max(last.get(pair, row["at"]), row["at"])
    return {pair: (math.fsum(terms[pair]), last[pair]) for pair in sorted(terms)}


@given(some_interactions(), st.none() | st.floats(0.1, 100), st.none() | st.integers(0, 9))
def test_aggregation_is_the_faded_sum_and_the_last_time(table, half_life, now):
    as_of = None if now is None else day(now)
    got = aggregate_interactions(table, InterestConfig(half_life_days=half_life), as_of).to_pylist()
    want = naive_aggregate(table, half_life, as_of or max(table["at"].to_pylist()))
    assert [(r["user_id"], r["video_id"]) for r in got] == list(want), "one row a pair, sorted"
    assert [r["at"] for r in got] == [at for _, at in want.values()]
    np.testing.assert_allclose([r["weight"] for r in got], [w for w, _ in want.values()], rtol=1e-6)


@given(some_interactions(), st.randoms(use_true_random=False))
def test_aggregation_does_not_depend_on_the_order_of_rows_to_the_last_bit(table, random):
    config = InterestConfig(half_life_days=0.7)
    assert aggregate_interactions(shuffled(table, random), config).equals(
        aggregate_interactions(table, config)
    )


def test_weights_of_one_moment_add_up_alike_in_any_order():
    # Half a step of float32 above 2^24, and so little more that it only tells when it is added first.
    terms = [2.0**24, 1.0] + [2.0**-30] * 4
    sums = set()
    for order in set(itertools.permutations(terms)):
        sums.update(
            weights(aggregate_interactions(interactions(*[("u", "v", weight, 0) for weight in order]), PLAIN))
        )
    assert sums == {2.0**24 + 2}


def test_aggregating_twice_without_fading_changes_nothing():
    once = aggregate_interactions(interactions(("u", "v", 1, 0), ("u", "v", 2, 1), ("t", "v", 1, 3)), PLAIN)
    assert aggregate_interactions(once, PLAIN).equals(once)
    assert weights(once) == [1.0, 3.0]


def test_what_has_faded_away_is_left_out_and_the_later_counts_in_full():
    table = interactions(("u", "old", 1, 0), ("u", "new", 1, 200))
    got = aggregate_interactions(table, InterestConfig(half_life_days=1))
    assert got["video_id"].to_pylist() == ["new"]
    edge = aggregate_interactions(interactions(("u", "v", 1, 0)), InterestConfig(half_life_days=1), day(126))
    assert weights(edge) == [2.0**-126]
    assert (
        aggregate_interactions(
            interactions(("u", "v", 1, 0)), InterestConfig(half_life_days=1), day(127)
        ).num_rows
        == 0
    )
    assert weights(aggregate_interactions(table, InterestConfig(half_life_days=1), START)) == [1.0, 1.0]


def test_a_time_without_a_zone_is_utc():
    table, config = interactions(("u", "v", 1, 0)), InterestConfig(half_life_days=1)
    assert aggregate_interactions(table, config, day(3).replace(tzinfo=None)).equals(
        aggregate_interactions(table, config, day(3))
    )


@pytest.mark.parametrize("weight", [math.nan, math.inf, 0.0, -1.0])
def test_weights_that_cannot_be_are_named(weight):
    table = interactions(("u", "v", 1, 0), ("u", "w", weight, 0))
    with pytest.raises(
        EventsError, match=r"aggregate_interactions: weight has 1 not finite and above 0 of 2, .* in row 2"
    ):
        aggregate_interactions(table, PLAIN)


def test_no_interactions_aggregate_to_none():
    assert aggregate_interactions(interactions(), PLAIN).num_rows == 0
    conform(aggregate_interactions(interactions(), PLAIN), INTERACTIONS, stage="test")


def test_a_watch_of_exactly_the_least_share_counts_and_a_shorter_one_does_not():
    config = InterestConfig(watch=4, watch_whole_s=8, watch_least=0.25)
    rows = events(*({"kind": "watch", "value": seconds} for seconds in (1.75, 2.0, 4.0, 9.0)))
    assert weights(weigh_events(rows, config)) == [1.0, 2.0, 4.0]


def test_durations_bound_a_whole_watch_only_where_they_are_known_and_shorter():
    rows = events(
        *({"kind": "watch", "value": 6.0, "video_id": v} for v in ("short", "long", "zero", "none", "x"))
    )
    config = InterestConfig(watch_whole_s=24, watch_least=0)
    table = pa.concat_tables([videos(short=8.0, long=100.0, zero=0.0, none=None), videos(short=12.0)])
    assert weights(weigh_events(rows, config, table)) == [0.5, 0.25, 0.25, 0.25, 0.25]


def test_times_and_ids_of_the_event_are_those_of_its_interaction():
    row = weigh_events(events({"kind": "like", "user_id": "same", "video_id": "same", "at": day(1.5)}), PLAIN)
    assert row.to_pylist() == [{"user_id": "same", "video_id": "same", "weight": 2.0, "at": day(1.5)}]
    assert row["at"].cast(pa.int64()).to_pylist() == [to_micros(day(1.5))]


def test_decay_halves_once_per_half_life_of_days():
    table = interactions(("u", "v", 8, 0), ("u", "w", 8, 2), ("u", "x", 8, 4))
    assert weights(aggregate_interactions(table, InterestConfig(half_life_days=2))) == [2.0, 4.0, 8.0]
    assert weights(aggregate_interactions(table, InterestConfig(half_life_days=2), day(6))) == [1.0, 2.0, 4.0]
    assert weights(aggregate_interactions(table, PLAIN, day(6))) == [8.0, 8.0, 8.0]


def test_microseconds_since_1970():
    assert DAY_US == 24 * 60 * 60 * 1_000_000
    at = dt.datetime(1970, 1, 2, 0, 0, 3, 4, tzinfo=dt.UTC)
    assert to_micros(at) == to_micros(at.replace(tzinfo=None)) == DAY_US + 3_000_004
    assert to_micros(at.astimezone(dt.timezone(dt.timedelta(hours=8)))) == DAY_US + 3_000_004
    assert to_micros(dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)) == -1


def test_a_user_s_id_may_be_a_video_s():
    got = aggregate_interactions(interactions(("a", "b", 1, 0), ("b", "a", 2, 0), ("a", "b", 4, 0)), PLAIN)
    assert [(r["user_id"], r["video_id"], r["weight"]) for r in got.to_pylist()] == [
        ("a", "b", 5.0),
        ("b", "a", 2.0),
    ]
