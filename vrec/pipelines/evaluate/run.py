"""`vrec evaluate`: from events to a comparison of recommenders on held-out interactions.

`run_comparison` reads in the order of its stages: split → choose settings → fit → recommend → evaluate.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from vrec.config.evaluate import EvaluateConfig
from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import join_uri
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.offline.sampled import evaluate_sampled
from vrec.evaluation.reports.comparison import PAGE, metrics_json, write_comparison
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import (
    InteractionSplit,
    cold_users,
    cold_videos,
    history_lengths,
    popularity_thirds,
    video_ages,
)
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.evaluate.grid_search import GridSearchResult, grid_search, with_model_settings
from vrec.pipelines.evaluate.report import ComparisonOutcome, ModelRun, build_report
from vrec.pipelines.evaluate.validation import train_test_split, validation_split
from vrec.pipelines.fit.tasks import Ref, start_fit, start_recommending
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import COMBINED_KINDS, RetrievalConfig, check_kind
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models.popular import PopularRecommender

_log = logging.getLogger(__name__)

Fits = Mapping[str, Sequence[tuple[Ref, Ref]]]
"""References to (model, seconds) for each seed, by the model's name."""


def evaluate(
    inputs: InputPaths, out: str, settings: Settings, *, like_paper: bool = False, address: str | None = None
) -> dict[str, Any]:
    """Compare recommenders, write `report.html` and `metrics.json` to the folder `out`, return the metrics.

    Raises:
        EventsError, SchemaError, SourceError: a table cannot be read.
        EvaluationError: the split leaves nothing to test on.
        ConfigError, FitError, OutputError, ClusterError: the job cannot run.
    """
    StorageFolder(out).check_writable()
    data = read_inputs(inputs, settings.events, settings.fit.modality)
    outcome = run_comparison(data, settings, like_paper=like_paper, address=address)
    report = build_report(outcome, settings.evaluate)
    write_comparison(report, out)
    return metrics_json(report) | {"report": join_uri(out, PAGE)}


def run_comparison(
    inputs: InputData, settings: Settings, *, like_paper: bool = False, address: str | None = None
) -> ComparisonOutcome:
    """Fit and test the models of `evaluate.models` on a split of the interactions.

    Settings in `evaluate.search` are chosen on a validation split of the training split. `like_paper` adds
    sampled metrics. Raises EvaluationError, FitError, ConfigError or ClusterError.
    """
    config, content = settings.evaluate, inputs.content
    models = compared_models(config, content)

    # Split, and aggregate what models may learn from.
    split = train_test_split(inputs, settings)
    train = aggregate_interactions(split.train, settings.events.interest, split.cutoff)
    test_users = sorted(set(split.test.column("user_id").to_pylist()))
    catalog = _catalog(train, split.test, content)
    _log.info(
        "comparing %s on %s interactions, tested on %s users",
        ", ".join(models),
        f"{train.num_rows:,}",
        f"{len(test_users):,}",
    )
    depth = len(catalog) if like_paper else max(config.metrics.ks)

    with connect_cluster(address), unwrap_ray_errors():
        # Choose settings, fit, recommend.
        chosen = _choose_settings(models, split, inputs, settings)
        fits = _start_fits(models, chosen.config, train, content, settings)
        runs, left_out = _recommend_all(fits, train, test_users, depth, settings.fit.shard_users)

    # Evaluate.
    _log.info("computing metrics")
    lists = {model: run.lists for model, run in runs.items()}
    evaluation = evaluate_recommendations(
        lists,
        train,
        split.test,
        config.metrics,
        catalog=catalog,
        user_slices=_user_slices(split, config),
        video_slices=_video_slices(split, config, has_clock=inputs.has_clock),
    )
    sampled = None
    if like_paper:
        first = {model: tables[0] for model, tables in lists.items()}
        sampled = evaluate_sampled(first, train, split.test, config.sampled, config.metrics, catalog=catalog)
    return ComparisonOutcome(
        inputs, split, train, chosen.config, chosen.trials, runs, evaluation, sampled, left_out
    )


def compared_models(config: EvaluateConfig, content: CatalogContent | None) -> list[str]:
    """Return the models to compare: "popular" first, and "content" only where there is some.

    Raises FitError for an unknown name in `models` or `search`.
    """
    for model in (*config.models, *config.search):
        check_kind(model)
    names = dict.fromkeys(["popular", *config.models])
    return [model for model in names if content is not None or model != "content"]


