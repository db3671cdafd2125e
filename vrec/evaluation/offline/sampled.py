"""Sampled metrics (one test video ranked among random ones), only for comparison with publications."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import mean_intervals
from vrec.evaluation.offline.config import EvaluationConfig, SampledConfig
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import Floats, Ints
from vrec.evaluation.offline.results import MetricEstimate, to_plain_json

WARNING = (
    "Sampled metrics rank each test video among a few random videos instead of the whole catalog. They are "
    "far higher than full-ranking metrics, can order the same models differently, and do not measure what a "
    "shopper would see (Krichene and Rendle, On Sampled Metrics for Item Recommendation, KDD 2020). They are "
    "given only for comparison with publications that use them."
)


@dataclass(frozen=True, slots=True)
class SampledEvaluation:
    """Result of `evaluate_sampled`, not comparable with full-ranking metrics."""

    warning: str
    config: SampledConfig
    users: int
    catalogue: int
    """Videos that the negatives were drawn from."""
    metrics: Mapping[str, Mapping[str, MetricEstimate]]
    """Model → "hit_rate@k" or "ndcg@k" → estimate, best model first by the longest list's NDCG."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values, marked as sampled."""
        parts = {"users": self.users, "catalogue": self.catalogue, "metrics": self.metrics}
        config = self.config.model_dump(mode="json")
        return to_plain_json({"sampled": True, "warning": self.warning, "config": config, **parts})


def evaluate_sampled(
    recommendations: Mapping[str, pa.Table | Iterable[pa.Table]],
    train: pa.Table,
    test: pa.Table,
    sampled: SampledConfig,
    config: EvaluationConfig,
    *,
    catalog: Collection[str] | None = None,
) -> SampledEvaluation:
    """Compute HitRate@k and NDCG@k of each test user's one video ranked among random negatives.

    A video that is not in a user's list ranks below all that are; a missing test video ranks last, ties among
    missing videos counted against it.

    Args:
        recommendations: RECOMMENDATIONS by model, with lists as long as the catalog: one table, or chunks
            that hold whole users and are read one after the other.
        train: INTERACTIONS that the models were fitted on.
        test: INTERACTIONS held out, one per user.
        sampled: Negatives and cutoffs.
        config: Intervals.
        catalog: Video ids; by default all of train and test.

    Raises:
        SchemaError: If a table is malformed.
        EvaluationError: If a user has more than one test video, the catalog is too small for the negatives,
            or a list is invalid (see `evaluate_recommendations`).
    """
    truth = GroundTruth(train, test, catalog)
    negatives = draw_negatives(truth, sampled)
    values: dict[str, dict[str, Floats]] = {}
    for model, tables in recommendations.items():
        chunks = [tables] if isinstance(tables, pa.Table) else tables
        rank = _test_ranks(truth, model, chunks, negatives)
        values[model] = {f"hit_rate@{k}": (rank <= k).astype(np.float64) for k in sampled.ks}
        values[model] |= {f"ndcg@{k}": np.where(rank <= k, 1 / np.log2(rank + 1), 0.0) for k in sampled.ks}
    metrics = {model: _estimates(by_metric, config) for model, by_metric in values.items()}
    headline = f"ndcg@{max(sampled.ks)}"
    order = sorted(metrics, key=lambda model: (-metrics[model][headline].mean, model))
    return SampledEvaluation(
        warning=WARNING,
        config=sampled,
        users=len(truth.users),
        catalogue=len(truth.videos),
        metrics={model: metrics[model] for model in order},
    )


def draw_negatives(truth: GroundTruth, config: SampledConfig) -> Ints:
    """Draw each test user's negatives without replacement from the videos not in their train or test.

    Returns:
        (test users, negatives) video indices; the same for the same truth and seed.

    Raises:
        EvaluationError: If a user has more than one test video, or too few videos are left.
    """
    users, videos, wanted = len(truth.users), len(truth.videos), config.negatives
    counts = np.bincount(truth.relevant // videos, minlength=users)
    if (counts != 1).any():
        worst = int(counts.argmax())
        raise EvaluationError(
            f"test: {np.count_nonzero(counts != 1):,} of {users:,} users have more than one video, such as "
            f"user {truth.users.ids[worst].as_py()} with {counts[worst]}",
            fix="sampled metrics are for leave-one-out: split with kind=last, last_n=1",
        )
    starts = np.searchsorted(truth.seen, np.arange(users + 1) * videos)
    rng = np.random.default_rng(config.seed)
    negatives = np.empty((users, wanted), dtype=np.int64)
    for user in range(users):
        own = np.append(truth.seen[starts[user] : starts[user + 1]], truth.relevant[user]) % videos
        if videos - len(own) < wanted:
            raise EvaluationError(
                f"negatives: {wanted} wanted, but user {truth.users.ids[user].as_py()} has {len(own)} of the "
                f"catalog's {videos:,} videos",
                fix="set fewer negatives, or give a larger catalog",
            )
        # Of these distinct videos at most len(own) are the user's own, so at least `wanted` are left.
        drawn = rng.choice(videos, wanted + len(own), replace=False)
        negatives[user] = drawn[~np.isin(drawn, own)][:wanted]
    return negatives


def _test_ranks(truth: GroundTruth, model: str, chunks: Iterable[pa.Table], negatives: Ints) -> Ints:
    """Return the rank (users,) of each test video among the negatives, from 1."""
    users, count = negatives.shape
    rank = np.full(users, count + 1)
    done = np.zeros(users, dtype=bool)
    for chunk in chunks:
        lists = truth.index_lists(chunk, model)
        here = np.unique(lists.user)
        if done[here].any():
            repeated = truth.users.ids[int(here[done[here]][0])].as_py()
            raise EvaluationError(
                f"{model}'s recommendations: user_id: user {repeated} is in more than one table",
                fix="keep each user's list in one table",
            )
        done[here] = True
        keys = truth.keys(lists)
        order = np.argsort(keys)
        keys, ranks = keys[order], lists.rank[order]
        own = _ranks_of_keys(truth.relevant[here], keys, ranks)
        others = _ranks_of_keys(here[:, None] * len(truth.videos) + negatives[here], keys, ranks)
        above = np.where(np.isinf(own)[:, None], True, others < own[:, None])
        rank[here] = 1 + above.sum(axis=1)
    return rank


def _ranks_of_keys(wanted: Ints, keys: Ints, ranks: Ints) -> Floats:
    """Return the rank of each wanted key, inf where it is not among the sorted keys."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, ranks[at], np.inf)


def _estimates(values: Mapping[str, Floats], config: EvaluationConfig) -> dict[str, MetricEstimate]:
    stacked = np.stack(list(values.values()), axis=1)
    found = mean_intervals(stacked, config.level, config.min_outcomes, (0.0, 1.0))
    return {
        name: MetricEstimate(float(column.mean()), *found.ends(i), len(column), None, int(found.outcomes[i]))
        for i, (name, column) in enumerate(values.items())
    }
