"""`vrec evaluate`: events to a comparison of recommenders that have not seen what they are tested on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from vrec.config.settings import EvaluateConfig, Settings
from vrec.core.compute import pc
from vrec.core.tables import StorageFolder, join_uri
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.run import evaluate_recommendations as compare
from vrec.evaluation.offline.sampled import evaluate_sampled
from vrec.evaluation.reports.comparison import PAGE, metrics_json, write_comparison
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import InteractionSplit, cold_users, cold_videos, popularity_thirds
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.evaluate.grid_search import GridSearchResult, grid_search, with_model_settings
from vrec.pipelines.evaluate.report import ComparisonOutcome, ModelRun, build_report
from vrec.pipelines.evaluate.validation import test_split, validation_split
from vrec.pipelines.fit.tasks import Ref, start_fit, start_recommending
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.registry import RetrievalConfig, check_kind


@dataclass(frozen=True, slots=True)
class ComparisonTask:
    """What all models are fitted on and asked."""

    models: Sequence[str]
    train: pa.Table
    test: pa.Table
    content: CatalogContent | None

    @property
    def users(self) -> list[str]:
        """The users of the test, sorted."""
        return sorted(set(self.test.column("user_id").to_pylist()))


def evaluate(
    inputs: InputPaths, out: str, settings: Settings, *, like_paper: bool = False, address: str | None = None
) -> dict[str, Any]:
    """What was found, after writing `report.html` and `metrics.json` to the folder `out`.

    Raises EventsError, SchemaError or SourceError for what cannot be read, EvaluationError for a split that
    leaves nothing to test, ConfigError, FitError, OutputError or ClusterError.
    """
    StorageFolder(out).check_writable()
    material = read_inputs(inputs, settings.events, settings.fit.modality)
    outcome = run_comparison(material, settings, like_paper=like_paper, address=address)
    report = build_report(outcome, settings.evaluate)
    write_comparison(report, out)
    return metrics_json(report) | {"report": join_uri(out, PAGE)}


def run_comparison(
    inputs: InputData, settings: Settings, *, like_paper: bool = False, address: str | None = None
) -> ComparisonOutcome:
    """The outcome of fitting and testing `settings.evaluate.models` on a split of the interactions.

    Settings are chosen on a validation part, which is to train what test is to the whole, where
    `evaluate.search` asks for it. `like_paper` adds sampled metrics. Raises EvaluationError, FitError,
    ConfigError or ClusterError.
    """
    config = settings.evaluate
    models, parts = _models(config, inputs.content), test_split(inputs, settings)
    train = aggregate_interactions(parts.train, settings.events.interest, parts.cutoff)
    catalogue = _catalogue(train, parts.test, inputs.content)
    depth = len(catalogue) if like_paper else max(config.metrics.ks)
    with connect_cluster(address), unwrap_ray_errors():
        chosen = _choose(models, parts, inputs, settings)
        task = ComparisonTask(models, train, parts.test, inputs.content)
        runs = _run_all(task, chosen.config, settings, depth)
    lists = {model: run.lists for model, run in runs.items()}
    evaluation = compare(
        lists,
        train,
        parts.test,
        config.metrics,
        catalogue=catalogue,
        user_slices=_user_slices(parts, config),
        video_slices=_video_slices(parts, config),
    )
    sampled = None
    if like_paper:
        first = {model: tables[0] for model, tables in lists.items()}
        sampled = evaluate_sampled(
            first, train, parts.test, config.sampled, config.metrics, catalogue=catalogue
        )
    return ComparisonOutcome(inputs, parts, train, chosen.config, chosen.trials, runs, evaluation, sampled)


def _models(config: EvaluateConfig, content: CatalogContent | None) -> list[str]:
    for model in (*config.models, *config.search):
        check_kind(model)
    named = dict.fromkeys(["popular", *config.models])
    return [model for model in named if content is not None or model != "content"]


def _choose(
    models: Sequence[str], parts: InteractionSplit, material: InputData, settings: Settings
) -> GridSearchResult:
    if not settings.evaluate.search:
        return GridSearchResult(settings.retrieval, ())
    inner = validation_split(parts.train, settings)
    train = aggregate_interactions(inner.train, settings.events.interest, inner.cutoff)
    return grid_search(
        models,
        settings.retrieval,
        settings.evaluate,
        train=train,
        validation=inner.test,
        content=material.content,
    )


def _run_all(
    task: ComparisonTask, config: RetrievalConfig, settings: Settings, depth: int
) -> dict[str, ModelRun]:
    users, train = task.users, task.train
    rows, content = ray.put(train), ray.put(task.content)
    fits = {
        model: [
            start_fit(model, each, rows, content, settings.fit) for each in _seeded(model, config, settings)
        ]
        for model in task.models
    }
    popular: PopularRecommender = ray.get(fits["popular"][0][0])
    known = set(train.column("user_id").to_pylist())
    strangers = popular.recommend_unpersonalized([user for user in users if user not in known], depth)
    runs: dict[str, ModelRun] = {}
    for model in task.models:
        found = [_recommend(*fit, users, depth, settings.fit.shard_users) for fit in fits[model]]
        lists = [_with_new_users(table, strangers) for table, _, _ in found]
        runs[model] = ModelRun(lists, *(float(np.mean([row[i] for row in found])) for i in (1, 2)))
    return runs


def _seeded(model: str, config: RetrievalConfig, settings: Settings) -> list[RetrievalConfig]:
    """The model's settings, once for each seed where it has one."""
    seed = getattr(getattr(config, model), "seed", None)
    if seed is None:
        return [config]
    return [with_model_settings(config, model, {"seed": seed + i}) for i in range(settings.evaluate.seeds)]


def _recommend(
    model: Ref, fit_s: Ref, users: Sequence[str], depth: int, shard: int
) -> tuple[pa.Table, float, float]:
    parts = ray.get(start_recommending(model, users, depth, shard))
    tables = pa.concat_tables([table for table, _ in parts])
    return tables, ray.get(fit_s), sum(seconds for _, seconds in parts)


def _with_new_users(lists: pa.Table, strangers: pa.Table) -> pa.Table:
    """The lists, and those that every model gives to users who are new: the popular videos.

    One fallback for all, so that models differ in what they know and not in whom they answer.
    """
    answered = lists.column("user_id").unique()
    missing = strangers.filter(pc.invert(pc.is_in(strangers.column("user_id"), value_set=answered)))
    return pa.concat_tables([lists, missing])


def _catalogue(train: pa.Table, test: pa.Table, content: CatalogContent | None) -> list[str]:
    more = content.video_id_columns if content is not None else ()
    return IdVocabulary.from_columns(train.column("video_id"), test.column("video_id"), *more).ids.to_pylist()


def _user_slices(parts: InteractionSplit, config: EvaluateConfig) -> dict[str, list[str]]:
    return {"new users" if config.cold_most == 0 else "cold users": cold_users(parts, config.cold_most)}


def _video_slices(parts: InteractionSplit, config: EvaluateConfig) -> dict[str, list[str]]:
    cold = {"new videos" if config.cold_most == 0 else "cold videos": cold_videos(parts, config.cold_most)}
    return {**popularity_thirds(parts.train), **cold}
