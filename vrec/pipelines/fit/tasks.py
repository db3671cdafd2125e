"""Ray tasks that fit recommenders, one per fit, and that recommend, one per shard of users."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa
import ray

from vrec.config.fit import FitConfig
from vrec.core.types import CatalogContent
from vrec.pipelines.fit.local import RecommendationFile, fit_model, write_shard
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.batch import BatchRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.similarity import map_in_threads

S = TypeVar("S")
T = TypeVar("T")
Ref = Any
"""A Ray object reference."""


def map_blocks_on_ray(function: Callable[[S, range], T], shared: S, blocks: Sequence[range]) -> Iterator[T]:
    """Yield `function(shared, block)` for each block, in order, each computed by its own task."""
    # `shared` goes to the object store once, not with every task.
    ref = ray.put(shared)
    pending = [_apply.remote(function, ref, block) for block in blocks]
    for result in pending:
        yield ray.get(result)


@ray.remote(num_cpus=1)
def _apply(function: Callable[[S, range], T], shared: S, block: range) -> T:
    return function(shared, block)


def start_fit(
    kind: str,
    config: RetrievalConfig,
    interactions: Ref,
    content: Ref,
    resources: FitConfig,
    *,
    trials: str | None = None,
) -> tuple[Ref, Ref]:
    """Start a fit and return references to the model and to the seconds that the fit took.

    `interactions` and `content` are references too. `trials` is that of `build_recommender`.
    """
    task: Any = _fit.options(num_cpus=resources.cpus, num_gpus=resources.gpus, num_returns=2)
    tasks = spreads_blocks(resources)
    model, seconds = task.remote(kind, config, interactions, content, tasks, trials)
    return model, seconds


def spreads_blocks(resources: FitConfig) -> bool:
    """Return whether blocks of neighbors are tasks of their own on this cluster."""
    return resources.blocks == "tasks" or (resources.blocks == "auto" and len(ray.nodes()) > 1)


@ray.remote
def _fit(  # noqa: PLR0917  Ray's types know positional arguments alone.
    kind: str,
    config: RetrievalConfig,
    interactions: pa.Table,
    content: CatalogContent | None,
    tasks: bool,
    trials: str | None,
) -> tuple[MatrixRecommender, float]:
    mapper = map_blocks_on_ray if tasks else map_in_threads
    return fit_model(kind, config, interactions, content, mapper, trials=trials)


def start_recommending(model: Ref, users: Sequence[str], k: int, shard: int) -> list[Ref]:
    """Return references to (RECOMMENDATIONS, seconds), one per shard of users, in order."""
    return [_recommend.remote(model, list(users[i : i + shard]), k) for i in range(0, len(users), shard)]


@ray.remote(num_cpus=1)
def _recommend(model: MatrixRecommender, users: list[str], k: int) -> tuple[pa.Table, float]:
    begun = time.perf_counter()
    return model.recommend(users, k), time.perf_counter() - begun


def start_writing(batch: Ref, users: Sequence[str], k: int, shard: int, out: str) -> list[Ref]:
    """Return references to RecommendationFiles that a BatchRecommender writes, one per shard of users."""
    starts = range(0, len(users), shard)
    return [_write.remote(batch, list(users[i : i + shard]), k, out, n) for n, i in enumerate(starts)]


@ray.remote(num_cpus=1)
def _write(batch: BatchRecommender, users: list[str], k: int, out: str, number: int) -> RecommendationFile:
    return write_shard(batch, users, k, out, number)
