"""Geometry of the reports' plots, in percent of the plot, so that plots scale to any width."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from vrec.evaluation.offline.results import MetricDifference, MetricEstimate
from vrec.evaluation.reports.wording import format_difference, format_interval


@dataclass(frozen=True, slots=True)
class ChartAxis:
    """Scale with round ticks from its low to its high end."""

    low: float
    high: float
    step: float

    @classmethod
    def for_values(cls, values: Sequence[float], *, zero: bool = True, ticks: int = 4) -> "ChartAxis":
        """Return an axis that contains all finite values, and 0 if `zero`, with about `ticks` steps."""
        known = [v for v in values if math.isfinite(v)] + ([0.0] if zero else [])
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if high - low < 1e-12:
            high = low + (abs(low) or 1.0)
        rough = (high - low) / ticks
        power = 10 ** math.floor(math.log10(rough))
        step = next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999) * power
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)

    def at(self, value: float) -> float:
        """Return a value's position in percent from the low end, clipped to the scale."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Position of each tick in percent, and its label."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        # A step of 2.5 needs a digit more than its power of ten.
        digits += abs(self.step * 10**digits - round(self.step * 10**digits)) > 1e-6
        count = round((self.high - self.low) / self.step)
        values = [round(self.low + i * self.step, 12) + 0.0 for i in range(count + 1)]
        return [(self.at(v), f"{v:,.{digits}f}".replace("-", "−")) for v in values]


@dataclass(frozen=True, slots=True)
class ForestLane:
    """Mark and whisker of one model, at positions in percent."""

    model: str
    middle: float
    low: float
    high: float
    text: str
    """Value beside the lane."""
    tooltip: str
    """Value and interval, also the text alternative of the lane."""
    faint: bool = False
    """True if the interval of a difference contains 0, or there is none."""


@dataclass(frozen=True, slots=True)
class ForestPlot:
    """Forest plot: a lane per model over one axis."""

    lanes: Sequence[ForestLane]
    ticks: Sequence[tuple[float, str]]
    mark: float
    """Position of the reference line: no difference, or the mean of the baseline."""


def forest_plot(estimates: Mapping[str, MetricEstimate], against: str, ticks: int = 4) -> ForestPlot:
    """Plot means with intervals, a lane per model in the given order; the line is the mean of `against`."""
    axis = _interval_axis(estimates, ticks)
    lanes = [_lane(model, estimate, axis, "{:.4f}".format) for model, estimate in estimates.items()]
    return ForestPlot(lanes, axis.ticks, axis.at(estimates[against].mean))


def difference_forest_plot(differences: Mapping[str, MetricDifference]) -> ForestPlot:
    """Plot differences with intervals, a lane per model in the given order; the line is at 0."""
    axis = _interval_axis(differences)
    lanes = [
        replace(_lane(model, difference, axis, format_difference), faint=not difference.is_significant)
        for model, difference in differences.items()
    ]
    return ForestPlot(lanes, axis.ticks, axis.at(0))


def _interval_axis(intervals: Mapping[str, MetricEstimate | MetricDifference], ticks: int = 4) -> ChartAxis:
    """Return an axis with room for all means and intervals."""
    ends = [v for i in intervals.values() for v in (i.mean, i.low, i.high) if v is not None]
    return ChartAxis.for_values(ends, ticks=ticks)


def _lane(
    model: str,
    interval: MetricEstimate | MetricDifference,
    axis: ChartAxis,
    format_value: Callable[[float], str],
) -> ForestLane:
    mean, low, high = interval.mean, interval.low, interval.high
    return ForestLane(
        model=model,
        middle=axis.at(mean),
        low=axis.at(mean if low is None else low),
        high=axis.at(mean if high is None else high),
        text=format_value(mean),
        tooltip=f"{format_value(mean)}, {format_interval(low, high, interval.outcomes, format_value)}",
    )


@dataclass(frozen=True, slots=True)
class ScatterDot:
    """Position of one model in a scatter plot, in percent from the left and from the bottom."""

    model: str
    right: float
    up: float
    up_low: float
    up_high: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class ScatterPlot:
    """Scatter plot of two metrics, a dot per model."""

    dots: Sequence[ScatterDot]
    across: Sequence[tuple[float, str]]
    upward: Sequence[tuple[float, str]]


def scatter_plot(
    across: Mapping[str, MetricEstimate], upward: Mapping[str, MetricEstimate], times: float = 1.0
) -> ScatterPlot:
    """Plot two metrics of the models that have finite values of both.

    Args:
        across: Estimates on the horizontal axis, by model.
        upward: Estimates on the vertical axis, by model; their intervals become whiskers.
        times: Factor of the horizontal values, such as 100 for percent.
    """
    both = [
        m for m in upward if m in across and math.isfinite(across[m].mean) and math.isfinite(upward[m].mean)
    ]
    ends = [v for m in both for v in (upward[m].mean, upward[m].low, upward[m].high) if v is not None]
    x, y = (
        ChartAxis.for_values([across[m].mean * times for m in both], zero=False),
        ChartAxis.for_values(ends),
    )
    dots: list[ScatterDot] = []
    for model in both:
        e, right = upward[model], across[model].mean * times
        low, high = (e.mean if end is None else end for end in (e.low, e.high))
        tooltip = f"{model}: {right:.4g} horizontally, {e.mean:.4f} vertically"
        dots.append(ScatterDot(model, x.at(right), y.at(e.mean), y.at(low), y.at(high), tooltip))
    return ScatterPlot(dots, x.ticks, y.ticks)


@dataclass(frozen=True, slots=True)
class TrialHistoryPlot:
    """Optimization history: a point per trial, and the best score so far as a step line."""

    trials: Sequence[tuple[float, float]]
    """(right, up) of each trial with a score."""
    steps: Sequence[tuple[float, float, float, float]]
    """(right, up, right, up) of each segment of the line."""
    upward: Sequence[tuple[float, str]]
    count: int


def trial_history_plot(values: Sequence[float]) -> TrialHistoryPlot:
    """Plot the scores of trials in their order; a score that is not finite (a failed trial) has no point."""
    known = [(i, v) for i, v in enumerate(values) if math.isfinite(v)]
    axis = ChartAxis.for_values([v for _, v in known], zero=False, ticks=2)
    last = max(1, len(values) - 1)
    points = [(round(100 * i / last, 2), axis.at(v)) for i, v in known]
    steps: list[tuple[float, float, float, float]] = []
    since, best = points[0] if points else (0.0, 0.0)
    for right, up in points:
        if up > best:
            steps += [(since, best, right, best), (right, best, right, up)]
            since, best = right, up
    if points:
        steps.append((since, best, 100.0, best))
    return TrialHistoryPlot(points, steps, axis.ticks, len(values))
