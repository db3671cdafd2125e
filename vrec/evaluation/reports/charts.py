"""Where the marks of a report's plots go, in percent of the plot, so that a plot takes any width."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vrec.evaluation.offline.results import MetricDifference, MetricEstimate
from vrec.evaluation.reports.wording import format_difference


@dataclass(frozen=True, slots=True)
class ChartAxis:
    """A scale with round ticks from its low end to its high one."""

    low: float
    high: float
    step: float

    @classmethod
    def for_values(cls, values: Sequence[float], *, zero: bool = True, ticks: int = 4) -> "ChartAxis":
        """The axis that holds all finite values, and 0 when `zero`, with about `ticks` steps."""
        known = [v for v in values if math.isfinite(v)] + ([0.0] if zero else [])
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if high - low < 1e-12:
            high = low + (abs(low) or 1.0)
        rough = (high - low) / ticks
        power = 10 ** math.floor(math.log10(rough))
        step = next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999) * power
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)

    def at(self, value: float) -> float:
        """Where a value lies, in percent from the low end; ends beyond the scale are cut to it."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Each tick's place in percent, and its figure."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        # A step of 2.5 needs a digit more than its power of ten.
        digits += abs(self.step * 10**digits - round(self.step * 10**digits)) > 1e-6
        count = round((self.high - self.low) / self.step)
        values = [round(self.low + i * self.step, 12) + 0.0 for i in range(count + 1)]
        return [(self.at(v), f"{v:,.{digits}f}".replace("-", "−")) for v in values]


@dataclass(frozen=True, slots=True)
class ForestLane:
    """One model's mark and whisker."""

    model: str
    middle: float
    low: float
    high: float
    text: str
    """The figure beside it."""
    tooltip: str
    """The figure and its interval, for who cannot see the plot."""
    faint: bool = False
    """Whether an interval of a difference holds 0."""


@dataclass(frozen=True, slots=True)
class ForestPlot:
    """A lane a model over one axis."""

    lanes: Sequence[ForestLane]
    ticks: Sequence[tuple[float, str]]
    mark: float
    """Where a line stands to compare with: no difference, or what "popular" reaches."""


def forest_plot(estimates: Mapping[str, MetricEstimate], against: str, ticks: int = 4) -> ForestPlot:
    """Means with their intervals, a lane a model in the order given; the line is the mean of `against`."""
    ends = [v for e in estimates.values() for v in (e.mean, e.low, e.high) if v is not None]
    axis = ChartAxis.for_values(ends, ticks=ticks)
    lanes = [
        ForestLane(
            model=model,
            middle=axis.at(e.mean),
            low=axis.at(e.mean if e.low is None else e.low),
            high=axis.at(e.mean if e.high is None else e.high),
            text=f"{e.mean:.4f}",
            tooltip=f"{e.mean:.4f}, interval {e.low or 0:.4f} to {e.high or 0:.4f}",
        )
        for model, e in estimates.items()
    ]
    return ForestPlot(lanes, axis.ticks, axis.at(estimates[against].mean))


def difference_forest_plot(differences: Mapping[str, MetricDifference]) -> ForestPlot:
    """Differences with their intervals, a lane a model in the order given; the line is no difference."""
    axis = ChartAxis.for_values([v for d in differences.values() for v in (d.mean, d.low, d.high)])
    lanes = [
        ForestLane(
            model=model,
            middle=axis.at(d.mean),
            low=axis.at(d.low),
            high=axis.at(d.high),
            text=format_difference(d.mean),
            tooltip=f"{format_difference(d.mean)}, interval {format_difference(d.low)} to "
            f"{format_difference(d.high)}",
            faint=not d.is_significant,
        )
        for model, d in differences.items()
    ]
    return ForestPlot(lanes, axis.ticks, axis.at(0))


@dataclass(frozen=True, slots=True)
class ScatterDot:
    """One model's place in a scatter plot; `up` counts from the bottom, as all percents of y do here."""

    model: str
    right: float
    up: float
    up_low: float
    up_high: float
    tooltip: str


@dataclass(frozen=True, slots=True)
class ScatterPlot:
    """Two figures of each model against each other."""

    dots: Sequence[ScatterDot]
    across: Sequence[tuple[float, str]]
    upward: Sequence[tuple[float, str]]


def scatter_plot(
    across: Mapping[str, MetricEstimate], upward: Mapping[str, MetricEstimate], times: float = 1.0
) -> ScatterPlot:
    """The models that have both figures, finite, those across multiplied; whiskers for the upward one."""
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
        told = f"{model}: {right:.4g} across, {e.mean:.4f} up"
        dots.append(ScatterDot(model, x.at(right), y.at(e.mean), y.at(low), y.at(high), told))
    return ScatterPlot(dots, x.ticks, y.ticks)


@dataclass(frozen=True, slots=True)
class TrialHistoryPlot:
    """A tuning run: a point a trial, and the steps of the best so far."""

    trials: Sequence[tuple[float, float]]
    """(right, up) of each trial that gave a figure."""
    steps: Sequence[tuple[float, float, float, float]]
    """(right, up, right, up) of each piece of the line."""
    upward: Sequence[tuple[float, str]]
    count: int


def trial_history_plot(values: Sequence[float]) -> TrialHistoryPlot:
    """The trials in their order, a figure each; one that is not finite failed and has no point."""
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
