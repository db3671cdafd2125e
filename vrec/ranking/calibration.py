"""Calibration of predictions on a validation split.

Every method is an increasing function of the prediction alone, so the order of predictions stays, except for
rounding to float32, and so does every ranking metric.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.special import expit, logit

from vrec.core.artifact import Arrays
from vrec.core.config import BaseConfig
from vrec.core.errors import ModelError, RankError
from vrec.ranking.features.arrays import Floats, ImpressionLabels, RankerPredictions

Doubles = npt.NDArray[np.float64]
Scale = Literal["chance", "seconds"]
"""Scale of the predictions: probabilities in [0, 1], or seconds ≥ 0."""
Used = Literal["isotonic", "temperature", "shift", "none"]
"""Method that was applied; `shift` replaces the others where there are few rows."""

_CLIP = 1e-7
"""Probabilities are clipped this far from 0 and 1, where log-odds are infinite."""
_SLOPES = (0.01, 100.0)
"""Bounds of the temperature slope: a ranker with a wrong order is flattened, never reversed."""
_MIN_RISE = 1e-3
"""Least rise beyond the outermost center, as a share of the room left: enough to keep the order."""


class CalibrationConfig(BaseConfig):
    """Settings of the calibration on the validation split."""

    method: Literal["isotonic", "temperature", "none"] = "isotonic"
    """`isotonic` fits any increasing curve; `temperature` (Platt scaling) fits a line in log-odds, or one
    factor for seconds, and needs fewer rows; `none` leaves predictions unchanged."""
    fewest: int = Field(default=30, ge=1)
    """Least number of rows of each outcome (for seconds, of rows above 0 s) that a method needs. With fewer,
    only the mean is corrected, by a constant added to the log-odds or a factor on the seconds; with none,
    predictions stay unchanged."""


@dataclass(frozen=True, eq=False, slots=True)
class Calibrator:
    """Fitted calibrator.

    Isotonic regression gives steps, and within a step the order is lost. The curve therefore goes through the
    centers of the steps (centered isotonic regression: Oron and Flournoy 2017). Beyond the predictions seen
    in the fit it goes to 0 and to 1; for seconds it continues at the last ratio. One row with the mean
    outcome is added at either end, so that no step is at 0 or 1 and a single row cannot determine an end.
    Temperature is Platt's (1999) slope and offset of log-odds.
    """

    method: Used
    """Method that was applied: a fallback where the configured method had too few rows."""
    scale: Scale
    xs: Doubles
    """(K,) float64 predictions, strictly increasing; empty except for isotonic."""
    ys: Doubles
    """(K,) float64 calibrated values of `xs`, strictly increasing."""
    line: Doubles
    """(2,) slope and offset of the log-odds, or of log seconds; (1, 0) where not used."""

    @classmethod
    def fit(
        cls,
        config: CalibrationConfig,
        predicted: Floats,
        outcome: Floats,
        weight: Floats | None = None,
        *,
        scale: Scale,
    ) -> Self:
        """Fit a calibrator; the order of the rows does not matter.

        Args:
            config: Method and its fallback.
            predicted: (N,) probabilities or seconds.
            outcome: (N,) 0 or 1, or seconds.
            weight: (N,) row weights ≥ 0; 1 by default.
            scale: Scale of predictions and outcomes.

        Raises:
            RankError: a value is not a probability, a time or a weight.
        """
        guess, truth, weights = _checked(predicted, outcome, weight, scale)
        # In one order, so that sums round the same.
        order = np.lexsort((weights, truth, guess))
        guess, truth, weights = guess[order], truth[order], weights[order]
        method = _method(config, guess, truth, scale)
        xs = ys = np.zeros(0)
        line = np.array([1.0, 0.0])
        match method:
            case "isotonic":
                xs, ys = _step_centers(guess, truth, weights, scale)
            case "temperature" | "shift" if scale == "seconds":
                line[1] = np.log((weights @ truth) / (weights @ guess))
            case "temperature":
                line = _platt(_log_odds(guess), truth, weights)
            case "shift":
                line[1] = _shift(_log_odds(guess), truth, weights)
            case "none":
                pass
        return cls(method, scale, xs, ys, line)

    def apply(self, predicted: Floats) -> Floats:
        """Return (N,) float32 calibrated predictions, in [0, 1] or ≥ 0 s, each independent of other rows."""
        guess = predicted.astype(np.float64)
        match self.method:
            case "isotonic":
                result = np.interp(guess, self.xs, self.ys)
                if self.scale == "seconds":
                    result += np.maximum(guess - self.xs[-1], 0) * (self.ys[-1] / self.xs[-1])
            case "none":
                result = guess
            case _ if self.scale == "seconds":
                result = guess * np.exp(self.line[1])
            case _:
                result = expit(self.line[0] * _log_odds(guess) + self.line[1])
        return result.astype(np.float32)

    def arrays(self) -> Arrays:
        """Return the arrays that `restore` reads: numbers, and two names as text arrays."""
        names = {"method": np.array(self.method), "scale": np.array(self.scale)}
        return {**names, "xs": self.xs, "ys": self.ys, "line": self.line}

    @classmethod
    def restore(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Rebuild the calibrator from its `arrays`; raise ModelError where they are incomplete or invalid."""
        missing = [name for name in cls.__slots__ if name not in arrays]
        if missing:
            raise ModelError(f"the calibrator has no array {', '.join(missing)}")
        method, scale = str(arrays["method"]), str(arrays["scale"])
        for name, known in ((method, get_args(Used)), (scale, get_args(Scale))):
            if name not in known:
                raise ModelError(f"the calibrator is of {name}, want one of {', '.join(known)}")
        return cls(method, scale, arrays["xs"], arrays["ys"], arrays["line"])  # type: ignore[arg-type]


