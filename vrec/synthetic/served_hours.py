"""Hours of a shop whose lists a model ranks, sound or broken: for tests of the alarms about models."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vrec.evaluation.health.hours import Floats, HourFigures, Ints, ServedImpressions, measure_hour

Fault = Literal["none", "shuffled", "shifted", "raised", "collapsed"]
"""Scores in random order, predictions half as high and twice as high, and lists of few popular videos."""
LENGTH = 12
"""Videos of a list."""
DAY, WEEK = 24, 168


@dataclass(frozen=True, slots=True)
class ServedShop:
    """Shop whose clicks vary as shops' do, by more than the model knows."""

    shoppers: float = 100.0
    """Mean number of shoppers in an hour; at night there are a tenth of those at noon."""
    videos: int = 2_000
    skill: float = 0.8
    """Standard deviation of the log odds of a shopper's clicks that the model knows."""
    rate: float = 0.06
    """Typical click rate."""
    hour_spread: float = 0.1
    """Standard deviation of the logarithm of the click rate between hours, which the model does not know."""
    sale_factor: float = 1.25
    """Factor of clicks on one day of each month, which the model does not know either."""
    popularity: float = 0.8
    """Exponent of the frequency of videos in lists by rank."""


class ServedHours:
    """Generator of the figures of hours, one after the other."""

    def __init__(self, shop: ServedShop, seed: int) -> None:
        """Begin a shop's log."""
        self._shop, self._random = shop, np.random.default_rng(seed)
        self._hour, self._level = 0, 0.0
        weights = np.arange(1, shop.videos + 1.0) ** -shop.popularity
        self._shares = np.cumsum(weights / weights.sum())

    def next(self, fault: Fault = "none", bundle: str = "a") -> HourFigures:
        """Return the figures of the next hour."""
        shop, hour = self._shop, self._hour
        self._hour += 1
        # Hours resemble those before them.
        self._level = 0.8 * self._level + 0.6 * self._random.normal(0, shop.hour_spread)
        level = self._level + np.log(shop.sale_factor) * (hour // DAY % 30 == 20)
        level += 0.05 * (hour % WEEK >= 5 * DAY)
        day = 1.1 - np.cos(2 * np.pi * (hour % DAY) / DAY)
        shoppers = self._random.poisson(shop.shoppers * day / 1.1)
        return measure_hour(self._impressions(shoppers, level, fault), hour, bundle, shop.videos)

    def _impressions(self, shoppers: int, level: float, fault: Fault) -> ServedImpressions:
        random, shop = self._random, self._shop
        lists = random.geometric(0.6, shoppers)
        shopper = np.repeat(np.arange(shoppers), lists)
        base = np.log(shop.rate) + random.normal(0, 0.5, shoppers)[shopper]
        known = -np.sort(-random.normal(0, shop.skill, (len(shopper), LENGTH)), axis=1)
        unknown = random.normal(0, 0.4, known.shape) + level
        # Shoppers look less at lower places, which the prediction leaves out.
        seen = 0.97 ** np.arange(LENGTH)
        odds = base[:, None] + known
        click = random.random(known.shape) < _probability(odds + unknown) * seen
        predicted = _probability(odds)
        if fault == "shuffled":
            predicted = random.permuted(predicted, axis=1)
        elif fault in ("shifted", "raised"):
            predicted = np.minimum(predicted * (0.5 if fault == "shifted" else 2.0), 1.0)
        return ServedImpressions(
            shopper=np.repeat(shopper, LENGTH),
            list=np.repeat(np.arange(len(shopper)), LENGTH),
            video=self._videos(known.shape, fault).reshape(-1),
            p_click=predicted.reshape(-1),
            click=click.reshape(-1).astype(np.float64),
        )

    def _videos(self, shape: tuple[int, ...], fault: Fault) -> Ints:
        """Draw the videos of lists, of which a broken model shows the twenty most popular alone."""
        if fault == "collapsed":
            return self._random.integers(0, 20, shape)
        return np.minimum(np.searchsorted(self._shares, self._random.random(shape)), self._shop.videos - 1)


def _probability(odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-odds))
