"""A sweep over settings as one HTML page that needs nothing else: what was tried, and what helped."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from vrec.core.tables import StorageFolder
from vrec.evaluation.reports.charts import ChartAxis, trial_history_plot
from vrec.evaluation.reports.rendering import page_environment, template_source
from vrec.evaluation.reports.wording import format_difference, format_metric, metric_label

PAGE = "report.html"
_LONGEST = 44
"""Characters of an axis' choices that a phone has room for; longer ones are numbered."""


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """One trial, as the page shows it."""

    number: int
    """From 0, which is the default: the settings as given."""
    settings: Mapping[str, Any]
    """The value of every setting that was varied, by dotted name."""
    state: Literal["done", "stopped", "failed"]
    score: float | None
    values: Sequence[float]
    """The figure after each epoch."""
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class VariedSetting:
    """A setting that was varied, and between what."""

    key: str
    choices: Sequence[Any] | None = None
    """None where it is a number between two ends."""
    low: float = 0.0
    high: float = 0.0
    log: bool = False


@dataclass(frozen=True, slots=True)
class SweepReport:
    """All that the page says."""

    model: str
    data: str
    metric: str
    """What was made as high as it goes."""
    trials: Sequence[TrialSummary]
    """Best first; those without a score last."""
    varied: Sequence[VariedSetting]
    importance: Mapping[str, float]
    """The share of each setting in what made scores differ, the largest first; empty where too few were
    tried."""
    best: str
    """The best settings as YAML."""
    command: str
    """The command that takes them."""


@dataclass(frozen=True, slots=True)
class CoordinateAxis:
    """One axis of the parallel coordinates, its ticks in percent."""

    name: str
    ticks: Sequence[tuple[float, str]]
    legend: str
    """What numbered choices stand for; empty where the ticks say it."""


@dataclass(frozen=True, slots=True)
class TrialLine:
    """One trial's line through a plot."""

    number: int
    points: str
    """As an SVG polyline has it, 0 to 100 across."""
    strength: float
    """From 0 for the worst score to 1 for the best."""
    tooltip: str


@dataclass(frozen=True, slots=True)
class EpochCurves:
    """Figures by epoch."""

    paths: Sequence[TrialLine]
    upward: Sequence[tuple[float, str]]
    epochs: int


def write_sweep_report(report: SweepReport, uri: str) -> None:
    """Writes `report.html` into a folder, whole or not at all; raises OutputError."""
    StorageFolder(uri).write(PAGE, render_sweep_report(report).encode())


def render_sweep_report(report: SweepReport) -> str:
    """The page's HTML: no script, nothing loaded, all text escaped."""
    environment = page_environment()
    environment.filters.update(
        label=metric_label, figure=format_metric, signed=format_difference, plainly=format_setting
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


def format_setting(value: Any) -> str:
    """A setting's value as YAML would have it, numbers to four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def coordinate_axis(varied: VariedSetting) -> CoordinateAxis:
    """The axis of a setting: its ends, or each of its choices."""
    if varied.choices is None:
        return CoordinateAxis(
            varied.key, [(0.0, format_setting(varied.low)), (100.0, format_setting(varied.high))], ""
        )
    words = [format_setting(choice) for choice in varied.choices]
    legend = ""
    if sum(len(word) + 1 for word in words) > _LONGEST:
        legend = ", ".join(f"{n} is {word}" for n, word in enumerate(words, start=1))
        words = [str(n) for n in range(1, len(words) + 1)]
    places = [_share(n, len(words)) for n in range(len(words))]
    return CoordinateAxis(varied.key, list(zip(places, words, strict=True)), legend)


def axis_position(varied: VariedSetting, value: Any) -> float | None:
    """Where a value lies on its setting's axis, in percent; None where it lies outside."""
    if varied.choices is not None:
        return _share(varied.choices.index(value), len(varied.choices)) if value in varied.choices else None
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
    """Figures by epoch of trials that are best first; None where no trial has more than one."""
    last = max((len(trial.values) for trial in scored), default=0)
    if last < 2:
        return None
    least = score_floor(scored)
    axis = ChartAxis.for_values([max(value, least) for trial in scored for value in trial.values], zero=False)
    found = []
    for rank, trial in reversed(list(enumerate(scored))):
        points = [(100 * i / (last - 1), 100 - axis.at(value)) for i, value in enumerate(trial.values)]
        # A line of one point would not be seen.
        points += [(points[0][0] + 0.6, points[0][1])] if len(points) == 1 else []
        told = f"trial {trial.number}: {len(trial.values)} epochs, best {trial.score:.4f}"
        found.append(TrialLine(trial.number, _polyline(points), _strength(rank, len(scored)), told))
    return EpochCurves(found, axis.ticks, last)


def score_floor(scored: Sequence[TrialSummary]) -> float:
    """The least figure that plots reach down to: three times as far from the best as the middle score is.

    One trial that went wrong would else leave no room for the differences among good ones.
    """
    scores = sorted((trial.score or 0.0 for trial in scored), reverse=True)
    if len(scores) < 4 or scores[0] == scores[len(scores) // 2]:
        return -math.inf
    return scores[0] - 3 * (scores[0] - scores[len(scores) // 2])


def _paths(scored: Sequence[TrialSummary], varied: Sequence[VariedSetting]) -> list[TrialLine]:
    """The best trial last, so that it lies on top."""
    if not scored:
        return []
    scores = _score_scale(scored)
    found = []
    for rank, trial in reversed(list(enumerate(scored))):
        places = [axis_position(one, trial.settings.get(one.key)) for one in varied] + [
            scores.at(trial.score or 0.0)
        ]
        points = [(at, float(row)) for row, at in enumerate(places) if at is not None]
        told = f"trial {trial.number}: {trial.score:.4f}"
        found.append(TrialLine(trial.number, _polyline(points), _strength(rank, len(scored)), told))
    return found


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


def _share(number: int, count: int) -> float:
    return round(100 * number / (count - 1), 2) if count > 1 else 50.0
