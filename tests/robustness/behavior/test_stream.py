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
from vrec.robustness.behavior.stream_state import Announcement

NOW = 1_790_000_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
CLICK = {"event:click": 1.0}


class Shop:
    """A guard with the traffic of a shop: 300 shoppers with a history, and newcomers now and then.

    Of every `buys` shoppers one has bought something; nobody with 0.
    """

    def __init__(self, quarantined=frozenset(), announced=None, buys=0, **settings):
        self.guard = StreamGuard(StreamGuardConfig(**{"on": True, **settings}), quarantined, announced)
        self.counted = {}
        rng = np.random.default_rng(0)
        for number in range(4):  # in the order of time
            for shopper in range(300):
                at = NOW - 3 * DAY + shopper * SECOND + number * HOUR
                self.click(f"u{shopper}", f"v{rng.integers(50)}", at)
                if buys and shopper % buys == 0 and number == 1:
                    self.buy(f"u{shopper}", "v1", at)
        for number in range(60):
            self.click(f"early{number}", f"v{rng.integers(50)}", NOW - DAY + number * HOUR // 4)
        assert self.guard.held == 0

    def click(self, user, video, at):
        if self.guard.admit(hash((user, video)), user, video, at):
            self.counted.setdefault(video, []).append(user)
        else:
            self.guard.hold(hash((user, video)), video, (user, video), dict(CLICK))
        self._released()

    def buy(self, user, video, at, **more):
        self.guard.purchase(user, video, at, **more)
        self._released()

    def _released(self):
        for user, video in self.guard.take_released():
            self.counted.setdefault(video, []).append(user)

    def count(self, video="target"):
        return len(set(self.counted.get(video, [])))


def age(shop, accounts, videos, days=2, start=NOW):
    """Let accounts choose other videos on the days before, in the order of time; returns when they are
    done."""
    for number in range(videos):
        at = start + days * DAY * number // videos
        for account in range(accounts):
            shop.click(f"farm{account}", f"other{(7 * account + number) % 400}", at)
    return start + days * DAY


def test_a_farm_of_new_accounts_counts_for_the_free_few_alone():
    shop = Shop()
    for account in range(500):
        for click in range(3):
            shop.click(f"farm{account}", "target", NOW + account * SECOND // 10 + click * SECOND)
    assert len(shop.counted["target"]) <= 3 * 11
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
    shop = Shop(per_purchase=(5, 5))
    for visitor in range(40):
        shop.click(f"visitor{visitor}", "target", NOW + visitor)
    before = len(shop.counted["target"])
    shop.buy("u1", "target", NOW + SECOND)
    assert shop.counted["target"][before:] == [f"visitor{n}" for n in range(before, before + 5)]
    assert shop.guard.discount("target")["event:click"] == 40 - before - 5


def test_accounts_with_a_history_count_for_the_few_free_where_customers_are_known():
    for videos, most in ((0, 11), (2, 15), (6, 20), (20, 30)):
        shop = Shop(buys=3)
        at = age(shop, 500, videos)
        for account in range(500):
            shop.click(f"farm{account}", "target", at + account * SECOND // 10)
        assert shop.count() <= most
    # One who has a history lets in no more than the usual number of newcomers.
    shop = Shop(buys=3)
    at = age(shop, 50, 6)
    for account in range(500):
        shop.click(f"farm{account}", "target", at + account * SECOND // 10)
    assert shop.count() <= 50


def test_a_sale_is_counted_whole_though_few_of_its_shoppers_are_customers():
    shop = Shop(buys=6)
    for visitor in range(200):
        shop.click(f"visitor{visitor}", "target", NOW + visitor * SECOND // 30)
    for shopper in range(120):  # of whom twenty have bought something
        shop.click(f"u{shopper}", "target", NOW + 10 * SECOND + shopper * SECOND // 4)
    assert shop.count() == 320
    assert shop.guard.discount("target") == {}


def test_histories_that_are_said_to_be_old_are_none():
    shop = Shop(buys=3)
    shop.click("u1", "v1", NOW)
    for account in range(500):
        for number in range(6):
            shop.click(f"farm{account}", f"v{number}", NOW - (6 - number) * DAY)
        shop.click(f"farm{account}", "target", NOW + SECOND)
    assert shop.count() <= 11


def test_shoppers_of_many_days_stand_for_customers_where_nobody_buys():
    shop = Shop()
    at = NOW
    for day in range(4):
        at = NOW + day * DAY
        for shopper in range(100):
            for number in range(3):
                shop.click(f"u{shopper}", f"w{day}{number}", at + shopper * SECOND + number)
    shop.buy("u1", "v3", at + HOUR)  # one purchase makes no shop of customers
    age(shop, 300, 9, days=0, start=at + 2 * HOUR)
    for account in range(300):
        shop.click(f"farm{account}", "target", at + 3 * HOUR + account)
    assert shop.count() <= 20
    for shopper in range(100):
        shop.click(f"u{shopper}", "target", at + 3 * HOUR + MINUTE + shopper * SECOND)
    assert shop.count() == 400


def test_a_video_s_first_buyers_vouch_for_fewer_and_no_buyer_twice():
    shop = Shop(buys=3)
    for account in range(500):
        shop.click(f"farm{account}", "target", NOW + account)
    free = shop.count()
    for time in range(5):  # one account that buys again and again
        shop.buy("farm1", "target", NOW + MINUTE + time)
    assert shop.count() == free + 15
    shop.buy("farm2", "target", NOW + 2 * MINUTE)
    assert shop.count() <= free + 15 + 30


def test_a_refund_takes_back_what_was_not_used_and_the_rank():
    shop = Shop(buys=3)
    shop.buy("farm0", "target", NOW)
    shop.guard.refund("farm0", "target", NOW + SECOND)
    for account in range(500):
        shop.click(f"farm{account}", "target", NOW + MINUTE + account)
    assert shop.count() <= 11


def test_a_purchase_by_one_of_a_crowd_vouches_for_it_whatever_is_bought():
    shop = Shop(buys=3)
    for visitor in range(60):
        shop.click(f"visitor{visitor}", "target", NOW + visitor)
    before = shop.count()
    shop.buy("visitor50", "v3", NOW + MINUTE)
    assert shop.count() == before + 15
    shop.buy("u2", "v3", NOW + MINUTE)  # who was not among them
    assert shop.count() == before + 15


def test_purchases_that_anybody_can_send_vouch_for_nobody():
    shop = Shop(buys=3)
    for account in range(300):
        shop.buy(f"farm{account}", "target", NOW + account, vouches=False)
        shop.click(f"farm{account}", "target", NOW + account)
    assert shop.count() <= 11


def test_newcomers_whom_the_shop_has_announced_count_up_to_their_number():
    announced = {"target": Announcement(NOW, NOW + HOUR, 200), "v1": Announcement(NOW + DAY, NOW + DAY, 5)}
    shop = Shop(announced=announced, buys=3)
    for visitor in range(250):
        shop.click(f"visitor{visitor}", "target", NOW + SECOND + visitor)
        shop.click(f"visitor{visitor}", "other", NOW + SECOND + visitor)
    assert 200 <= shop.count() <= 211
    assert shop.count("other") <= 11
    late = Shop(announced=announced, buys=3)
    for visitor in range(250):
        late.click(f"visitor{visitor}", "target", NOW + 2 * HOUR + visitor)
    assert late.count() <= 11


def test_nothing_is_held_in_a_shop_in_which_all_are_new():
    guard = StreamGuard(StreamGuardConfig(on=True))
    assert all(guard.admit(n, f"u{n}", "target", NOW + n) for n in range(500))


def test_one_shopper_s_repeats_count_up_to_the_limit_and_again_the_next_day():
    shop = Shop(most_repeats=4)
    for number in range(50):
        shop.click("u5", "target", NOW + number * SECOND)
    assert len(shop.counted["target"]) == 4
    for number in range(50):  # said to be of other days
        shop.click("u5", "target", NOW - number * DAY)
    assert len(shop.counted["target"]) == 4
    shop.click("u5", "target", NOW + DAY)
    assert len(shop.counted["target"]) == 5
    assert shop.guard.discount("target")["event:click"] == 96


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
    guard = StreamGuard(StreamGuardConfig(on=True, free_newcomers=1, per_purchase=(2, 2)))
    guard._choices = [0.0, 1_000.0, 1_000.0]  # a shop that is not new
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
        guard._choices = [0.0, 500.0, 0.0]
        for number in range(2_000):
            user, video = f"u{rng.integers(600)}", f"v{int(rng.exponential(3))}"
            if not guard.admit(hash((user, video)), user, video, NOW + number * SECOND * 30):
                guard.hold(hash((user, video)), video, number, dict(CLICK))
                found.append(number)
            found += [-one for one in guard.take_released()]
        return found

    assert decisions() == decisions()
