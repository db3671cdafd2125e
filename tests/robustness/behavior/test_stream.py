"""The guard of events as they come: who is held back, who comes back, and that nothing grows without
bound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.robustness.behavior import stream as module
from vrec.robustness.behavior.config import StreamGuardConfig
from vrec.robustness.behavior.recent import RecentItems
from vrec.robustness.behavior.stream import StreamGuard

NOW = 1_790_000_000_000_000
SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
CLICK = {"event:click": 1.0}


class Shop:
    """A guard with the traffic of a shop: 300 shoppers with a history, and newcomers now and then."""

    def __init__(self, quarantined=frozenset(), **settings):
        self.guard = StreamGuard(StreamGuardConfig(**{"on": True, **settings}), quarantined)
        self.counted = {}
        rng = np.random.default_rng(0)
        for shopper in range(300):
            for number in range(4):
                self.click(
                    f"u{shopper}",
                    f"v{rng.integers(50)}",
                    NOW - 3 * DAY + shopper * HOUR // 10 + number * HOUR,
                )
        for number in range(60):
            self.click(f"early{number}", f"v{rng.integers(50)}", NOW - DAY + number * HOUR // 4)
        assert self.guard.figures.held == 0

    def click(self, user, video, at):
        if self.guard.admit(hash((user, video)), user, video, at):
            self.counted.setdefault(video, []).append(user)
        else:
            self.guard.hold(hash((user, video)), video, (user, video), dict(CLICK))
        self._released()

    def buy(self, user, video, at):
        self.guard.purchase(user, video, at)
        self._released()

    def _released(self):
        for user, video in self.guard.take_released():
            self.counted.setdefault(video, []).append(user)

    def count(self, video="target"):
        return len(self.counted.get(video, []))


def test_a_farm_of_new_accounts_counts_for_the_free_few_alone():
    shop = Shop()
    for account in range(500):
        for click in range(3):
            shop.click(f"farm{account}", "target", NOW + account * SECOND // 10 + click * SECOND)
    assert shop.count() <= 3 * 11
    assert shop.guard.discount("target")["event:click"] >= 1450
    assert shop.guard.held >= 489
    for day in range(1, 4):  # and hours or days later no more than a few a day
        shop.click("late", "target", NOW + day * DAY)
    assert len(set(shop.counted["target"])) <= 50


def test_a_sale_counts_whole_by_shoppers_with_a_history_and_brings_back_strangers():
    shop = Shop()
    for visitor in range(500):  # strangers first, by a newsletter
        shop.click(f"visitor{visitor}", "target", NOW + visitor * SECOND // 30)
    assert shop.count() < 30
    for shopper in range(60):
        shop.click(f"u{shopper}", "target", NOW + 20 * SECOND + shopper * SECOND)
    assert shop.count() == 560
    assert shop.guard.discount("target") == {}
    assert (shop.guard.held, len(set(shop.counted["target"]))) == (0, 560)


def test_purchases_vouch_for_strangers_and_always_count():
    shop = Shop()
    for visitor in range(300):
        shop.click(f"visitor{visitor}", "target", NOW + visitor * SECOND // 10)
    for buyer in range(10):  # one in thirty buys
        shop.buy(f"visitor{buyer}", "target", NOW + 60 * SECOND + buyer * SECOND)
    assert shop.count() == 300
    shop.click("visitor0", "v1", NOW + 90 * SECOND)  # who has bought has a history
    assert "visitor0" in shop.counted["v1"]


def test_the_oldest_choices_come_back_first_and_each_once():
    shop = Shop(per_purchase=5)
    for visitor in range(40):
        shop.click(f"visitor{visitor}", "target", NOW + visitor)
    before = shop.count()
    shop.buy("u1", "target", NOW + SECOND)
    assert shop.counted["target"][before:] == [f"visitor{n}" for n in range(before, before + 5)]
    assert shop.guard.discount("target")["event:click"] == 40 - before - 5


def test_nothing_is_held_in_a_shop_in_which_all_are_new():
    guard = StreamGuard(StreamGuardConfig(on=True))
    assert all(guard.admit(n, f"u{n}", "target", NOW + n) for n in range(500))


def test_one_shopper_s_repeats_count_up_to_the_limit_and_again_the_next_day():
    shop = Shop(most_repeats=4)
    for number in range(50):
        shop.click("u5", "target", NOW + number * SECOND)
    assert shop.count() == 4
    shop.click("u5", "target", NOW + DAY)
    assert shop.count() == 5
    assert shop.guard.discount("target")["event:click"] == 46


def test_shoppers_in_quarantine_count_with_purchases_alone_and_vouch_for_nobody():
    for on in (True, False):
        guard = StreamGuard(StreamGuardConfig(on=on), {"bad"})
        assert not guard.admit(1, "bad", "v1", NOW)
        guard.hold(1, "v1", "choice", CLICK)
        guard.purchase("bad", "v1", NOW + 1)
        assert list(guard.take_released()) == []
        assert guard.discount("v1") == CLICK
        assert guard.admit(2, "good", "v1", NOW + 2)


def test_memory_is_bounded_whatever_comes(monkeypatch):
    monkeypatch.setattr(module, "MOST_HELD_PER_VIDEO", 20)
    monkeypatch.setattr(module, "MOST_HELD", 50)
    monkeypatch.setattr(module, "MOST_DISCOUNTS", 30)
    monkeypatch.setattr(module, "LEAST_ESTABLISHED", 0.0)
    guard = StreamGuard(StreamGuardConfig(on=True, most_shoppers=100, free_newcomers=1))
    for number in range(5_000):
        user, video = f"u{number % 977}", f"v{number % 61}"
        if not guard.admit(hash((user, video)), user, video, NOW + number * SECOND):
            guard.hold(hash((user, video)), video, number, dict(CLICK))
        assert max(guard.remembered) <= 102
        assert guard.held <= 51
    assert sum(bool(guard.discount(f"v{n}")) for n in range(61)) <= 30
    guard.purchase("u1", "v1", NOW)
    assert len(list(guard.take_released())) <= 30


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 12), st.integers(0, 3), st.sampled_from(["click", "purchase"]), st.integers(0, 3)
    ),
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_each_choice_is_counted_once_or_discounted(events):
    guard = StreamGuard(StreamGuardConfig(on=True, free_newcomers=1, per_purchase=2))
    guard._established = 1_000.0  # a shop that is not new
    counted, clicks = 0, 0
    at = NOW
    for user, video, kind, passed in events:
        at += passed * HOUR
        if kind == "purchase":
            guard.purchase(f"u{user}", f"v{video}", at)
        else:
            clicks += 1
            if guard.admit(4 * user + video, f"u{user}", f"v{video}", at):
                counted += 1
            else:
                guard.hold(4 * user + video, f"v{video}", None, dict(CLICK))
        list(guard.take_released())
    less = sum(guard.discount(f"v{video}").get("event:click", 0.0) for video in range(4))
    assert counted + less <= clicks + 1e-9
    assert guard.held <= less


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(2, 20))
def test_items_used_of_late_are_remembered(keys, most):
    items = RecentItems(most)
    used = []
    for key in keys:
        if items.get(key) is None:
            items.put(key, str(key))
        used = [*(one for one in used if one != key), key]
        assert len(items) <= most + 1
        assert all(items.get(one) == str(one) for one in used[-max(1, most // 2) :])


@pytest.mark.parametrize("seed", range(3))
def test_the_same_events_give_the_same_decisions(seed):
    def decisions():
        rng, guard, found = np.random.default_rng(seed), StreamGuard(StreamGuardConfig(on=True)), []
        guard._established = 500.0
        for number in range(2_000):
            user, video = f"u{rng.integers(600)}", f"v{int(rng.exponential(3))}"
            if not guard.admit(hash((user, video)), user, video, NOW + number * SECOND * 30):
                guard.hold(hash((user, video)), video, number, dict(CLICK))
                found.append(number)
            found += [-one for one in guard.take_released()]
        return found

    assert decisions() == decisions()
