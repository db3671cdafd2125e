"""Events that may not be kept any longer, in both kinds of stores."""

from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, SqlitePlace
from vrec.core.compute import pc
from vrec.core.types import ApplyResult
from vrec.privacy.retention import RetentionConfig
from vrec.testing.store_profiles import assert_near, changed, ids_of, log_of, stored, wanted, world

KINDS = ("impression", "click", "watch", "like", "purchase")


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def new_place(request, redis_server, tmp_path_factory):
    """Return a function that makes an empty place of either kind."""
    if request.param == "redis":
        return lambda: RedisPlace(redis_server)
    return lambda: SqlitePlace(tmp_path_factory.mktemp("db"))


def expire_all(store, cutoffs, limit):
    removed, cursor = 0, 0
    while True:
        expired = store.expire(cutoffs, cursor, limit)
        removed, cursor = removed + expired.removed, expired.cursor
        if not cursor:
            return removed


@given(
    shares=st.dictionaries(st.sampled_from(KINDS), st.floats(0, 1), min_size=1),
    limit=st.integers(1, 400),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pass_leaves_what_is_young_enough_and_profiles_of_it(new_place, shares, limit, order):
    rows = list(range(300))
    order.shuffle(rows)
    events = world()[0].slice(0, 300).take(rows)
    at = events.column("at").cast("int64")
    first, last = pc.min(at).as_py(), pc.max(at).as_py()
    cutoffs = {kind: first + round(share * (last - first)) for kind, share in shares.items()}
    young = [
        time >= cutoffs.get(kind, first)
        for time, kind in zip(at.to_pylist(), events.column("kind").to_pylist(), strict=True)
    ]
    kept, place = events.filter(young), new_place()
    with closing(place.open()) as store:
        store.apply(events)
        before = {key: one for key, one in stored(store, wanted(events)).items() if key[0] == "video"}
        assert expire_all(store, cutoffs, limit) == young.count(False)
        assert expire_all(store, cutoffs, limit) == 0
    with closing(place.open()) as store:
        assert sorted(ids_of(log_of(store))) == sorted(ids_of(kept))
        users = {key: one for key, one in wanted(kept).items() if key[0] == "user"}
        found = stored(store, [key for key in wanted(events) if key[0] == "user"])
        assert_near(found, users)
        # What videos were shown and liked how often tells nothing of a shopper.
        assert_near(stored(store, before), before)
        assert store.apply(events) == ApplyResult(0, events.num_rows)


def test_sessions_that_joined_and_erased_events_are_no_obstacle(new_place):
    events = world()[0].slice(0, 40)
    mine = changed(events.slice(0, 10), user_id=["session:s"] * 10)
    others = changed(events.slice(10), user_id=["u"] * 30)
    cutoffs = dict.fromkeys([*KINDS, "skip", "cart", "share"], 2**60)
    with closing(new_place().open()) as store:
        store.apply(mine)
        store.join("session:s", "anna")
        store.apply(others)
        store.erase("u")
        removed = expire_all(store, cutoffs, 7)
        assert removed == sum(kind in cutoffs for kind in mine.column("kind").to_pylist())
        assert log_of(store).num_rows == 10 - removed


def test_reversing_kinds_are_kept_as_long_as_what_they_reverse():
    day = 86_400_000_000
    config = RetentionConfig(days={"like": 2, "hide": 3, "dislike": 1, "impression": 0.5, "follow": 1})
    assert config.cutoffs(10 * day) == {
        "like": 8 * day, "unlike": 8 * day, "hide": 7 * day, "dislike": 9 * day, "unhide": 7 * day,
        "impression": round(9.5 * day), "follow": 9 * day, "unfollow": 9 * day,
    }  # fmt: skip
    assert "unhide" not in RetentionConfig(days={"hide": 1}).cutoffs(day)
    with pytest.raises(ValueError, match="refund is kept as long as purchase"):
        RetentionConfig(days={"refund": 3})
