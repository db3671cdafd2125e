"""Models compared by what test users went on to watch: full ranking, intervals, paired differences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import paired_differences, percentile_interval, resampled_means
from vrec.evaluation.offline import metrics
from vrec.evaluation.offline.ground_truth import GroundTruth, TestPopulation, align_vectors
from vrec.evaluation.offline.metrics import ACCURACY, Floats, RankedLists
from vrec.evaluation.offline.results import (
    EvaluationConfig,
    ListLengths,
    MetricDifference,
    MetricEstimate,
    MetricLeader,
    OfflineEvaluation,
    PopulationScores,
    SliceSide,
    TestSetSummary,
)

POPULAR_MODEL = "popular"
"""The name of the model that every comparison must hold."""

VideoVectors = tuple[Sequence[str], npt.NDArray[np.floating]]
"""Video ids, and a row (M, D) for each: embeddings, or attributes as numbers."""


def evaluate_recommendations(
    recommendations: Mapping[str, pa.Table | Sequence[pa.Table]],
    train: pa.Table,
    test: pa.Table,
    config: EvaluationConfig,
    *,
    catalogue: Collection[str] | None = None,
    vectors: VideoVectors | None = None,
    user_slices: Mapping[str, Collection[str]] | None = None,
    video_slices: Mapping[str, Collection[str]] | None = None,
    combined: Collection[str] = ("hybrid",),
) -> OfflineEvaluation:
    """How well each model's RECOMMENDATIONS foretell the test INTERACTIONS, with intervals.

    A model has one table, or one a seed: its figure for a user is then the mean over its seeds. Ranks are
    trusted, so ties are broken by whoever ranked. A test user without a list counts as zero; a list shorter
    than k counts as it is. `catalogue` is what coverage and Gini are counted over, all videos of train and
    test unless given. A slice of users restricts who counts, one of videos what is relevant; users without
    anything relevant in it are left out of it. `combined` names models that combine others and so cannot be
    the best single one.

    Raises SchemaError for tables of another shape, and EvaluationError where "popular" is missing, where
    there is nothing to test on, and for lists that are wrong: a video seen in train, a video twice, ranks
    with gaps, a video outside the catalogue.
    """
    if POPULAR_MODEL not in recommendations:
        raise EvaluationError(
            f"recommendations: {POPULAR_MODEL} is missing among {', '.join(recommendations) or 'no models'}",
            fix=f"evaluate {POPULAR_MODEL} beside the others: a model that does not beat it is worth nothing",
        )
    truth = GroundTruth(train, test, catalogue)
    rows = None if vectors is None else align_vectors(truth.videos, *vectors)
    runs: dict[str, _ModelRun] = {}
    for name, tables in recommendations.items():
        runs[name] = _ModelRun(
            truth, name, [tables] if isinstance(tables, pa.Table) else tables, config, rows
        )
    return _compare(truth, runs, config, {"users": user_slices or {}, "videos": video_slices or {}}, combined)


def _compare(
    truth: GroundTruth,
    runs: Mapping[str, "_ModelRun"],
    config: EvaluationConfig,
    sides: Mapping[SliceSide, Mapping[str, Collection[str]]],
    combined: Collection[str],
) -> OfflineEvaluation:
    everyone = _PopulationAccuracy(truth, runs, truth.population(), config)
    at = everyone.columns.index(config.headline)
    order = sorted(runs, key=lambda name: (-everyone.values[name][:, at].mean(), name))
    best = next((name for name in order if name not in combined), order[0])
    slices: list[PopulationScores] = []
    for side, named in sides.items():
        for name, ids in named.items():
            part = truth.population(**{side: ids})
            slices.append(_PopulationAccuracy(truth, runs, part, config).scores(name, side, order, best))
    return OfflineEvaluation(
        config=config,
        facts=_facts(truth),
        models=order,
        best_single=best,
        lengths={name: runs[name].lengths for name in order},
        overall=everyone.scores("all", "all", order, best),
        slices=slices,
        beyond=_beyond({name: runs[name].beyond for name in order}, config),
    )


class _ModelRun:
    """What is kept of one model's lists, a seed at a time: their hits, and figures beyond accuracy."""

    def __init__(
        self,
        truth: GroundTruth,
        model: str,
        tables: Sequence[pa.Table],
        config: EvaluationConfig,
        vectors: npt.NDArray[np.floating] | None,
    ) -> None:
        if not tables:
            raise EvaluationError(f"{model}: no recommendations", fix="give one table, or one for each seed")
        self.hits: list[RankedLists] = []
        self.beyond: list[dict[str, Floats]] = []
        """By seed: figures by user (U,), or one figure (1,) for all users together."""
        lengths: list[npt.NDArray[np.int64]] = []
        for table in tables:
            lists = truth.index_lists(table, model)
            lengths.append(np.bincount(lists.user, minlength=lists.users))
            self.hits.append(truth.hits(lists))
            self.beyond.append(_beyond_of(lists, truth, config, vectors))
        count = np.stack(lengths)
        self.lengths = ListLengths(
            seeds=len(tables),
            served=float((count > 0).sum(axis=1).mean()),
            full={k: float((count >= k).sum(axis=1).mean()) for k in config.ks},
        )


