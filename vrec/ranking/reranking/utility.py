"""What it is worth to show a video: the heads' expectations added up in one unit."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.ranking.features.arrays import RankerPredictions

Floats = npt.NDArray[np.float32]


class UtilityWeights(BaseConfig):
    """What a surface is there for: the worth of each thing that a shown video may lead to.

    Worth is in `UtilityConfig.unit`; where that is minutes, leave `minute` at 1 and say how many minutes
    the other things are worth.
    """

    click: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Of a click, units."""
    minute: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    """Of a minute watched, units."""
    price_share: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Of a conversion, units for each unit of the video's price: with money, the margin."""
    unpriced: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Of a conversion of a video without a price, units."""


class UtilityConfig(BaseConfig):
    """What is aimed at, by surface."""

    unit: Literal["money", "minutes"] = "money"
    """What utility counts: the currency of VIDEOS.price, or minutes of watching. It names the unit of every
    figure in the blends, and changes no result by itself."""
    default: UtilityWeights = Field(default_factory=UtilityWeights)
    """The blend of surfaces that have none of their own."""
    surfaces: Mapping[str, UtilityWeights] = Field(default_factory=dict)
    """Blends by surface, such as "feed". What one leaves out has the value of a blend's field, not of
    `default`."""

    def weights_for(self, surface: str) -> UtilityWeights:
        """The surface's blend."""
        return self.surfaces.get(surface, self.default)


def utility(predictions: RankerPredictions, prices: Floats, surface: str, config: UtilityConfig) -> Floats:
    """What showing each of N candidates is worth, (N,) float32 ≥ 0 in `config.unit`.

    click × p_click + minute × watch_s / 60 + worth of a conversion × p_conv: a sum with a term a head, which
    never falls when a head rises. `prices` is (N,), NaN where there is none. Raises RankError for
    predictions or prices that cannot be, naming the head and a row.
    """
    return _expected_utility(predictions, prices, config.weights_for(surface)).astype(np.float32)


def utility_slope(
    predictions: RankerPredictions, prices: Floats, surface: str, config: UtilityConfig
) -> Floats:
    """How utility changes with the log-odds of a click, (N,) float32 ≥ 0, in `config.unit` a logit.

    What follows a click is held as it is: seconds and conversions are taken as p_click × (that given a
    click), so each term of utility is proportional to p_click = expit(logit), and the slope is
    (1 − p_click) × utility. Times `Predictions.spread` it is utility's standard deviation by the delta
    method. Raises RankError as `utility`.
    """
    worth = _expected_utility(predictions, prices, config.weights_for(surface))
    return ((1.0 - predictions.p_click.astype(np.float64)) * worth).astype(np.float32)


def _expected_utility(
    predictions: RankerPredictions, prices: Floats, blend: UtilityWeights
) -> npt.NDArray[np.float64]:
    _check(predictions, prices)
    known = np.isfinite(prices)
    sale = np.where(known, blend.price_share * np.where(known, prices, 0).astype(np.float64), blend.unpriced)
    clicks, minutes = predictions.p_click.astype(np.float64), predictions.watch_s / np.float64(60)
    return blend.click * clicks + blend.minute * minutes + sale * predictions.p_conv


def _check(predictions: RankerPredictions, prices: Floats) -> None:
    rows = len(predictions.p_click)
    wants = {
        "p_click": (predictions.p_click, 1.0, "a chance in [0, 1]"),
        "watch_s": (predictions.watch_s, np.finfo(np.float32).max, "finite seconds from 0"),
        "p_conv": (predictions.p_conv, 1.0, "a chance in [0, 1]"),
        "spread": (predictions.spread, np.finfo(np.float32).max, "finite and not below 0"),
        "price": (np.nan_to_num(prices, nan=0.0, posinf=np.inf), np.finfo(np.float32).max, "money from 0"),
    }
    for name, (values, most, want) in wants.items():
        if values.shape != (rows,):
            raise RankError(f"utility: {name} is {values.shape}, want ({rows},)")
        wrong = ~((values >= 0) & (values <= most))
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise RankError(
                f"utility: {name} of {int(wrong.sum()):,} of {rows:,} candidates is not {want}, such as "
                f"{values[first]} in row {first}",
                fix="train the ranker again, or correct the prices in VIDEOS",
            )
