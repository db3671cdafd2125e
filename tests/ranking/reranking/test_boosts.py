import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranking.reranking.shop import DAY_US, NOW
from vrec.ranking.reranking.boosts import FreshnessConfig, SlotCaps, SlotCapsConfig, freshness


def test_freshness_halves_with_age():
    published = NOW - np.array([0, 7, 14, np.nan, -3]) * DAY_US
    worth = np.full(5, 4.0)
    plain = FreshnessConfig(boost=0.5, unit="utility", half_life_days=7)
    np.testing.assert_allclose(freshness(worth, published, NOW, plain), [0.5, 0.25, 0.125, 0, 0.5])
    share = FreshnessConfig(boost=0.5, unit="share", half_life_days=7)
    np.testing.assert_allclose(freshness(worth, published, NOW, share), [2, 1, 0.5, 0, 2])
    assert not freshness(worth, published, NOW, FreshnessConfig()).any()


def filled(creator, category, worth, slots, config):
    caps, left, chosen = SlotCaps(creator, category, config), np.ones(len(worth), bool), []
    for _ in range(slots):
        within = caps.allowed(left)
        assert within.any()
        assert not (within & ~left).any()
        one = int(np.argmax(np.where(within, worth, -np.inf)))
        chosen.append(one)
        left[one] = False
        caps.take_slot(one)
    return chosen


def test_caps_by_hand():
    creator, category = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, -1, -1])
    worth = np.array([6.0, 5, 4, 3, 2, 1])
    assert filled(creator, category, worth, 6, SlotCapsConfig(creator=1)) == [0, 3, 5, 1, 2, 4]
    assert filled(creator, category, worth, 6, SlotCapsConfig(creator=None, category=1)) == [0, 2, 4, 5, 1, 3]
    assert filled(creator, category, worth, 6, SlotCapsConfig(creator=1, slots=2)) == [0, 3, 1, 2, 4, 5]
    # Videos without a creator or a category are not capped.
    assert filled(np.full(6, -1), np.full(6, -1), worth, 6, SlotCapsConfig(creator=1, category=1)) == list(
        range(6)
    )
    # The category's cap is given up before the creator's.
    assert filled(creator, category, worth, 3, SlotCapsConfig(creator=2, category=1))[:3] == [0, 2, 4]
    assert filled(creator[:4], category[:4], worth[:4], 4, SlotCapsConfig(creator=2, category=1)) == [
        0,
        2,
        3,
        1,
    ]


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=20),
    st.integers(1, 4),
    st.integers(0, 12),
    st.integers(0, 10**6),
)
@settings(deadline=None)
def test_a_creator_is_over_the_cap_only_where_nobody_else_is_left(creators, most, slots, seed):
    creator = np.array(creators)
    worth = np.random.default_rng(seed).normal(size=len(creator))
    config = SlotCapsConfig(creator=most, slots=slots)
    chosen = filled(creator, np.full(len(creator), -1), worth, len(creator), config)
    assert sorted(chosen) == list(range(len(creator)))
    for slot, one in enumerate(chosen[:slots]):
        before = creator[chosen[:slot]]
        if (before == creator[one]).sum() >= most:
            left = creator[chosen[slot:]]
            assert all((before == c).sum() >= most for c in left)
    assert chosen[slots:] == sorted(chosen[slots:], key=lambda i: -worth[i])


@pytest.mark.parametrize("config", [SlotCapsConfig(creator=None), SlotCapsConfig(slots=0)])
def test_without_caps_the_order_is_by_worth(config):
    worth = np.array([1.0, 3, 2])
    assert filled(np.zeros(3, int), np.zeros(3, int), worth, 3, config) == [1, 2, 0]


def test_freshness_by_hand_between_its_half_lives():
    worth, published = np.array([3.0]), np.array([NOW - 2 * DAY_US])
    config = FreshnessConfig(boost=0.8, unit="share", half_life_days=4)
    np.testing.assert_allclose(freshness(worth, published, NOW, config), [3 * 0.8 / np.sqrt(2)])
    # A worth of nothing gains nothing as a share, but does in its unit.
    nothing = np.zeros(1)
    assert freshness(nothing, published, NOW, config)[0] == 0
    plain = FreshnessConfig(boost=0.8, unit="utility", half_life_days=4)
    np.testing.assert_allclose(freshness(nothing, published, NOW, plain), [0.8 / np.sqrt(2)])


def test_a_cap_holds_in_exactly_its_slots():
    creator = np.array([0, 0, 0, 1, 1, 1])
    worth, none = np.array([6.0, 5, 4, 3, 2, 1]), np.full(6, -1)
    assert filled(creator, none, worth, 6, SlotCapsConfig(creator=2, slots=3)) == [0, 1, 3, 2, 4, 5]
    assert filled(creator, none, worth, 6, SlotCapsConfig(creator=2, slots=2)) == [0, 1, 2, 3, 4, 5]
