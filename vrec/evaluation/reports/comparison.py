"""Evaluation report as a self-contained HTML page, and as JSON."""

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
    ForestPlot,
    ScatterPlot,
    difference_forest_plot,
    forest_plot,
    scatter_plot,
    trial_history_plot,
)
from vrec.evaluation.reports.rendering import HUES, MARKS, page_environment, template_source
from vrec.evaluation.reports.wording import (
    DEFINITIONS,
    format_difference,
    format_metric,
    format_setting,
    format_too_few,
    metric_label,
)

PAGE = "report.html"
METRICS = "metrics.json"
METRICS_FORMAT = 1
"""Version of metrics.json; increased when a key changes its meaning or is removed."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """Data that models were fitted and tested on."""

    name: str
    """Display name, such as "MovieLens-100k"."""
    users: int
    videos: int
    interactions: int
    split: str
    """Description, such as "by time, the last 20 %"."""
    cut: str | None
    """Start of the test period; None where the split is not by time."""
    repeats: int
    """Test interactions removed because the user has the same video in train."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Further notes by heading, such as the events that count as interest."""


@dataclass(frozen=True, slots=True)
class ModelNotes:
    """Settings, tuning and speed of one model."""

    settings: Mapping[str, Any]
    """As plain JSON values."""
    chosen: str
    """Origin of the settings, such as "defaults" or "tuned on validation, 30 trials"."""
    fit_s: float | None
    """Seconds to fit one seed."""
    users_per_s: float | None
    """Users scored per second."""
    history: Sequence[float] = ()
    """Validation score of each tuning trial in order; NaN for a failed one."""
    history_metric: str = "ndcg@10"


@dataclass(frozen=True, slots=True)
class ExampleShopper:
    """Example test user with the video ids of their history, held-out videos and recommendations."""

    user_id: str
    watched: Sequence[str]
    """In train, latest first."""
    went_on: Sequence[str]
    """In test: the held-out videos."""
    suggested: Mapping[str, Sequence[str]]
    """Model → recommended videos, best first."""


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """Content of the evaluation page."""

    data: DatasetSummary
    evaluation: OfflineEvaluation
    models: Mapping[str, ModelNotes]
    """Notes on some or all of the evaluated models."""
    sampled: SampledEvaluation | None = None
    shoppers: Sequence[ExampleShopper] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    """Titles by video_id; a video without one is shown by its id."""
    posters: Mapping[str, bytes] = field(default_factory=dict)
    """JPEGs by video_id; only those of the example shoppers are put into the page."""


@dataclass(frozen=True, slots=True)
class _AccuracyPlots:
    """Forest plots of the headline metric."""

    overall: ForestPlot
    against: Mapping[str, ForestPlot]
    """Differences by the model compared with."""
    slices: Sequence[ForestPlot | None]
    """In the order of the evaluation's slices; None for an empty one."""


def write_comparison(report: ComparisonReport, uri: str) -> None:
    """Write `report.html` and `metrics.json` into a folder, each atomically.

    Raises:
        OutputError: If the folder cannot be written.
    """
    folder = StorageFolder(uri)
    folder.write_json(METRICS, metrics_json(report))
    folder.write(PAGE, render_comparison(report).encode())


def metrics_json(report: ComparisonReport) -> dict[str, Any]:
    """Return the content of the page, except posters and titles, as plain JSON values."""
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
    """Return the page's HTML, without scripts or external resources, all text escaped."""
    environment = page_environment()
    environment.filters.update(
        label=metric_label,
        figure=format_metric,
        signed=format_difference,
        setting=format_setting,
        too_few=format_too_few,
    )
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
        marks={model: MARKS[i % len(MARKS)] for i, model in enumerate(evaluation.models)},
        popular=POPULAR_MODEL,
        definitions=DEFINITIONS,
        plots=_plots(evaluation, key),
        scatters=_scatters(evaluation, key),
        histories={m: trial_history_plot(n.history) for m, n in report.models.items() if len(n.history) > 1},
    )


def _title(report: ComparisonReport) -> str:
    evaluation, data = report.evaluation, report.data.name
    leader = evaluation.overall.leaders[evaluation.config.headline]
    tied = leader.level_with
    if leader.runner_up is None:
        return f"{leader.model} on {data}"
    if tied:
        others = tied[0] if len(tied) == 1 else f"{len(tied)} other models"
        return f"{leader.model} and {others} are tied for the best on {data}"
    if leader.model == POPULAR_MODEL:
        return f"No model beats {POPULAR_MODEL} on {data}"
    others = leader.runner_up if len(evaluation.models) == 2 else f"{len(evaluation.models) - 1} other models"
    return f"{leader.model} beats {others} on {data}"


def _hue(number: int, model: str) -> int:
    # Gray is reserved for the baseline.
    return HUES if model == POPULAR_MODEL else number % HUES


def _plots(evaluation: OfflineEvaluation, key: str) -> _AccuracyPlots:
    overall, best = evaluation.overall, evaluation.best_single
    compared = ((POPULAR_MODEL, overall.against_popular), (best, overall.against_best))
    return _AccuracyPlots(
        overall=forest_plot({m: overall.metrics[m][key] for m in evaluation.models}, POPULAR_MODEL),
        against={
            base: difference_forest_plot({m: d[key] for m, d in differences.items()})
            for base, differences in compared
            if differences
        },
        slices=[
            forest_plot({m: part.metrics[m][key] for m in evaluation.models}, POPULAR_MODEL, ticks=2)
            if part.users
            else None
            for part in evaluation.slices
        ],
    )


def _scatters(evaluation: OfflineEvaluation, key: str) -> dict[str, ScatterPlot]:
    upward = {m: evaluation.overall.metrics[m][key] for m in evaluation.models}
    plots: dict[str, ScatterPlot] = {}
    for name in ("coverage", "diversity", "novelty"):
        at = f"{name}@{evaluation.config.headline_k}"
        across = {m: values[at] for m, values in evaluation.beyond.items() if at in values}
        if across and len(plots) < 2:
            plots[at] = scatter_plot(across, upward, 100.0 if name == "coverage" else 1.0)
    return plots


def _pictures(report: ComparisonReport) -> dict[str, int]:
    """Return a number for each poster on the page, by video_id; each is embedded once."""
    shown: dict[str, None] = {}
    for shopper in report.shoppers:
        for row in (shopper.watched, shopper.went_on, *shopper.suggested.values()):
            shown.update(dict.fromkeys(row))
    return {video: number for number, video in enumerate(v for v in shown if v in report.posters)}


def _picture_rule(number: int, jpeg: bytes) -> str:
    data = base64.b64encode(jpeg).decode()
    return f".strip .p{number}{{background-image:url(data:image/jpeg;base64,{data})}}\n"
