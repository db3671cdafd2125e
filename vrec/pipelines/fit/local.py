"""Fits and recommendations in the process that asks for them; tasks on a cluster call the same."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from vrec.config.fit import FitConfig
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.batch import BatchRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender
from vrec.retrieval.similarity import BlockMapper, map_in_threads

RECOMMENDED = "recommendations"
"""The subfolder for files of RECOMMENDATIONS."""

MAX_EXAMPLES = 20
"""Users without recommendations that are named."""


def fits_here(rows: int, config: FitConfig, address: str | None) -> bool:
    """Return whether a fit on some INTERACTIONS runs in the command's own process.

    It does where no cluster is named, the settings ask for none of its resources, and there are at most
    `local_interactions`.
    """
    wants_cluster = address is not None or config.gpus > 0 or config.blocks == "tasks"
    return not wants_cluster and rows <= config.local_interactions


def fit_model(
    kind: str,
    config: RetrievalConfig,
    interactions: pa.Table,
    content: CatalogContent | None,
    map_blocks: BlockMapper = map_in_threads,
    *,
    trials: str | None = None,
    shopper_weights: pa.Table | None = None,
) -> tuple[MatrixRecommender, float]:
    """Return a fitted recommender and the seconds that the fit took; see `build_recommender`."""
    begun = time.perf_counter()
    model = build_recommender(kind, config, map_blocks, trials=trials)
    model.fit(interactions, content, shopper_weights=shopper_weights)
    return model, time.perf_counter() - begun


@dataclass(frozen=True, slots=True)
class RecommendationFile:
    """A written file of RECOMMENDATIONS."""

    name: str
    rows: int
    users: int
    """Users with at least one row."""
    unanswered: tuple[str, ...] = ()
    """The first users without a row."""


def write_shard(
    batch: BatchRecommender, users: Sequence[str], k: int, out: str, number: int
) -> RecommendationFile:
    """Write the recommendations of one shard of users to a file of the folder `out`."""
    recommendations = batch.recommend(list(users), k)
    name = f"{RECOMMENDED}/{number:05d}.parquet"
    StorageFolder(out).write_parquet(name, recommendations)
    answered = set(recommendations.column("user_id").to_pylist())
    without = [user for user in users if user not in answered]
    return RecommendationFile(name, recommendations.num_rows, len(answered), tuple(without[:MAX_EXAMPLES]))
