"""`vrec federate`: a recommender or ranker from the events of several clients, which stay where they are."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.digest import digest
from vrec.core.errors import ConfigError
from vrec.core.tables import StorageFolder, tables_digest
from vrec.core.uris import absolute_uri, uri_name
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.federated.actors import ActorPool
from vrec.pipelines.federated.client import ShardSource
from vrec.pipelines.federated.rounds import CHECKPOINT_FOLDER, FederatedResult, FederatedRun
from vrec.pipelines.federated.sources import PrivateSource, RankerSource, RecommenderSource
from vrec.pipelines.fit.private import UNIT
from vrec.pipelines.inputs import InputPaths, read_videos
from vrec.pipelines.output import lock_folder
from vrec.privacy.config import require_no_epsilon
from vrec.retrieval.federated.build import recommender_task
from vrec.retrieval.federated.private import LEAST_BITS, PrivateSums
from vrec.retrieval.federated.sums import RecommenderTask
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.training.federated.task import FederatedTask

RANKER = "ranker"
"""Name of the ranker among the models."""
REPORT = "federated.json"
"""File in a federated ranker's folder that says who took part."""
CLIENT_LEDGERS = "one per client, beside its events"
"""Ledger of a private federated fit in its manifest."""
_SETTINGS = ("events", "retrieval", "privacy", "federated", "fit", "train")
"""Settings in which runs that share checkpoints do not differ."""


def named_clients(given: Sequence[str]) -> dict[str, str]:
    """Return the clients' paths of events by name, from NAME=PATH, or from PATH, whose name is the file's.

    Raises:
        ConfigError: A name is empty or occurs twice.
    """
    clients: dict[str, str] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:
            name, path = uri_name(text).partition(".")[0], text
        if not name or not path:
            raise ConfigError(f"--client {text}: want NAME=PATH", fix="give a name and a path of events")
        if name in clients:
            raise ConfigError(
                f"--client: two clients have the name {name}", fix="give each a name of its own: NAME=PATH"
            )
        clients[name] = path
    return clients


@dataclass(frozen=True, slots=True)
class _FederatedFit:
    """A federated fit that is ready to run."""

    task: FederatedTask
    sources: Mapping[str, ShardSource]
    save: Callable[[FederatedResult], None]
    data: str
    """Digest of what all clients share."""