def _choose_settings(
    models: Sequence[str], split: InteractionSplit, inputs: InputData, settings: Settings
) -> GridSearchResult:
    if not settings.evaluate.search:
        return GridSearchResult(settings.retrieval, ())
    inner = validation_split(split.train, settings, inputs)
    train = aggregate_interactions(inner.train, settings.events.interest, inner.cutoff)
    return grid_search(
        models,
        settings.retrieval,
        settings.evaluate,
        train=train,
        validation=inner.test,
        content=inputs.content,
    )


def _start_fits(
    models: Sequence[str],
    config: RetrievalConfig,
    train: pa.Table,
    content: CatalogContent | None,
    settings: Settings,
) -> Fits:
    refs = ray.put(train), ray.put(content)
    seeds = settings.evaluate.seeds
    return {
        model: [
            start_fit(model, seeded, *refs, settings.fit) for seeded in seeded_configs(model, config, seeds)
        ]
        for model in models
    }


def seeded_configs(model: str, config: RetrievalConfig, seeds: int) -> list[RetrievalConfig]:
    """Return the config once per seed, counting up from the model's own, or once for a model without one."""
    seed = getattr(getattr(config, model), "seed", None)
    if seed is None:
        return [config]
    return [with_model_settings(config, model, {"seed": seed + i}) for i in range(seeds)]


def _recommend_all(
    fits: Fits, train: pa.Table, users: Sequence[str], depth: int, shard: int
) -> tuple[dict[str, ModelRun], dict[str, str]]:
    """Return the runs by model, and why the others could not be fitted."""
    popular: PopularRecommender = ray.get(fits["popular"][0][0])
    known = set(train.column("user_id").to_pylist())
    new_users = popular.recommend_unpersonalized([user for user in users if user not in known], depth)
    runs: dict[str, ModelRun] = {}
    left_out: dict[str, str] = {}
    for model, seeds in fits.items():
        try:
            with unwrap_ray_errors():
                results = [_recommend(*fit, users, depth, shard) for fit in seeds]
        except FitError as error:
            left_out[model] = str(error)
            _log.warning("%s is left out: %s", model, error)
            continue
        if model in COMBINED_KINDS:
            fitted: MatrixRecommender = ray.get(seeds[0][0])
            for line in report_lines(fitted.report):
                _log.info("%s", line)
        runs[model] = run = ModelRun(
            lists=[with_new_users(lists, new_users) for lists, _, _ in results],
            fit_s=float(np.mean([fit_s for _, fit_s, _ in results])),
            recommend_s=float(np.mean([recommend_s for _, _, recommend_s in results])),
        )
        _log.info("%s: fitted in %.1f s, recommended in %.1f s", model, run.fit_s, run.recommend_s)
    return runs, left_out


def _recommend(
    model: Ref, fit_s: Ref, users: Sequence[str], depth: int, shard: int
) -> tuple[pa.Table, float, float]:
    """Return RECOMMENDATIONS, the seconds of the fit, and the seconds of recommending over all shards."""
    results = ray.get(start_recommending(model, users, depth, shard))
    lists = pa.concat_tables([table for table, _ in results])
    return lists, ray.get(fit_s), sum(seconds for _, seconds in results)


def with_new_users(lists: pa.Table, new_users: pa.Table) -> pa.Table:
    """Return RECOMMENDATIONS with the lists of new users added for those users that have none.

    All models share one fallback, the popular videos, so that they differ in what they know and not in
    which users they answer.
    """
    answered = lists.column("user_id").unique()
    missing = new_users.filter(pc.invert(pc.is_in(new_users.column("user_id"), value_set=answered)))
    return pa.concat_tables([lists, missing])


def _catalog(train: pa.Table, test: pa.Table, content: CatalogContent | None) -> list[str]:
    more = content.video_id_columns if content is not None else ()
    return IdVocabulary.from_columns(train.column("video_id"), test.column("video_id"), *more).ids.to_pylist()


def _user_slices(split: InteractionSplit, config: EvaluateConfig) -> dict[str, list[str]]:
    cold = {"new users" if config.cold_most == 0 else "cold users": cold_users(split, config.cold_most)}
    return {**cold, **history_lengths(split)}


def _video_slices(
    split: InteractionSplit, config: EvaluateConfig, *, has_clock: bool
) -> dict[str, list[str]]:
    cold = {"new videos" if config.cold_most == 0 else "cold videos": cold_videos(split, config.cold_most)}
    return {**popularity_thirds(split.train), **cold, **(video_ages(split) if has_clock else {})}
