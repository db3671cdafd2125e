"""Outcome of a comparison, and the report that is made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.evaluate import EvaluateConfig
from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.results import OfflineEvaluation
from vrec.evaluation.offline.sampled import SampledEvaluation
from vrec.evaluation.reports.comparison import ComparisonReport, DatasetSummary, ExampleShopper, ModelNotes
from vrec.events.split import InteractionSplit
from vrec.pipelines.evaluate.grid_search import GridTrial
from vrec.pipelines.inputs import InputData
from vrec.retrieval.config import RetrievalConfig


@dataclass(frozen=True, slots=True)
class ModelRun:
    """Recommendations of one model in a comparison."""

    lists: Sequence[pa.Table]
    """RECOMMENDATIONS of the test users, one table per seed."""
    fit_s: float
    """Seconds of a fit, the mean over the seeds."""
    recommend_s: float
    """Seconds to recommend to all test users, summed over shards, the mean over the seeds."""


@dataclass(frozen=True, slots=True)
class ComparisonOutcome:
    """Outcome of a comparison."""

    inputs: InputData
    split: InteractionSplit
    train: pa.Table
    """INTERACTIONS that the models were fitted on: aggregated, decayed as of the cutoff."""
    config: RetrievalConfig
    """The chosen settings."""
    trials: Sequence[GridTrial]
    runs: Mapping[str, ModelRun]
    evaluation: OfflineEvaluation
    sampled: SampledEvaluation | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a model that was to be compared could not be fitted."""


def build_report(
    outcome: ComparisonOutcome,
    config: EvaluateConfig,
    *,
    name: str | None = None,
    posters: Mapping[str, bytes] | None = None,
) -> ComparisonReport:
    """Build the report of an outcome, with `evaluate.shoppers` of its test users as examples."""
    content = outcome.inputs.content
    return ComparisonReport(
        data=_dataset_summary(outcome, config, name or outcome.inputs.name),
        evaluation=outcome.evaluation,
        models={model: _model_notes(outcome, model, config) for model in outcome.runs},
        sampled=outcome.sampled,
        shoppers=_example_shoppers(outcome, config),
        titles=_titles(content),
        posters=posters or {},
    )


def _dataset_summary(outcome: ComparisonOutcome, config: EvaluateConfig, name: str) -> DatasetSummary:
    split = config.split
    given = (outcome.inputs.interactions, outcome.inputs.validation, outcome.inputs.test)
    rows = pa.concat_tables([part for part in given if part is not None])
    notes = {"strangers": "users who are not in train get the popular videos from every model"}
    match split.kind:
        case "time":
            description = "by time, at " + (
                "a given moment" if split.test_from else f"the last {split.test_share:.0%}"
            )
        case "last":
            description = f"each user's last {split.last_n}" if split.last_n > 1 else "each user's last video"
        case "given":
            description = "as published, in files"
        case "random":
            description = (
                f"a random {split.test_share:.0%} of each user's videos (only to compare with papers)"
            )
    if split.kind == "last":
        notes["leak"] = "such a split lets the fit see what others did after the moment that is tested"
    if config.most_users is not None:
        notes["test users"] = f"drawn at random where there are more than {config.most_users:,}"
    if outcome.inputs.duplicates:
        notes["duplicates"] = f"{outcome.inputs.duplicates:,} events were there twice and count once"
    if outcome.inputs.consent is not None:
        notes["consent"] = str(outcome.inputs.consent)
    for model, why in outcome.left_out.items():
        notes[f"{model} left out"] = why
    cut = outcome.split.cutoff
    return DatasetSummary(
        name=name,
        users=len(rows.column("user_id").unique()),
        videos=len(rows.column("video_id").unique()),
        interactions=rows.num_rows,
        split=description,
        cut=cut.isoformat() if cut else None,
        repeats=outcome.split.dropped_repeats,
        notes=notes,
    )


def _model_notes(outcome: ComparisonOutcome, model: str, config: EvaluateConfig) -> ModelNotes:
    run, trials = outcome.runs[model], [trial for trial in outcome.trials if trial.model == model]
    users = len(outcome.split.test.column("user_id").unique())
    settings: dict[str, Any] = getattr(outcome.config, model).model_dump(mode="json", exclude={"models"})
    return ModelNotes(
        settings=settings,
        chosen=f"the best of {len(trials)} on the validation part" if trials else "defaults, or as given",
        fit_s=run.fit_s,
        users_per_s=users / max(run.recommend_s, 1e-9),
        history=[trial.score for trial in trials],
        history_metric=config.metrics.headline,
    )


def _example_shoppers(outcome: ComparisonOutcome, config: EvaluateConfig) -> list[ExampleShopper]:
    train, test = outcome.train.sort_by([("at", "descending"), ("video_id", "ascending")]), outcome.split.test
    both = sorted(set(train.column("user_id").to_pylist()) & set(test.column("user_id").to_pylist()))
    drawn = np.random.default_rng(config.metrics.seed).permutation(len(both))[: config.shoppers]
    best = outcome.evaluation.models[0]
    shown = dict.fromkeys([best, *(model for model in ("hybrid", "popular") if model in outcome.runs)])
    examples = []
    for user in (both[i] for i in sorted(drawn)):
        lists = {model: _ids_of_user(outcome.runs[model].lists[0], user, by="rank") for model in shown}
        examples.append(
            ExampleShopper(
                user_id=user,
                watched=_ids_of_user(train, user)[: config.shopper_videos],
                went_on=_ids_of_user(test, user)[: config.shopper_videos],
                suggested={model: videos[: config.shopper_videos] for model, videos in lists.items()},
            )
        )
    return examples


def _ids_of_user(table: pa.Table, user: str, by: str | None = None) -> list[str]:
    rows = table.filter(pc.equal(table.column("user_id"), user))
    return (rows.sort_by(by) if by else rows).column("video_id").to_pylist()


def _titles(content: CatalogContent | None) -> dict[str, str]:
    if content is None or content.videos is None:
        return {}
    rows = content.videos.select(["video_id", "title"]).to_pylist()
    return {row["video_id"]: row["title"] for row in rows if row["title"]}
