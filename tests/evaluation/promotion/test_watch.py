"""Looks at a service after a promotion."""

import numpy as np
import pytest

from vrec.evaluation.promotion.config import WatchConfig
from vrec.evaluation.promotion.watch import ResponseCounts, ShopperClicks, look

CONFIG = WatchConfig()
NOBODY = ShopperClicks(np.zeros(0), np.zeros(0))


def shoppers(seed: int, users: int, rate: float) -> ShopperClicks:
    rng = np.random.default_rng(seed)
    impressions = rng.integers(1, 40, users)
    return ShopperClicks(rng.binomial(impressions, rate).astype(float), impressions.astype(float))


def test_a_clear_fall_of_the_click_rate_is_seen():
    found = look(shoppers(1, 3_000, 0.1), shoppers(2, 1_500, 0.05), ResponseCounts(), CONFIG)
    assert "click rate" in found.fallen
    assert found.low < found.high < -0.01


@pytest.mark.parametrize("rate", [0.1, 0.095, 0.12])
def test_the_same_rate_a_small_fall_and_a_rise_are_no_fall(rate):
    found = [
        look(shoppers(seed, 2_000, 0.1), shoppers(100 + seed, 500, rate), ResponseCounts(), CONFIG).fallen
        for seed in range(20)
    ]
    assert found == [None] * 20


def test_without_enough_shoppers_there_is_no_interval_and_no_fall():
    few = look(shoppers(1, 2_000, 0.1), shoppers(2, 10, 0.0), ResponseCounts(), CONFIG)
    assert (few.low, few.high, few.fallen) == (None, None, None)
    none = look(NOBODY, NOBODY, ResponseCounts(), CONFIG)
    assert np.isnan(none.before)
    assert none.fallen is None


def test_errors_of_the_service_are_a_fall_once_there_are_enough_responses():
    assert look(NOBODY, NOBODY, ResponseCounts(49, 49), CONFIG).fallen is None
    assert look(NOBODY, NOBODY, ResponseCounts(100, 2), CONFIG).fallen is None
    assert "3 of 100 responses" in look(NOBODY, NOBODY, ResponseCounts(100, 3), CONFIG).fallen
