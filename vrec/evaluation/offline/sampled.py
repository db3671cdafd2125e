"""Sampled metrics, only to compare with papers that give them: one test video among a few random ones."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import percentile_interval, resampled_means
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import Floats, Ints
from vrec.evaluation.offline.results import EvaluationConfig, MetricEstimate, to_plain_json

WARNING = (
    "Sampled metrics rank each test video among a few random videos instead of the whole catalogue. They run "
    "far higher than full ranking, can order the same models differently, and say nothing of what a shopper "
    "would see (Krichene and Rendle, On Sampled Metrics for Item Recommendation, KDD 2020). They are here "
    "only to compare with publications that give them."
)


class SampledConfig(BaseConfig):
    """How the papers' sampled protocol is followed."""

    negatives: int = Field(default=100, ge=1)
    """Random videos, that the user has neither in train nor in test, beside the test video."""
    ks: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    """Lengths of list at which hit rate and NDCG are given."""
    seed: int = Field(default=0, ge=0)
    """Of the random videos; all models get the same ones."""


@dataclass(frozen=True, slots=True)
class SampledEvaluation:
    """The outcome of `evaluate_sampled`: never to be read beside full-ranking figures."""

    warning: str
    config: SampledConfig
    users: int
    catalogue: int
    """Videos that the random ones were drawn from."""
    metrics: Mapping[str, Mapping[str, MetricEstimate]]
    """Model → "hit_rate@k" or "ndcg@k" → estimate, best model first by the longest list's NDCG."""

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values, marked as sampled."""
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
    catalogue: Collection[str] | None = None,
) -> SampledEvaluation:
    """HitRate@k and NDCG@k of each test user's one video among `negatives` random ones.

    The order among them is read from full rankings: RECOMMENDATIONS with k as large as the catalogue, a
    model's in one table or in parts that hold whole users, which are read one after the other. A video that
    is not in a user's list has no score and ranks below all that have; where the test video is itself
    missing it ranks last, ties among the missing counted against it. `config` gives the bootstrap.

    Raises SchemaError; and EvaluationError where a user has not exactly one test video, where the catalogue
    is too small for the random ones, and for lists that are wrong as in `offline.evaluate`.
    """
    truth = GroundTruth(train, test, catalogue)
    negatives = draw_negatives(truth, sampled)
    found: dict[str, dict[str, Floats]] = {}
    for model, tables in recommendations.items():
        parts = [tables] if isinstance(tables, pa.Table) else tables
        place = _places(truth, model, parts, negatives)
        found[model] = {f"hit_rate@{k}": (place <= k).astype(np.float64) for k in sampled.ks}
        found[model] |= {f"ndcg@{k}": np.where(place <= k, 1 / np.log2(place + 1), 0.0) for k in sampled.ks}
    metrics = {model: _estimates(values, config) for model, values in found.items()}
    lead = f"ndcg@{max(sampled.ks)}"
    order = sorted(metrics, key=lambda model: (-metrics[model][lead].mean, model))
    return SampledEvaluation(
        warning=WARNING,
        config=sampled,
        users=len(truth.users),
        catalogue=len(truth.videos),
        metrics={model: metrics[model] for model in order},
    )


def draw_negatives(truth: GroundTruth, config: SampledConfig) -> Ints:
    """The random videos (test users, negatives) as places in the catalogue, without one twice in a row.

    None is the user's in train or test. The same truth and seed give the same draw. Raises
    EvaluationError where a user has not exactly one test video, or too few videos are left.
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
                f"catalogue's {videos:,} videos",
                fix="ask for fewer negatives, or give a larger catalogue",
            )
        # Of so many different videos at most len(own) are the user's own, so enough are left.
        drawn = rng.choice(videos, wanted + len(own), replace=False)
        negatives[user] = drawn[~np.isin(drawn, own)][:wanted]
    return negatives


def _places(truth: GroundTruth, model: str, parts: Iterable[pa.Table], negatives: Ints) -> Ints:
    """Where (users,) each test video stands among the random ones, from 1."""
    users, count = negatives.shape
    place = np.full(users, count + 1)
    done = np.zeros(users, dtype=bool)
    for part in parts:
        lists = truth.index_lists(part, model)
        here = np.unique(lists.user)
        if done[here].any():
            twice = truth.users.ids[int(here[done[here]][0])].as_py()
            raise EvaluationError(
                f"{model}'s recommendations: user_id: user {twice} is in more than one part",
                fix="keep each user's list in one part",
            )
        done[here] = True
        keys = truth.keys(lists)
        order = np.argsort(keys)
        keys, ranks = keys[order], lists.rank[order]
        own = _ranks(truth.relevant[here], keys, ranks)
        others = _ranks(here[:, None] * len(truth.videos) + negatives[here], keys, ranks)
        above = np.where(np.isinf(own)[:, None], True, others < own[:, None])
        place[here] = 1 + above.sum(axis=1)
    return place


def _ranks(wanted: Ints, keys: Ints, ranks: Ints) -> Floats:
    """The rank of each wanted key, inf where it is not among the sorted keys."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, ranks[at], np.inf)


def _estimates(values: Mapping[str, Floats], config: EvaluationConfig) -> dict[str, MetricEstimate]:
    stacked = np.stack(list(values.values()), axis=1)
    low, high = percentile_interval(resampled_means(stacked, config.resamples, config.seed), config.level)
    return {
        name: MetricEstimate(float(column.mean()), float(low[i]), float(high[i]), len(column), None)
        for i, (name, column) in enumerate(values.items())
    }