class _PopulationAccuracy:
    """All models' accuracy over one population: by user, averaged over seeds."""

    def __init__(
        self,
        truth: GroundTruth,
        runs: Mapping[str, _ModelRun],
        population: TestPopulation,
        config: EvaluationConfig,
    ) -> None:
        self.config, self.population = config, population
        self.columns = [f"{name}@{k}" for k in config.ks for name in ACCURACY]
        self.values: dict[str, Floats] = {}
        """(users, metrics)."""
        self.seeds: dict[str, Floats] = {}
        """(seeds, metrics)."""
        for model, run in runs.items():
            total, means = np.zeros((len(population.users), len(self.columns))), []
            for hits in run.hits:
                judged = truth.score_lists(hits, max(config.ks), population)
                found = np.stack(
                    [metric(judged, k) for k in config.ks for metric in ACCURACY.values()], axis=1
                )
                means.append(found.mean(axis=0) if len(found) else np.full(len(self.columns), np.nan))
                total += found
            self.values[model], self.seeds[model] = total / len(run.hits), np.stack(means)

    def scores(self, name: str, side: SliceSide, order: Sequence[str], best: str) -> PopulationScores:
        """The population's scores, models in the order given."""
        users = len(self.population.users)
        if not users:
            nothing = {model: {} for model in order}
            return PopulationScores(name, side, 0, 0, nothing, nothing, nothing, {})
        stacked = np.hstack([self.values[model] for model in order])
        drawn = resampled_means(stacked, self.config.resamples, self.config.seed)
        parts = np.split(drawn, len(order), axis=1)
        replicates = dict(zip(order, parts, strict=True))
        against = {one: self._against(replicates, one) for one in {POPULAR_MODEL, best}}
        return PopulationScores(
            name=name,
            side=side,
            users=users,
            relevant=int(self.population.relevant.sum()),
            metrics={model: self._estimates(model, replicates[model]) for model in order},
            against_popular=against[POPULAR_MODEL],
            against_best=against[best],
            leaders=self._leaders(replicates),
        )

    def _estimates(self, model: str, replicates: Floats) -> dict[str, MetricEstimate]:
        low, high = percentile_interval(replicates, self.config.level)
        mean, spread = self.values[model].mean(axis=0), _spread(self.seeds[model])
        users = len(self.values[model])
        return {
            column: MetricEstimate(float(mean[i]), float(low[i]), float(high[i]), users, spread[i])
            for i, column in enumerate(self.columns)
        }

    def _difference(
        self, replicates: Mapping[str, Floats], model: str, other: str, columns: slice = slice(None)
    ) -> list[MetricDifference]:
        drawn = paired_differences(replicates[model][:, columns], replicates[other][:, columns])
        low, high = percentile_interval(drawn, self.config.level)
        mean = (self.values[model][:, columns] - self.values[other][:, columns]).mean(axis=0)
        return [
            MetricDifference(float(m), float(a), float(b)) for m, a, b in zip(mean, low, high, strict=True)
        ]

    def _against(self, replicates: Mapping[str, Floats], one: str) -> dict[str, dict[str, MetricDifference]]:
        return {
            model: dict(zip(self.columns, self._difference(replicates, model, one), strict=True))
            for model in replicates
            if model != one
        }

    def _leaders(self, replicates: Mapping[str, Floats]) -> dict[str, MetricLeader]:
        leaders: dict[str, MetricLeader] = {}
        for i, column in enumerate(self.columns):
            means = {model: float(values[:, i].mean()) for model, values in self.values.items()}
            first, *others = sorted(replicates, key=lambda model: (-means[model], model))
            leads = {
                other: self._difference(replicates, first, other, slice(i, i + 1))[0] for other in others
            }
            leaders[column] = MetricLeader(
                model=first,
                runner_up=others[0] if others else None,
                lead=leads[others[0]] if others else None,
                level_with=[other for other, lead in leads.items() if not lead.is_significant],
            )
        return leaders


