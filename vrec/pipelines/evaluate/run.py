"""`vrec evaluate`: from events to a comparison of recommenders on held-out interactions.

`run_comparison` reads in the order of its stages: split → choose settings → fit → recommend → evaluate.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.evaluate import EvaluateConfig
from vrec.config.fit import FitConfig
from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import join_uri
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.offline.sampled import evaluate_sampled
from vrec.evaluation.reports.comparison import PAGE, ComparisonReport, metrics_json, write_comparison
from vrec.events.interactions import aggregate_interactions
from vrec.events.shards.manifest import EventShards
from vrec.events.split import (
    InteractionSplit,
    cold_users,
    cold_videos,
    draw_test_users,
    history_lengths,
    popularity_thirds,
    video_ages,
)
from vrec.pipelines.evaluate.grid_search import GridSearchResult, grid_search, with_model_settings
from vrec.pipelines.evaluate.local import (
    ComparisonRunner,
    FittedLists,
    LocalRunner,
    TestQuery,
    ValidationData,
)
from vrec.pipelines.evaluate.report import ComparisonOutcome, ModelRun, build_report
from vrec.pipelines.evaluate.validation import train_test_split, validation_split
from vrec.pipelines.fit.local import fits_here
from vrec.pipelines.fit.sharded import large_shards
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.retrieval.config import COMBINED_KINDS, RetrievalConfig, check_kind
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.models.popular import PopularRecommender

_log = logging.getLogger(__name__)


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
    # Nothing is promoted by an evaluation: faults are warned of.
    gates = GateOptions(policy="warn")
    if (table := _shards(inputs, settings, address)) is not None:
        report = _compare_shards(table, inputs, settings, like_paper=like_paper, address=address)
    else:
        data = read_inputs(inputs, settings.events, settings.fit.modality, gates)
        outcome = run_comparison(data, settings, like_paper=like_paper, address=address)
        report = build_report(outcome, settings.evaluate)
    write_comparison(report, out)
    return metrics_json(report) | {"report": join_uri(out, PAGE)}


def _shards(inputs: InputPaths, settings: Settings, address: str | None) -> EventShards | None:
    """Return the shards of events that are to be weighed by tasks; None where this process reads them."""
    published = inputs.validation is not None or inputs.test is not None
    return None if published else large_shards(inputs, settings, address)


def _compare_shards(
    table: EventShards, inputs: InputPaths, settings: Settings, *, like_paper: bool, address: str | None
) -> ComparisonReport:
    # Imported here: Ray takes longer to import and to start than small fits.
    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.pipelines.evaluate.sharded import compare_shards
    from vrec.pipelines.ray_tasks import RayTasks

    with connect_cluster(address), unwrap_ray_errors():
        return compare_shards(RayTasks(), table, inputs, settings, like_paper=like_paper, address=address)


def run_comparison(
    inputs: InputData, settings: Settings, *, like_paper: bool = False, address: str | None = None
) -> ComparisonOutcome:
    """Fit and test the models of `evaluate.models` on a split of the interactions.

    Settings in `evaluate.search` are chosen on a validation split of the training split. `like_paper` adds
    sampled metrics. Small fits run in this process, others as tasks on the cluster (see
    `fit.local_interactions`). Raises EvaluationError, FitError, ConfigError or ClusterError.
    """
    config, content = settings.evaluate, inputs.content
    models = compared_models(config, content)

    # Split, and aggregate what models may learn from.
    split = train_test_split(inputs, settings)
    train = aggregate_interactions(split.train, settings.events.interest, split.cutoff)
    catalog = _catalog(train, split.test, content)
    if config.most_users is not None:
        split = draw_test_users(split, config.most_users, config.metrics.seed)
    test_users = sorted(set(split.test.column("user_id").to_pylist()))
    _log.info(
        "comparing %s on %s interactions, tested on %s users",
        ", ".join(models),
        f"{train.num_rows:,}",
        f"{len(test_users):,}",
    )
    depth = len(catalog) if like_paper else max(config.metrics.ks)

    with _open_runner(train.num_rows, settings.fit, address) as runner:
        # Choose settings, fit, recommend.
        chosen = _choose_settings(runner, models, split, inputs, settings)
        query = TestQuery(train, content, test_users, depth, settings.fit.shard_users)
        runs, left_out = _run_models(runner, models, chosen.config, query, config.seeds)

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


@contextlib.contextmanager
def _open_runner(rows: int, config: FitConfig, address: str | None) -> Iterator[ComparisonRunner]:
    if fits_here(rows, config, address):
        yield LocalRunner()
        return
    # Imported here: Ray takes longer to import and to start than small fits.
    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.pipelines.evaluate.tasks import RayRunner

    with connect_cluster(address), unwrap_ray_errors():
        yield RayRunner(config)


def _choose_settings(
    runner: ComparisonRunner,
    models: Sequence[str],
    split: InteractionSplit,
    inputs: InputData,
    settings: Settings,
) -> GridSearchResult:
    if not settings.evaluate.search:
        return GridSearchResult(settings.retrieval, ())
    inner = validation_split(split.train, settings, inputs)
    train = aggregate_interactions(inner.train, settings.events.interest, inner.cutoff)
    data = ValidationData(train, inner.test, inputs.content, settings.evaluate.metrics)
    return grid_search(runner, models, settings.retrieval, settings.evaluate, data)


def seeded_configs(model: str, config: RetrievalConfig, seeds: int) -> list[RetrievalConfig]:
    """Return the config once per seed, counting up from the model's own, or once for a model without one."""
    seed = getattr(getattr(config, model), "seed", None)
    if seed is None:
        return [config]
    return [with_model_settings(config, model, {"seed": seed + i}) for i in range(seeds)]


def _run_models(
    runner: ComparisonRunner,
    models: Sequence[str],
    config: RetrievalConfig,
    query: TestQuery,
    seeds: int,
) -> tuple[dict[str, ModelRun], dict[str, str]]:
    """Return the runs by model, and why the others could not be fitted."""
    known = set(query.train.column("user_id").to_pylist())
    popular = PopularRecommender(config.popular).fit(query.train)
    new_users = popular.recommend_unpersonalized([u for u in query.users if u not in known], query.depth)
    by_model = {model: seeded_configs(model, config, seeds) for model in models}
    results = iter(runner.recommend([(model, own) for model in models for own in by_model[model]], query))
    runs: dict[str, ModelRun] = {}
    left_out: dict[str, str] = {}
    for model, own in by_model.items():
        found = [next(results) for _ in own]
        fitted = [result for result in found if isinstance(result, FittedLists)]
        errors = [result for result in found if not isinstance(result, FittedLists)]
        if errors:
            left_out[model] = str(errors[0])
            _log.warning("%s is left out: %s", model, errors[0])
            continue
        if model in COMBINED_KINDS:
            for line in report_lines(fitted[0].report):
                _log.info("%s", line)
        runs[model] = run = ModelRun(
            lists=[with_new_users(result.lists, new_users) for result in fitted],
            fit_s=float(np.mean([result.fit_s for result in fitted])),
            recommend_s=float(np.mean([result.recommend_s for result in fitted])),
        )
        _log.info("%s: fitted in %.1f s, recommended in %.1f s", model, run.fit_s, run.recommend_s)
    return runs, left_out


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
