"""Offline comparison of models on held-out interactions: full ranking, intervals, paired differences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import mean_intervals, paired_differences
from vrec.evaluation.offline import metrics
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.ground_truth import GroundTruth, TestPopulation, align_vectors
from vrec.evaluation.offline.metrics import ACCURACY, Floats, RankedLists
from vrec.evaluation.offline.results import (
    ListLengths,
    MetricDifference,
    MetricEstimate,
    MetricLeader,
    OfflineEvaluation,
    PopulationScores,
    SliceSide,
    TestSetSummary,
)
from vrec.retrieval.config import COMBINED_KINDS

POPULAR_MODEL = "popular"
"""Name of the baseline model that every comparison must include."""

VideoVectors = tuple[Sequence[str], npt.NDArray[np.floating]]
"""M video ids and their vectors (M, D): embeddings, or attributes as numbers."""


def evaluate_recommendations(
    recommendations: Mapping[str, pa.Table | Sequence[pa.Table]],
    train: pa.Table,
    test: pa.Table,
    config: EvaluationConfig,
    *,
    catalog: Collection[str] | None = None,
    vectors: VideoVectors | None = None,
    user_slices: Mapping[str, Collection[str]] | None = None,
    video_slices: Mapping[str, Collection[str]] | None = None,
    combined: Collection[str] = COMBINED_KINDS,
) -> OfflineEvaluation:
    """Score recommendations against held-out interactions, with intervals over users.

    Ranks are taken as given, so ties are broken by the recommender. A test user without a list counts as
    zero; a list shorter than k is not padded.

    Args:
        recommendations: RECOMMENDATIONS by model: one table, or one per seed, over which each user's values
            are averaged.
        train: INTERACTIONS that the models were fitted on.
        test: INTERACTIONS held out.
        config: Metrics, cutoffs and intervals.
        catalog: Video ids over which coverage and Gini are computed; by default all of train and test.
        vectors: Video vectors for diversity; None leaves it out.
        user_slices: User ids by name of slice.
        video_slices: Ids of the videos that count as relevant, by name of slice. Users without a relevant
            video in a slice are left out of it.
        combined: Models that combine others and therefore cannot be the best single one.

    Raises:
        SchemaError: If a table is malformed.
        EvaluationError: If "popular" is missing, `test` is empty, or a list has a video seen in train, a
            video twice, ranks with gaps, or a video outside the catalog.
    """
    if POPULAR_MODEL not in recommendations:
        raise EvaluationError(
            f"recommendations: {POPULAR_MODEL} is missing among {', '.join(recommendations) or 'no models'}",
            fix=f"evaluate {POPULAR_MODEL} as well: it is the baseline of every comparison",
        )
    truth = GroundTruth(train, test, catalog)
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
    overall = _PopulationAccuracy(truth, runs, truth.population(), config)
    at = overall.columns.index(config.headline)
    order = sorted(runs, key=lambda name: (-overall.values[name][:, at].mean(), name))
    best = next((name for name in order if name not in combined), order[0])
    slices: list[PopulationScores] = []
    for side, named in sides.items():
        for name, ids in named.items():
            part = truth.population(**{side: ids})
            slices.append(_PopulationAccuracy(truth, runs, part, config).scores(name, side, order, best))
    return OfflineEvaluation(
        config=config,
        facts=_summarize(truth),
        models=order,
        best_single=best,
        lengths={name: runs[name].lengths for name in order},
        overall=overall.scores("all", "all", order, best),
        slices=slices,
        beyond=_beyond_estimates({name: runs[name].beyond for name in order}, config),
    )


class _ModelRun:
    """Hits and metrics beyond accuracy of one model's lists, per seed."""

    def __init__(
        self,
        truth: GroundTruth,
        model: str,
        tables: Sequence[pa.Table],
        config: EvaluationConfig,
        vectors: npt.NDArray[np.floating] | None,
    ) -> None:
        if not tables:
            raise EvaluationError(f"{model}: no recommendations", fix="give one table, or one per seed")
        self.hits: list[RankedLists] = []
        self.beyond: list[dict[str, Floats]] = []
        """Per seed: metric → values per user (U,), or one value (1,) for all users together."""
        lengths: list[npt.NDArray[np.int64]] = []
        for table in tables:
            lists = truth.index_lists(table, model)
            lengths.append(np.bincount(lists.user, minlength=lists.users))
            self.hits.append(truth.hits(lists))
            self.beyond.append(_beyond_accuracy(lists, truth, config, vectors))
        count = np.stack(lengths)
        self.lengths = ListLengths(
            seeds=len(tables),
            served=float((count > 0).sum(axis=1).mean()),
            full={k: float((count >= k).sum(axis=1).mean()) for k in config.ks},
        )