def federate(
    clients: Mapping[str, str],
    inputs: InputPaths,
    out: str,
    settings: Settings,
    *,
    model: str,
    start: str | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Fit a model on the events of all clients, write it to the folder `out` and return a summary.

    Each client is an actor that alone reads its events. After a killed run the same command continues from
    the last round.

    Args:
        clients: Paths of the clients' events, by name.
        inputs: What all clients share: the catalog and the layout of events. Its `events` are not read.
        out: The folder.
        settings: `federated` are those of the rounds.
        model: A recommender, or `ranker`.
        start: Folder of the ranker to start from, for `ranker`.
        address: A Ray cluster; None starts one here.

    Raises:
        ConfigError: The model has no federated form, or not with these settings.
        FederatedError: A round had too few clients.
        SourceError, SchemaError, ModelError: The catalog, or the first ranker, cannot be read.
        OutputError: The folder cannot be written.
        ClusterError: Ray cannot be reached.
    """
    out, begun = absolute_uri(out), time.perf_counter()
    folder = StorageFolder(out)
    if model == RANKER:
        fit = _ranker_fit(clients, inputs, out, settings, start)
    else:
        fit = _recommender_fit(clients, inputs, out, settings, model)
    folder.check_writable()
    key = digest(
        {
            "model": model,
            "clients": sorted(clients.items()),
            "data": fit.data,
            "settings": settings.model_dump_json(include=set(_SETTINGS)),
        }
    )
    with lock_folder(folder):
        result = run_on_cluster(fit.task, fit.sources, settings, folder=folder, key=key, address=address)
        fit.save(result)
        folder.remove_folder(CHECKPOINT_FOLDER)
    return {
        "model": model,
        "out": out,
        "clients": len(clients),
        **describe_rounds(result, settings),
        "resumed_from": result.resumed_from,
        "fit_s": round(time.perf_counter() - begun, 3),
    }


def _recommender_fit(
    clients: Mapping[str, str], inputs: InputPaths, out: str, settings: Settings, model: str
) -> _FederatedFit:
    if inputs.videos is None:
        raise ConfigError(
            "a federated recommender needs the catalog, which clients and coordinator share",
            fix="give --videos a VIDEOS table",
        )
    if settings.events.interest.half_life_days is not None:
        raise ConfigError(
            "events.interest.half_life_days counts from a client's last event, which others do not know",
            fix="leave it out",
        )
    ids = IdVocabulary.from_columns(read_videos(inputs.videos).column("video_id"))
    privacy, task = settings.privacy, _recommender_task(model, settings, ids)
    source = RecommenderSource if privacy.epsilon is None else PrivateSource
    sources = {
        name: source(replace(inputs, events=path), settings, model, ids.ids) for name, path in clients.items()
    }

    def save(result: FederatedResult) -> None:
        fitted = task.model(result.state)
        fitted.report["federated"] = describe_rounds(result, settings)
        if isinstance(task, PrivateSums):
            mechanisms = [cost.as_json() for cost in task.costs]
            promise = {"epsilon": privacy.epsilon, "delta": privacy.delta, "unit": UNIT}
            fitted.report["privacy"] = {**promise, "mechanisms": mechanisms, "ledger": CLIENT_LEDGERS}
        fitted.save(out)

    return _FederatedFit(task, sources, save, tables_digest(pa.table({"video_id": ids.ids})))


def _recommender_task(model: str, settings: Settings, ids: IdVocabulary) -> RecommenderTask:
    """Return the task of a recommender, private if the settings have ε."""
    if settings.privacy.epsilon is None:
        return recommender_task(model, settings.retrieval, ids)
    if settings.federated.fraction_bits < LEAST_BITS:
        raise ConfigError(
            f"federated.fraction_bits is {settings.federated.fraction_bits}, and a private fit needs "
            f"{LEAST_BITS}",
            fix="leave it out",
        )
    return PrivateSums(model, settings.retrieval, settings.privacy, ids)


def _ranker_fit(
    clients: Mapping[str, str], inputs: InputPaths, out: str, settings: Settings, start: str | None
) -> _FederatedFit:
    require_no_epsilon(settings.privacy, "a federated ranker")
    if start is None:
        raise ConfigError(
            "a federated ranker starts from another, which says what its features and heads are",
            fix="give --start a folder of `vrec train ranker`, trained on events that may be pooled",
        )
    # Imported here: recommenders need no torch.
    from vrec.pipelines.federated.first_ranker import load_start
    from vrec.ranking.federated.training import BEST_LOSS, RankerSums
    from vrec.ranking.federated.weights import flatten_weights

    first = load_start(start, settings)
    task = RankerSums(first, settings.federated)
    sources = {
        name: RankerSource(replace(inputs, events=path), settings, start) for name, path in clients.items()
    }

    def save(result: FederatedResult) -> None:
        ranker = task.model(result.state)
        # Test metrics of the first ranker are not those of this one.
        ranker.metrics = {"validation_loss": float(result.state[BEST_LOSS][0])}
        ranker.save(out)
        StorageFolder(out).write_json(REPORT, describe_rounds(result, settings))

    weights = hashlib.sha256(flatten_weights(first.network).tobytes()).hexdigest()
    return _FederatedFit(task, sources, save, weights)


def run_on_cluster(
    task: FederatedTask,
    sources: Mapping[str, ShardSource],
    settings: Settings,
    *,
    folder: StorageFolder,
    key: str,
    address: str | None,
) -> FederatedResult:
    """Run the rounds with an actor per client."""
    config = settings.federated
    with connect_cluster(address), unwrap_ray_errors():
        pool = ActorPool(sources, config.cpus_per_client)
        try:
            return FederatedRun(task, pool, config, folder=folder, key=key).run()
        finally:
            pool.close()


def describe_rounds(result: FederatedResult, settings: Settings) -> dict[str, Any]:
    """Return what a manifest says of a federated fit: who took part, who did not and why, and the terms."""
    out: dict[str, dict[str, Any]] = {}
    for one in result.rounds:
        for name, reason in one.left_out.items():
            known = out.setdefault(name, {"rounds": 0, "reason": reason})
            known["rounds"] += 1
    return {
        "rounds": len(result.rounds),
        "secure": settings.federated.secure,
        "took_part": sorted({name for one in result.rounds for name in one.clients}),
        "left_out": out,
    }
