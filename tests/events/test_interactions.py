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
from vrec.core.schema import EVENT_KINDS, INTERACTIONS, conform
from vrec.events.interactions import InterestConfig, aggregate_interactions, weigh_events

PLAIN = InterestConfig()


def weights(table: pa.Table) -> list[float]:
    return table["weight"].to_pylist()


def test_each_kind_weighs_what_its_setting_says():
    config = InterestConfig(
        **{kind: float(n) for n, kind in enumerate(EVENT_KINDS)}, watch_whole_s=10, watch_least=0
    )
    rows = events(*[{"kind": kind, "video_id": kind, "value": 10.0} for kind in EVENT_KINDS])
    got = weigh_events(rows, config)
    assert got["video_id"].to_pylist() == list(EVENT_KINDS[1:]), "weight 0 gives no row, and order is kept"
    assert weights(got) == [float(n) for n in range(1, len(EVENT_KINDS))]
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
    with pytest.raises(EventsError, match=r"weigh: value has 1 watched seconds .* of 2, such as .* in row 2"):
        weigh_events(rows, PLAIN)


def test_an_unknown_kind_is_named():
    with pytest.raises(EventsError, match=r"kind has 1 that are none of impression.*'wink' in row 1"):
        weigh_events(events({"kind": "wink"}), PLAIN)
    with pytest.raises(SchemaError, match="missing user_id"):
        weigh_events(events({"kind": "click"}).drop_columns("user_id"), PLAIN)


def naive_gather(table: pa.Table, half_life: float | None, now) -> dict:
    terms, last = defaultdict(list), {}
    for row in table.to_pylist():
        pair = (row["user_id"], row["video_id"])
        age = max((now - row["at"]).total_seconds() / 86_400, 0)
        terms[pair].append(row["weight"] * (0.5 ** (age / half_life) if half_life else 1))
        last[pair] = max(last.get(pair, row["at"]), row["at"])
    return {pair: (math.fsum(terms[pair]), last[pair]) for pair in sorted(terms)}


@given(some_interactions(), st.none() | st.floats(0.1, 100), st.none() | st.integers(0, 9))
def test_gather_is_the_faded_sum_and_the_last_time(table, half_life, now):
    as_of = None if now is None else day(now)
    got = aggregate_interactions(table, InterestConfig(half_life_days=half_life), as_of).to_pylist()
    want = naive_gather(table, half_life, as_of or max(table["at"].to_pylist()))
    assert [(r["user_id"], r["video_id"]) for r in got] == list(want), "one row a pair, sorted"
    assert [r["at"] for r in got] == [at for _, at in want.values()]
    np.testing.assert_allclose([r["weight"] for r in got], [w for w, _ in want.values()], rtol=1e-6)


@given(some_interactions(), st.randoms(use_true_random=False))
def test_gather_does_not_depend_on_the_order_of_rows_to_the_last_bit(table, random):
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


def test_gathering_twice_without_fading_changes_nothing():
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
    with pytest.raises(EventsError, match=r"gather: weight has 1 not finite and above 0 of 2, .* in row 2"):
        aggregate_interactions(table, PLAIN)


def test_no_interactions_gather_to_none():
    assert aggregate_interactions(interactions(), PLAIN).num_rows == 0
    conform(aggregate_interactions(interactions(), PLAIN), INTERACTIONS, stage="test")