class _PopulationAccuracy:
    """Accuracy of all models over one population, per user, averaged over seeds."""

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
        """Model → (users, metrics) means over seeds."""
        self.seeds: dict[str, Floats] = {}
        """Model → (seeds, metrics) means over users."""
        for model, run in runs.items():
            total, means = np.zeros((len(population.users), len(self.columns))), []
            for hits in run.hits:
                ranked = truth.score_lists(hits, max(config.ks), population)
                values = np.stack(
                    [metric(ranked, k) for k in config.ks for metric in ACCURACY.values()], axis=1
                )
                means.append(values.mean(axis=0) if len(values) else np.full(len(self.columns), np.nan))
                total += values
            self.values[model], self.seeds[model] = total / len(run.hits), np.stack(means)

    def scores(self, name: str, side: SliceSide, order: Sequence[str], best: str) -> PopulationScores:
        """Return the population's scores, models in the given order, compared with popular and `best`."""
        users = len(self.population.users)
        if not users:
            empty = {model: {} for model in order}
            return PopulationScores(name, side, 0, 0, empty, empty, empty, {})
        return PopulationScores(
            name=name,
            side=side,
            users=users,
            relevant=int(self.population.relevant.sum()),
            metrics={model: self._estimates(model) for model in order},
            against_popular=self._against(order, POPULAR_MODEL),
            against_best=self._against(order, best),
            leaders=self._leaders(order),
        )

    def _estimates(self, model: str) -> dict[str, MetricEstimate]:
        values, seeds_sd = self.values[model], _seed_deviations(self.seeds[model])
        found = mean_intervals(values, self.config.level, self.config.min_outcomes, (0.0, 1.0))
        mean = values.mean(axis=0)
        return {
            column: MetricEstimate(
                float(mean[i]), *found.ends(i), len(values), seeds_sd[i], int(found.outcomes[i])
            )
            for i, column in enumerate(self.columns)
        }

    def _difference(self, model: str, other: str, columns: slice = slice(None)) -> list[MetricDifference]:
        gaps = paired_differences(self.values[model][:, columns], self.values[other][:, columns])
        found = mean_intervals(gaps, self.config.level, self.config.min_outcomes, (-1.0, 1.0))
        return [
            MetricDifference(float(mean), *found.ends(i), int(found.outcomes[i]))
            for i, mean in enumerate(gaps.mean(axis=0))
        ]

    def _against(self, order: Sequence[str], base: str) -> dict[str, dict[str, MetricDifference]]:
        return {
            model: dict(zip(self.columns, self._difference(model, base), strict=True))
            for model in order
            if model != base
        }

    def _leaders(self, order: Sequence[str]) -> dict[str, MetricLeader]:
        leaders: dict[str, MetricLeader] = {}
        for i, column in enumerate(self.columns):
            means = {model: float(values[:, i].mean()) for model, values in self.values.items()}
            first, *others = sorted(order, key=lambda model: (-means[model], model))
            leads = {other: self._difference(first, other, slice(i, i + 1))[0] for other in others}
            leaders[column] = MetricLeader(
                model=first,
                runner_up=others[0] if others else None,
                lead=leads[others[0]] if others else None,
                level_with=[other for other, lead in leads.items() if not lead.is_significant],
            )
        return leaders


def _beyond_accuracy(
    lists: RankedLists, truth: GroundTruth, config: EvaluationConfig, vectors: npt.NDArray[np.floating] | None
) -> dict[str, Floats]:
    """Return the metrics beyond accuracy of one seed's lists."""
    values: dict[str, Floats] = {}
    for k in config.ks:
        top = lists.top(k)
        values[f"coverage@{k}"] = np.array([metrics.coverage(top)])
        values[f"top_share@{k}"] = np.array([metrics.top_share(top)])
        values[f"gini@{k}"] = np.array([metrics.gini(top)])
        values[f"novelty@{k}"] = metrics.novelty(top, truth.watched_by, truth.train_users)
        values[f"popularity_rank@{k}"] = metrics.popularity_rank(top, truth.watched_by)
        if vectors is not None:
            values[f"diversity@{k}"] = metrics.diversity(top, vectors)
    return values


def _beyond_estimates(
    models: Mapping[str, Sequence[Mapping[str, Floats]]], config: EvaluationConfig
) -> dict[str, dict[str, MetricEstimate]]:
    """Return estimates of the metrics beyond accuracy, averaged over seeds, by model and metric."""
    estimates: dict[str, dict[str, MetricEstimate]] = {model: {} for model in models}
    for model, seeds in models.items():
        for name in seeds[0]:
            values = np.stack([seed[name] for seed in seeds])
            means = np.array([[_mean(row)] for row in values])
            known = ~np.isnan(values)
            count = known.sum(axis=0)
            mean = np.where(known, values, 0).sum(axis=0) / np.where(count, count, np.nan)
            estimate = MetricEstimate(
                _mean(mean), None, None, int(np.sum(count > 0)), _seed_deviations(means)[0]
            )
            if not name.startswith(("coverage", "top_share", "gini")):
                found = mean_intervals(mean[:, None], config.level, config.min_outcomes)
                low, high = found.ends(0)
                estimate = replace(estimate, low=low, high=high, outcomes=int(found.outcomes[0]))
            estimates[model][name] = estimate
    return estimates


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _seed_deviations(seeds: Floats) -> list[float | None]:
    """Return the standard deviations (M,) of (seeds, M) means; None for one seed."""
    if len(seeds) < 2:
        return [None] * seeds.shape[1]
    return [float(sd) for sd in seeds.std(axis=0, ddof=1)]


def _summarize(truth: GroundTruth) -> TestSetSummary:
    videos = truth.relevant % len(truth.videos)
    known_users = np.unique(truth.seen // len(truth.videos))
    return TestSetSummary(
        test_users=len(truth.users),
        test_pairs=len(truth.relevant),
        train_users=truth.train_users,
        train_pairs=truth.train_pairs,
        catalogue=len(truth.videos),
        new_users=len(truth.users) - len(known_users),
        new_videos=int(np.count_nonzero(truth.watched_by[np.unique(videos)] == 0)),
    )
