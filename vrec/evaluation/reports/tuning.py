"""Tuning report as a self-contained HTML page: trials, learning curves, importance of settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from vrec.core.tables import StorageFolder
from vrec.evaluation.reports.charts import ChartAxis, trial_history_plot
from vrec.evaluation.reports.rendering import page_environment, template_source
from vrec.evaluation.reports.wording import format_difference, format_metric, format_setting, metric_label

PAGE = "report.html"
_MAX_TICK_CHARACTERS = 44
"""Characters of an axis' choices that fit on a phone; longer ones are numbered."""


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """Settings and outcome of one trial."""

    number: int
    """From 0, the trial with the default settings."""
    settings: Mapping[str, Any]
    """Values of the varied settings, by dotted name."""
    state: Literal["done", "stopped", "failed"]
    score: float | None
    """None for a failed trial."""
    values: Sequence[float]
    """Score after each epoch."""
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class VariedSetting:
    """Varied setting with its search space."""

    key: str
    choices: Sequence[Any] | None = None
    """None for a number between `low` and `high`."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False


@dataclass(frozen=True, slots=True)
class SweepReport:
    """Content of the tuning page."""

    model: str
    data: str
    metric: str
    """Maximized metric."""
    trials: Sequence[TrialSummary]
    """Best first; those without a score last."""
    varied: Sequence[VariedSetting]
    importance: Mapping[str, float]
    """Share of each setting in the variance of scores, largest first; empty with too few trials."""
    best: str
    """Best settings as YAML."""
    command: str
    """Command that accepts them."""


@dataclass(frozen=True, slots=True)
class CoordinateAxis:
    """Axis of the parallel coordinates, with ticks in percent."""

    name: str
    ticks: Sequence[tuple[float, str]]
    legend: str
    """Meaning of numbered choices; empty where ticks are labeled with the choices."""


@dataclass(frozen=True, slots=True)
class TrialLine:
    """Line of one trial through a plot."""

    number: int
    points: str
    """Points of an SVG polyline, 0 to 100 horizontally."""
    strength: float
    """From 0 for the worst score to 1 for the best."""
    tooltip: str


@dataclass(frozen=True, slots=True)
class EpochCurves:
    """Learning curves: scores by epoch."""

    paths: Sequence[TrialLine]
    upward: Sequence[tuple[float, str]]
    epochs: int


def write_sweep_report(report: SweepReport, uri: str) -> None:
    """Write `report.html` into a folder, atomically.

    Raises:
        OutputError: If the folder cannot be written.
    """
    StorageFolder(uri).write(PAGE, render_sweep_report(report).encode())


def render_sweep_report(report: SweepReport) -> str:
    """Return the page's HTML, without scripts or external resources, all text escaped."""
    environment = page_environment()
    environment.filters.update(
        label=metric_label, figure=format_metric, signed=format_difference, setting=format_setting
    )
    names = ("gallery.css", "evaluation.css", "tuning.css")
    scored = [trial for trial in report.trials if trial.score is not None]
    in_order = sorted(report.trials, key=lambda trial: trial.number)
    return environment.get_template("tuning.html.j2").render(
        report=report,
        style=Markup("".join(template_source(environment, name) for name in names)),
        scored=scored,
        default=next((trial for trial in report.trials if trial.number == 0), None),
        counts={
            state: sum(t.state == state for t in report.trials) for state in ("done", "stopped", "failed")
        },
        history=trial_history_plot(
            [math.nan if t.score is None else max(t.score, score_floor(scored)) for t in in_order]
        ),
        cut=any(value < score_floor(scored) for trial in scored for value in trial.values),
        axes=[coordinate_axis(varied) for varied in report.varied] + [_score_axis(scored, report.metric)],
        paths=_paths(scored, report.varied),
        curves=epoch_curves(scored),
        seconds=sum(trial.seconds for trial in report.trials),
    )


