"""Expected utility of showing a video: a weighted sum of predictions in one unit."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.checks import find_bad_rows
from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.ranking.features.arrays import RankerPredictions

Floats = npt.NDArray[np.float32]
Prices = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class UtilityWeights(BaseConfig):
    """Utility of each outcome of showing a video, in `UtilityConfig.unit`.

    Where the unit is minutes, set `minute` to 1 and express the other outcomes in minutes.
    """

    click: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Utility of a click, in `unit`."""
    minute: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    """Utility of a minute watched, in `unit`."""
    price_share: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Utility of a conversion, in `unit` per unit of the video's price: for money, the margin."""
    unpriced: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Utility of a conversion of a video without a price, in `unit`."""


class UtilityConfig(BaseConfig):
    """Utility weights by surface."""

    unit: Literal["money", "minutes"] = "money"
    """Unit of utility: the currency of VIDEOS.price, or minutes watched. It names the unit of the weights and
    changes no result by itself."""
    default: UtilityWeights = Field(default_factory=UtilityWeights)
    """Weights of surfaces that are not in `surfaces`."""
    surfaces: Mapping[str, UtilityWeights] = Field(default_factory=dict)
    """Weights by surface, such as "feed". A weight left out has the default of its field, not the value in
    `default`."""

    def weights_for(self, surface: str) -> UtilityWeights:
        """Return the weights of a surface."""
        return self.surfaces.get(surface, self.default)


def utility(predictions: RankerPredictions, prices: Prices, surface: str, config: UtilityConfig) -> Floats:
    """Compute the expected utility of showing each of N candidates.

    It is click × p_click + minute × watch_s / 60 + (utility of a conversion) × p_conv, which never decreases
    when a prediction increases.

    Args:
        predictions: Predictions for the candidates.
        prices: (N,) prices, NaN where there is none.
        surface: Surface that shows the candidates.
        config: Weights by surface.

    Returns:
        (N,) float32 utilities ≥ 0 in `config.unit`.

    Raises:
        RankError: a prediction or price is invalid; the message names it and a row.
    """
    return _expected_utility(predictions, prices, config.weights_for(surface)).astype(np.float32)


def utility_slope(
    predictions: RankerPredictions, prices: Prices, surface: str, config: UtilityConfig
) -> Floats:
    """Compute the derivative of utility in the log-odds of a click.

    Seconds and conversions given a click are held constant: each term of utility is then proportional to
    p_click = expit(logit), and the derivative is (1 − p_click) × utility. Multiplied by
    `RankerPredictions.spread` it is the standard deviation of utility by the delta method. Arguments and
    errors are those of `utility`.

    Returns:
        (N,) float32 ≥ 0 in `config.unit` per logit.
    """
    utilities = _expected_utility(predictions, prices, config.weights_for(surface))
    return ((1.0 - predictions.p_click.astype(np.float64)) * utilities).astype(np.float32)


def _expected_utility(
    predictions: RankerPredictions, prices: Prices, weights: UtilityWeights
) -> npt.NDArray[np.float64]:
    _check(predictions, prices)
    priced = np.isfinite(prices)
    conversion = np.where(
        priced, weights.price_share * np.where(priced, prices, 0).astype(np.float64), weights.unpriced
    )
    clicks, minutes = predictions.p_click.astype(np.float64), predictions.watch_s / np.float64(60)
    return weights.click * clicks + weights.minute * minutes + conversion * predictions.p_conv


def _check(predictions: RankerPredictions, prices: Prices) -> None:
    rows = len(predictions.p_click)
    wants = {
        "p_click": (predictions.p_click, 1.0, "a probability in [0, 1]"),
        "watch_s": (predictions.watch_s, np.finfo(np.float32).max, "finite seconds ≥ 0"),
        "p_conv": (predictions.p_conv, 1.0, "a probability in [0, 1]"),
        "spread": (predictions.spread, np.finfo(np.float32).max, "finite and ≥ 0"),
        "price": (
            np.nan_to_num(prices, nan=0.0, posinf=np.inf),
            np.finfo(np.float32).max,
            "a finite price ≥ 0",
        ),
    }
    for name, (values, maximum, want) in wants.items():
        if values.shape != (rows,):
            raise RankError(
                f"utility: {name} is of shape {values.shape}, want ({rows},)",
                fix="pass one value per candidate",
            )
        if bad := find_bad_rows(~((values >= 0) & (values <= maximum))):
            raise RankError(
                f"utility: {name} of {bad.count:,} of {rows:,} candidates is not {want}, such as "
                f"{values[bad.first]} in row {bad.first}",
                fix="train the ranker again, or correct the prices in VIDEOS",
            )
