"""Calibration: predictions that mean what they say, by what came of a validation part.

Every method is a rising function of the prediction alone: the order stays, but for rounding to float32, and
so does every metric of order.
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
"""What is calibrated: chances in [0, 1], or seconds from 0 up."""
Used = Literal["isotonic", "temperature", "shift", "none"]
"""How it was calibrated in the end; shift is what is left of temperature where there are few rows."""

_NO_CHANCE = 1e-7
"""Chances are taken to be at least this far from 0 and 1, where log-odds end."""
_SLOPES = (0.01, 100.0)
"""Temperature's slopes: a ranker that is wrong about the order is flattened, never turned round."""
_LEAST = 1e-3
"""How much the line rises at least beyond the outermost centre, of what it may: enough to keep the order."""


class CalibrationConfig(BaseConfig):
    """How predictions are calibrated on a validation part."""

    method: Literal["isotonic", "temperature", "none"] = "isotonic"
    """isotonic follows any rising curve; temperature (Platt scaling) a straight line of the log-odds, of
    seconds one factor, from fewer rows; none leaves predictions as they are."""
    fewest: int = Field(default=30, ge=1)
    """Fewest rows that a method needs of each outcome, of seconds those above 0; with fewer only the mean is
    set right, by a constant added to the log-odds or a factor of the seconds, and with none nothing."""


@dataclass(frozen=True, eq=False, slots=True)
class Calibrator:
    """A calibration as it was fitted.

    Isotonic regression gives steps, and within a step the order is lost. So the line goes through the steps'
    centres instead (Oron and Flournoy 2017, centred isotonic regression); beyond all that was seen it goes to
    0 and to 1, of seconds on at the last ratio. One row of the mean outcome is added at either end: no step
    is then at 0 or 1, and one lucky row does not rule an end. Temperature is Platt's (1999) slope and offset
    of log-odds.
    """

    method: Used
    """What was really done; a fallback where the config's method had too few rows."""
    scale: Scale
    xs: Doubles
    """(K,) predictions, strictly rising; isotonic only, else empty."""
    ys: Doubles
    """(K,) what they become, strictly rising."""
    line: Doubles
    """(2,) slope and offset of the log-odds or of the logarithm of seconds; (1, 0) where there is none."""

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
        """The calibrator for predictions (N,), outcomes (N,), 0 or 1 or seconds, and weights (N,) ≥ 0.

        Rows' order is of no consequence. Raises RankError for what is no chance, no time or no weight.
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
                xs, ys = _centres(guess, truth, weights, scale)
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
        """The calibrated predictions (N,) float32, in [0, 1] or ≥ 0 s; each depends on its own alone."""
        guess = predicted.astype(np.float64)
        match self.method:
            case "isotonic":
                found = np.interp(guess, self.xs, self.ys)
                if self.scale == "seconds":
                    found += np.maximum(guess - self.xs[-1], 0) * (self.ys[-1] / self.xs[-1])
            case "none":
                found = guess
            case _ if self.scale == "seconds":
                found = guess * np.exp(self.line[1])
            case _:
                found = expit(self.line[0] * _log_odds(guess) + self.line[1])
        return found.astype(np.float32)

    def arrays(self) -> Arrays:
        """What `restore` needs: numbers, and two names as arrays of text."""
        names = {"method": np.array(self.method), "scale": np.array(self.scale)}
        return {**names, "xs": self.xs, "ys": self.ys, "line": self.line}

    @classmethod
    def restore(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """The calibrator that gave these arrays; raises ModelError where they are not a calibrator's."""
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
    # Seconds that are all above 0 still tell a mean; chances need both outcomes.
    rows = hits if scale == "seconds" else min(hits, len(truth) - hits)
    if not rows or (scale == "seconds" and not guess.any()):
        return "none"
    return "shift" if rows < config.fewest and config.method != "none" else config.method


def _centres(guess: Doubles, truth: Doubles, weights: Doubles, scale: Scale) -> tuple[Doubles, Doubles]:
    # Takes a second to import, which every command would pay.
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
    """Knots outwards from the outermost centre (xs[0], ys[0]): at the last prediction `seen`, at the limit.

    Half of the outermost step's rows lie there. The line goes on as steeply as it comes from the centre
    before, for that step will be like the others, but by no more than half way to 0 or the limit.
    """
    x, y = float(xs[0]), float(ys[0])
    knots: list[tuple[float, float]] = []
    if seen != x:
        slope = (ys[1] - y) / (xs[1] - x) if len(xs) > 1 else 0.0
        room = min(y, abs(limit - y))
        change = np.clip(slope * abs(seen - x), _LEAST * room, room / 2)
        knots.append((seen, y + float(np.copysign(change, seen - x))))
    if seen != limit and np.isfinite(limit):
        knots.append((limit, limit))
    return knots


def _platt(odds: Doubles, truth: Doubles, weights: Doubles) -> Doubles:
    # Here, and below: a service that scores would wait for the import.
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
    return logit(np.clip(chance, _NO_CHANCE, 1 - _NO_CHANCE))


def _checked(
    predicted: Floats, outcome: Floats, weight: Floats | None, scale: Scale
) -> tuple[Doubles, Doubles, Doubles]:
    weights = np.ones(len(predicted)) if weight is None else weight
    given = (("predicted", predicted), ("outcome", outcome), ("weight", weights))
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in given}
    shapes = {name: values.shape for name, values in columns.items()}
    if len(set(shapes.values())) > 1 or columns["predicted"].ndim != 1:
        raise RankError(f"calibration: {shapes}: want one number each for a row")
    chance = scale == "chance"
    for name, values in columns.items():
        good = np.isfinite(values) & (values >= 0) & ((values <= 1) | (not chance or name == "weight"))
        if name == "outcome" and chance:
            good &= (values == 0) | (values == 1)
        bad = np.flatnonzero(~good)
        if len(bad):
            raise RankError(
                f"calibration: {name}: {len(bad):,} of {len(values):,} are no {name} of {scale}, "
                f"such as {values[bad[0]]:g} in row {bad[0]}",
                fix="give chances in [0, 1] with outcomes 0 or 1, or seconds from 0 up; weights from 0 up",
            )
    kept = columns["weight"] > 0
    return columns["predicted"][kept], columns["outcome"][kept], columns["weight"][kept]


def fit_calibrators(
    config: CalibrationConfig, heads: Collection[str], found: RankerPredictions, labels: ImpressionLabels
) -> dict[str, Calibrator]:
    """A calibrator for each head, by raw predictions and what came of them."""
    fit = partial(Calibrator.fit, config)
    made = {"click": fit(found.p_click, labels.click, scale="chance")}
    if "watch" in heads:
        made["watch"] = fit(found.watch_s, labels.watch_s, scale="seconds")
    if "conversion" in heads:
        mature = labels.mature
        made["conversion"] = fit(found.p_conv[mature], labels.conversion[mature], scale="chance")
    return made