def coordinate_axis(varied: VariedSetting) -> CoordinateAxis:
    """Return the axis of a setting, with ticks at its ends or choices."""
    if varied.choices is None:
        return CoordinateAxis(
            varied.key, [(0.0, format_setting(varied.low)), (100.0, format_setting(varied.high))], ""
        )
    labels = [format_setting(choice) for choice in varied.choices]
    legend = ""
    if sum(len(label) + 1 for label in labels) > _MAX_TICK_CHARACTERS:
        legend = ", ".join(f"{n} is {label}" for n, label in enumerate(labels, start=1))
        labels = [str(n) for n in range(1, len(labels) + 1)]
    positions = [_choice_position(n, len(labels)) for n in range(len(labels))]
    return CoordinateAxis(varied.key, list(zip(positions, labels, strict=True)), legend)


def axis_position(varied: VariedSetting, value: Any) -> float | None:
    """Return a value's position on its setting's axis in percent; None if it lies outside."""
    if varied.choices is not None:
        if value not in varied.choices:
            return None
        return _choice_position(varied.choices.index(value), len(varied.choices))
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not varied.low <= value <= varied.high
    ):
        return None
    low, high, at = varied.low, varied.high, float(value)
    if varied.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return round(100 * (at - low) / (high - low), 2) if high > low else 50.0


def epoch_curves(scored: Sequence[TrialSummary]) -> EpochCurves | None:
    """Return the learning curves of trials, given best first; None if all have at most one epoch."""
    last = max((len(trial.values) for trial in scored), default=0)
    if last < 2:
        return None
    floor = score_floor(scored)
    axis = ChartAxis.for_values([max(value, floor) for trial in scored for value in trial.values], zero=False)
    lines = []
    for rank, trial in reversed(list(enumerate(scored))):
        points = [(100 * i / (last - 1), 100 - axis.at(value)) for i, value in enumerate(trial.values)]
        # A line of one point would be invisible.
        points += [(points[0][0] + 0.6, points[0][1])] if len(points) == 1 else []
        tooltip = f"trial {trial.number}: {len(trial.values)} epochs, best {trial.score:.4f}"
        lines.append(TrialLine(trial.number, _polyline(points), _strength(rank, len(scored)), tooltip))
    return EpochCurves(lines, axis.ticks, last)


def score_floor(scored: Sequence[TrialSummary]) -> float:
    """Return the lower limit of plots: three times as far below the best score as the median score is.

    Without it, one very bad trial would leave no room for the differences among good ones.
    """
    scores = sorted((trial.score or 0.0 for trial in scored), reverse=True)
    if len(scores) < 4 or scores[0] == scores[len(scores) // 2]:
        return -math.inf
    return scores[0] - 3 * (scores[0] - scores[len(scores) // 2])


def _paths(scored: Sequence[TrialSummary], varied: Sequence[VariedSetting]) -> list[TrialLine]:
    """Return the lines of the parallel coordinates, the best trial last, so that it lies on top."""
    if not scored:
        return []
    scores = _score_scale(scored)
    lines = []
    for rank, trial in reversed(list(enumerate(scored))):
        positions = [axis_position(one, trial.settings.get(one.key)) for one in varied]
        positions.append(scores.at(trial.score or 0.0))
        points = [(at, float(row)) for row, at in enumerate(positions) if at is not None]
        tooltip = f"trial {trial.number}: {trial.score:.4f}"
        lines.append(TrialLine(trial.number, _polyline(points), _strength(rank, len(scored)), tooltip))
    return lines


def _score_scale(scored: Sequence[TrialSummary]) -> ChartAxis:
    return ChartAxis.for_values(
        [max(trial.score or 0.0, score_floor(scored)) for trial in scored], zero=False, ticks=3
    )


def _score_axis(scored: Sequence[TrialSummary], metric: str) -> CoordinateAxis:
    return CoordinateAxis(metric_label(metric), _score_scale(scored).ticks if scored else [], "")


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _strength(rank: int, count: int) -> float:
    return round(1 - rank / max(1, count - 1), 3)


def _choice_position(number: int, count: int) -> float:
    return round(100 * number / (count - 1), 2) if count > 1 else 50.0
