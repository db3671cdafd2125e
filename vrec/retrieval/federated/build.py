"""Federated recommenders by name."""

import pyarrow as pa

from vrec.core.errors import ConfigError, FederatedError
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.federated.als import AlsShard, AlsSums
from vrec.retrieval.federated.sums import EaseSums, PopularSums, RecommenderTask, SumsShard
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix, check_interactions
from vrec.retrieval.private_fit import PRIVATE_KINDS
from vrec.training.federated.task import FederatedShard

FEDERATED_KINDS = ("als", "ease", "popular")
"""Recommenders that have a federated form."""


def recommender_task(kind: str, config: RetrievalConfig, videos: IdVocabulary) -> RecommenderTask:
    """Return the coordinator's part of a federated fit.

    Raises:
        ConfigError: The recommender has no federated form, or not with these settings.
        FitError: The catalog is too large for it.
    """
    if kind == "popular" and config.popular.half_life_days is not None:
        raise ConfigError(
            "a federated popular counts each shopper once, whenever that was",
            fix="leave retrieval.popular.half_life_days out",
        )
    tasks = {"als": AlsSums, "ease": EaseSums, "popular": PopularSums}
    if kind in PRIVATE_KINDS and kind not in tasks:
        raise ConfigError(
            f"{kind} has a federated form only with differential privacy",
            fix=f"give --privacy.epsilon, or --model one of ranker, {', '.join(FEDERATED_KINDS)}",
        )
    if kind not in tasks:
        raise ConfigError(
            f"{kind} has no federated form", fix=f"give --model one of ranker, {', '.join(FEDERATED_KINDS)}"
        )
    task = tasks[kind](config, videos)
    task.shapes(1)
    return task


def recommender_shard(
    kind: str, config: RetrievalConfig, interactions: pa.Table, videos: IdVocabulary
) -> FederatedShard:
    """Return a client's part of a federated fit.

    Args:
        kind: Name of the recommender.
        config: Settings of all recommenders.
        interactions: The client's INTERACTIONS.
        videos: Videos of the catalog that all clients share; others are left out.

    Raises:
        FederatedError: There are no interactions with videos of the catalog.
        FitError: A weight is not finite and above 0.
    """
    if not interactions.num_rows:
        raise FederatedError("there are no interactions", fix="give events that show interest in videos")
    table = check_interactions(interactions, kind)
    users = IdVocabulary.from_columns(table.column("user_id"))
    histories = build_interaction_matrix(table, users, videos)
    if not histories.weights.nnz:
        raise FederatedError(
            "no interaction is with a video of the catalog", fix="give all clients ids of the same VIDEOS"
        )
    return AlsShard(config, histories) if kind == "als" else SumsShard(kind, config, histories)