def _beyond_of(
    lists: RankedLists, truth: GroundTruth, config: EvaluationConfig, vectors: npt.NDArray[np.floating] | None
) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for k in config.ks:
        top = lists.top(k)
        found[f"coverage@{k}"] = np.array([metrics.coverage(top)])
        found[f"gini@{k}"] = np.array([metrics.gini(top)])
        found[f"novelty@{k}"] = metrics.novelty(top, truth.watched_by, truth.train_users)
        found[f"popularity_rank@{k}"] = metrics.popularity_rank(top, truth.watched_by)
        if vectors is not None:
            found[f"diversity@{k}"] = metrics.diversity(top, vectors)
    return found


def _beyond(
    models: Mapping[str, Sequence[Mapping[str, Floats]]], config: EvaluationConfig
) -> dict[str, dict[str, MetricEstimate]]:
    by_user: dict[tuple[str, str], Floats] = {}
    found: dict[str, dict[str, MetricEstimate]] = {model: {} for model in models}
    for model, seeds in models.items():
        for name in seeds[0]:
            values = np.stack([seed[name] for seed in seeds])
            means = np.array([[_mean(row)] for row in values])
            known = ~np.isnan(values)
            count = known.sum(axis=0)
            mean = np.where(known, values, 0).sum(axis=0) / np.where(count, count, np.nan)
            found[model][name] = MetricEstimate(
                _mean(mean), None, None, int(np.sum(count > 0)), _spread(means)[0]
            )
            if not name.startswith(("coverage", "gini")):
                by_user[model, name] = mean
    drawn = resampled_means(np.stack(list(by_user.values()), axis=1), config.resamples, config.seed)
    low, high = percentile_interval(drawn, config.level)
    for i, (model, name) in enumerate(by_user):
        if found[model][name].users:
            found[model][name] = replace(found[model][name], low=float(low[i]), high=float(high[i]))
    return found


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _spread(seeds: Floats) -> list[float | None]:
    """Standard deviations (M,) of (seeds, M) means; None for one seed."""
    if len(seeds) < 2:
        return [None] * seeds.shape[1]
    return [float(sd) for sd in seeds.std(axis=0, ddof=1)]


def _facts(truth: GroundTruth) -> TestSetSummary:
    videos = truth.relevant % len(truth.videos)
    familiar = np.unique(truth.seen // len(truth.videos))
    return TestSetSummary(
        test_users=len(truth.users),
        test_pairs=len(truth.relevant),
        train_users=truth.train_users,
        train_pairs=truth.train_pairs,
        catalogue=len(truth.videos),
        new_users=len(truth.users) - len(familiar),
        new_videos=int(np.count_nonzero(truth.watched_by[np.unique(videos)] == 0)),
    )