def _method(config: CalibrationConfig, guess: Doubles, truth: Doubles, scale: Scale) -> Used:
    hits = np.count_nonzero(truth > 0)
    # Seconds that are all above 0 still define a mean; probabilities need both outcomes.
    rows = hits if scale == "seconds" else min(hits, len(truth) - hits)
    if not rows or (scale == "seconds" and not guess.any()):
        return "none"
    return "shift" if rows < config.fewest and config.method != "none" else config.method


def _step_centers(guess: Doubles, truth: Doubles, weights: Doubles, scale: Scale) -> tuple[Doubles, Doubles]:
    # The import takes a second, which every command would pay.
    from sklearn.isotonic import isotonic_regression

    mean, one = np.average(truth, weights=weights), weights.mean()
    guess = np.concatenate([guess[:1], guess, guess[-1:]])
    truth = np.concatenate([[mean], truth, [mean]])
    weights = np.concatenate([[one], weights, [one]])
    values, place = np.unique(guess, return_inverse=True)
    mass = np.bincount(place, weights=weights)
    steps = isotonic_regression(np.bincount(place, weights=weights * truth) / mass, sample_weight=mass)
    ys, step = np.unique(steps, return_inverse=True)
    xs = np.bincount(step, weights=values * mass) / np.bincount(step, weights=mass)
    below = _beyond(xs, ys, values[0], 0.0)
    above = _beyond(xs[::-1], ys[::-1], values[-1], 1.0 if scale == "chance" else np.inf)
    knots = np.array([*below[::-1], *zip(xs, ys, strict=True), *above])
    return knots[:, 0], knots[:, 1]


def _beyond(xs: Doubles, ys: Doubles, seen: float, limit: float) -> list[tuple[float, float]]:
    """Return the knots outside the outermost center (xs[0], ys[0]), ordered outwards.

    The knots are at the outermost prediction `seen` and at the `limit`. Half of the rows of the outermost
    step lie beyond its center. There the curve keeps the slope between the last two centers, but covers at
    most half the distance to 0 or the limit.
    """
    x, y = float(xs[0]), float(ys[0])
    knots: list[tuple[float, float]] = []
    if seen != x:
        slope = (ys[1] - y) / (xs[1] - x) if len(xs) > 1 else 0.0
        room = min(y, abs(limit - y))
        change = np.clip(slope * abs(seen - x), _MIN_RISE * room, room / 2)
        knots.append((seen, y + float(np.copysign(change, seen - x))))
    if seen != limit and np.isfinite(limit):
        knots.append((limit, limit))
    return knots


def _platt(odds: Doubles, truth: Doubles, weights: Doubles) -> Doubles:
    # Imported here and below: serving would wait for the import.
    from scipy.optimize import minimize

    share = weights / weights.sum()

    def loss(line: Doubles) -> tuple[float, Doubles]:
        z = line[0] * odds + line[1]
        missed = share * (expit(z) - truth)
        return float(share @ (np.logaddexp(0, z) - truth * z)), np.array([missed @ odds, missed.sum()])

    bounds = [_SLOPES, (None, None)]
    # The loss is convex: the one minimum is found from anywhere.
    return np.asarray(minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=bounds, tol=1e-12).x)


def _shift(odds: Doubles, truth: Doubles, weights: Doubles) -> float:
    from scipy.optimize import brentq

    def excess(offset: float) -> float:
        return float(weights @ (expit(odds + offset) - truth))

    return float(brentq(excess, -100.0, 100.0))


def _log_odds(chance: Doubles) -> Doubles:
    return logit(np.clip(chance, _CLIP, 1 - _CLIP))


def _checked(
    predicted: Floats, outcome: Floats, weight: Floats | None, scale: Scale
) -> tuple[Doubles, Doubles, Doubles]:
    weights = np.ones(len(predicted)) if weight is None else weight
    given = (("predicted", predicted), ("outcome", outcome), ("weight", weights))
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in given}
    shapes = {name: values.shape for name, values in columns.items()}
    if len(set(shapes.values())) > 1 or columns["predicted"].ndim != 1:
        raise RankError(
            f"calibration: arrays of shapes {shapes} do not have one number for each row",
            fix="pass one-dimensional arrays of equal length",
        )
    chance = scale == "chance"
    for name, values in columns.items():
        good = np.isfinite(values) & (values >= 0) & ((values <= 1) | (not chance or name == "weight"))
        if name == "outcome" and chance:
            good &= (values == 0) | (values == 1)
        bad = np.flatnonzero(~good)
        if len(bad):
            raise RankError(
                f"calibration: {name}: {len(bad):,} of {len(values):,} are not a valid {name} for {scale}, "
                f"such as {values[bad[0]]:g} in row {bad[0]}",
                fix="pass probabilities in [0, 1] with outcomes 0 or 1, or seconds ≥ 0, and weights ≥ 0",
            )
    used = columns["weight"] > 0
    return columns["predicted"][used], columns["outcome"][used], columns["weight"][used]


def fit_calibrators(
    config: CalibrationConfig, heads: Collection[str], raw: RankerPredictions, labels: ImpressionLabels
) -> dict[str, Calibrator]:
    """Fit a calibrator for each head from raw predictions and their outcomes.

    The conversion head is calibrated on mature impressions only.
    """
    fit = partial(Calibrator.fit, config)
    calibrators = {"click": fit(raw.p_click, labels.click, scale="chance")}
    if "watch" in heads:
        calibrators["watch"] = fit(raw.watch_s, labels.watch_s, scale="seconds")
    if "conversion" in heads:
        mature = labels.mature
        calibrators["conversion"] = fit(raw.p_conv[mature], labels.conversion[mature], scale="chance")
    return calibrators
