"""An evaluation as one HTML page that needs nothing else, and as JSON for machines."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from vrec.core.tables import StorageFolder
from vrec.evaluation.offline.results import OfflineEvaluation, to_plain_json
from vrec.evaluation.offline.run import POPULAR_MODEL
from vrec.evaluation.offline.sampled import SampledEvaluation
from vrec.evaluation.reports.charts import (
    ScatterPlot,
    difference_forest_plot,
    forest_plot,
    scatter_plot,
    trial_history_plot,
)
from vrec.evaluation.reports.rendering import page_environment, template_source
from vrec.evaluation.reports.wording import DEFINITIONS, format_difference, format_metric, metric_label

PAGE = "report.html"
METRICS = "metrics.json"
METRICS_FORMAT = 1
"""Raised when a key of metrics.json changes its meaning or goes away."""

_HUES = 10
_MARKS = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """The data that models were fitted and tested on, before anything was tested."""

    name: str
    """As people call it, such as "MovieLens-100k"."""
    users: int
    videos: int
    interactions: int
    split: str
    """In words, such as "by time, the last 20 %"."""
    cut: str | None
    """The first moment of the test, where there is one."""
    repeats: int
    """Test interactions removed because the user has the same video in train."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else a reader should know, such as which events count as interest."""


@dataclass(frozen=True, slots=True)
class ModelNotes:
    """How one model came about."""

    settings: Mapping[str, Any]
    """As plain JSON values."""
    chosen: str
    """How the settings were chosen, such as "defaults" or "tuned on validation, 30 trials"."""
    fit_s: float | None
    """Seconds to fit; for several seeds, of one."""
    users_per_s: float | None
    """Users scored a second."""
    history: Sequence[float] = ()
    """The validation figure of each tuning trial in order; NaN for one that failed."""
    history_metric: str = "ndcg@10"


@dataclass(frozen=True, slots=True)
class ExampleShopper:
    """One test user as the page shows them: ids of videos, what came first or ranks highest first."""

    user_id: str
    watched: Sequence[str]
    """In train, the latest first."""
    went_on: Sequence[str]
    """In test: what the models were to foretell."""
    suggested: Mapping[str, Sequence[str]]
    """Model → what it recommends."""


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """All that the page says."""

    data: DatasetSummary
    evaluation: OfflineEvaluation
    models: Mapping[str, ModelNotes]
    """Notes of some or all of the evaluated models."""
    sampled: SampledEvaluation | None = None
    shoppers: Sequence[ExampleShopper] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    """Titles by video_id; a video without one goes by its id."""
    posters: Mapping[str, bytes] = field(default_factory=dict)
    """JPEGs by video_id; only those that shoppers need take room in the page."""


def write_comparison(report: ComparisonReport, uri: str) -> None:
    """Writes `report.html` and `metrics.json` into a folder, each whole or not at all.

    Raises OutputError where the folder cannot be written.
    """
    folder = StorageFolder(uri)
    folder.write_json(METRICS, metrics_json(report))
    folder.write(PAGE, render_comparison(report).encode())


def metrics_json(report: ComparisonReport) -> dict[str, Any]:
    """Everything that the page says, but for posters and titles, as plain JSON values."""
    return {
        "format": METRICS_FORMAT,
        "data": to_plain_json(report.data),
        "definitions": dict(DEFINITIONS),
        "evaluation": report.evaluation.to_json(),
        "models": to_plain_json(report.models),
        "sampled": None if report.sampled is None else report.sampled.to_json(),
        "shoppers": to_plain_json(report.shoppers),
    }


def render_comparison(report: ComparisonReport) -> str:
    """The page's HTML: no script, nothing loaded, all text escaped."""
    environment = page_environment()
    environment.filters.update(label=metric_label, figure=format_metric, signed=format_difference)
    evaluation, key = report.evaluation, report.evaluation.config.headline
    style = "".join(template_source(environment, name) for name in ("gallery.css", "evaluation.css"))
    pictures = _pictures(report)
    return environment.get_template("evaluation.html.j2").render(
        report=report,
        evaluation=evaluation,
        overall=evaluation.overall,
        key=key,
        k=evaluation.config.headline_k,
        title=_title(report),
        style=Markup(style + "".join(_picture_rule(n, report.posters[v]) for v, n in pictures.items())),
        pictures=pictures,
        hues={model: _hue(i, model) for i, model in enumerate(evaluation.models)},
        marks={model: _MARKS[i % len(_MARKS)] for i, model in enumerate(evaluation.models)},
        popular=POPULAR_MODEL,
        definitions=DEFINITIONS,
        plots=_plots(evaluation, key),
        scatters=_scatters(evaluation, key),
        histories={m: trial_history_plot(n.history) for m, n in report.models.items() if len(n.history) > 1},
    )


def _title(report: ComparisonReport) -> str:
    evaluation, where = report.evaluation, f"on {report.data.name}"
    leader = evaluation.overall.leaders[evaluation.config.headline]
    level = leader.level_with
    if leader.runner_up is None:
        return f"{leader.model} {where}"
    if level:
        with_it = level[0] if len(level) == 1 else f"{len(level)} others"
        return f"{leader.model} and {with_it} are level at the top {where}"
    if leader.model == POPULAR_MODEL:
        return f"No model beats {POPULAR_MODEL} {where}"
    others = len(evaluation.models) - 1
    return f"{leader.model} is ahead of {leader.runner_up if others == 1 else f'{others} others'} {where}"


def _hue(place: int, model: str) -> int:
    # Grey is kept for the one that all others are measured by.
    return _HUES if model == POPULAR_MODEL else place % _HUES


def _plots(evaluation: OfflineEvaluation, key: str) -> dict[str, Any]:
    overall, best = evaluation.overall, evaluation.best_single
    found: dict[str, Any] = {
        "overall": forest_plot({m: overall.metrics[m][key] for m in evaluation.models}, POPULAR_MODEL)
    }
    for one, differences in ((POPULAR_MODEL, overall.against_popular), (best, overall.against_best)):
        if differences:
            found[f"against {one}"] = difference_forest_plot({m: d[key] for m, d in differences.items()})
    found["slices"] = [
        forest_plot({m: part.metrics[m][key] for m in evaluation.models}, POPULAR_MODEL, ticks=2)
        if part.users
        else None
        for part in evaluation.slices
    ]
    return found


def _scatters(evaluation: OfflineEvaluation, key: str) -> dict[str, ScatterPlot]:
    upward = {m: evaluation.overall.metrics[m][key] for m in evaluation.models}
    found: dict[str, ScatterPlot] = {}
    for name in ("coverage", "diversity", "novelty"):
        at = f"{name}@{evaluation.config.headline_k}"
        across = {m: figures[at] for m, figures in evaluation.beyond.items() if at in figures}
        if across and len(found) < 2:
            found[at] = scatter_plot(across, upward, 100.0 if name == "coverage" else 1.0)
    return found


def _pictures(report: ComparisonReport) -> dict[str, int]:
    """A number for each poster that the page shows, by video_id: each is in the page once."""
    shown: dict[str, None] = {}
    for shopper in report.shoppers:
        for row in (shopper.watched, shopper.went_on, *shopper.suggested.values()):
            shown.update(dict.fromkeys(row))
    return {video: number for number, video in enumerate(v for v in shown if v in report.posters)}


def _picture_rule(number: int, jpeg: bytes) -> str:
    data = base64.b64encode(jpeg).decode()
    return f".strip .p{number}{{background-image:url(data:image/jpeg;base64,{data})}}\n"
