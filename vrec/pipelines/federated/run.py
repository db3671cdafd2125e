"""`vrec federate`: a recommender or ranker from the events of several clients, which stay where they are."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.digest import digest
from vrec.core.errors import ConfigError, SourceError
from vrec.core.tables import StorageFolder, tables_digest
from vrec.core.uris import absolute_uri
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.federated.actors import ActorPool
from vrec.pipelines.federated.client import ShardSource
from vrec.pipelines.federated.rounds import CHECKPOINT_FOLDER, FederatedResult, FederatedRun
from vrec.pipelines.federated.sources import PrivateSource, RankerSource, RecommenderSource
from vrec.pipelines.federated.tables import client_tables
from vrec.pipelines.fit.private import UNIT, require_no_defence
from vrec.pipelines.inputs import InputPaths, read_videos
from vrec.pipelines.output import lock_folder
from vrec.privacy.config import require_no_epsilon
from vrec.privacy.secure_sum.client import check_threshold
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
CLIENT_CONSENT = "each client leaves out its shoppers without consent to fits"
"""Entry `consent` of a federated fit in its manifest, where clients have CONSENTS."""
_SETTINGS = ("events", "retrieval", "privacy", "federated", "fit", "train")
"""Settings in which runs that share checkpoints do not differ."""


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
    consent: Sequence[str] = (),
    links: Sequence[str] = (),
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
        consent: CONSENTS of the clients, as NAME=PATH, or as PATH for all without one of their own.
        links: LINKS of the clients, likewise.
        address: A Ray cluster; None starts one here.

    Raises:
        ConfigError: The model has no federated form, or not with these settings, or a table is of no client.
        FederatedError: There are too few clients, or a round had.
        SourceError, SchemaError, ModelError: The catalog, or the first ranker, cannot be read.
        OutputError: The folder cannot be written.
        ClusterError: Ray cannot be reached.
    """
    out, begun = absolute_uri(out), time.perf_counter()
    folder = StorageFolder(out)
    tables = client_tables(clients, inputs, consent=consent, links=links)
    if settings.federated.secure:
        check_threshold(len(tables), len(tables))
    if model == RANKER:
        fit = _ranker_fit(tables, out, settings, start)
    else:
        if start is not None:
            raise ConfigError(f"--start is for the model {RANKER}, not {model}", fix="leave --start out")
        fit = _recommender_fit(tables, inputs.videos, out, settings, model)
    folder.check_writable()
    key = digest(
        {
            "model": model,
            "clients": sorted((name, one.events, one.consent, one.links) for name, one in tables.items()),
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
        **_consent_report(tables),
        "resumed_from": result.resumed_from,
        "fit_s": round(time.perf_counter() - begun, 3),
    }


def _recommender_fit(
    tables: Mapping[str, InputPaths], videos: str | None, out: str, settings: Settings, model: str
) -> _FederatedFit:
    if videos is None:
        raise ConfigError(
            "a federated recommender needs the catalog, which clients and coordinator share",
            fix="give --videos a VIDEOS table",
        )
    if settings.events.interest.half_life_days is not None:
        raise ConfigError(
            "events.interest.half_life_days counts from a client's last event, which others do not know",
            fix="leave it out",
        )
    if settings.events.of != "video":
        raise ConfigError(
            f"events.of {settings.events.of} has no federated form", fix="leave it out, or fit in one place"
        )
    ids = IdVocabulary.from_columns(read_videos(videos).column("video_id"))
    if not len(ids):
        raise SourceError(f"{videos}: the catalog has no videos")
    require_no_defence(settings)
    privacy, task = settings.privacy, _recommender_task(model, settings, ids)
    source = RecommenderSource if privacy.epsilon is None else PrivateSource
    sources = {name: source(one, settings, model, ids.ids) for name, one in tables.items()}

    def save(result: FederatedResult) -> None:
        fitted = task.model(result.state)
        fitted.report["federated"] = describe_rounds(result, settings) | _consent_report(tables)
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
    tables: Mapping[str, InputPaths], out: str, settings: Settings, start: str | None
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

    start = absolute_uri(start)
    first = load_start(start, settings)
    task = RankerSums(first, settings.federated)
    sources = {name: RankerSource(one, settings, start) for name, one in tables.items()}

    def save(result: FederatedResult) -> None:
        ranker = task.model(result.state)
        # Test metrics of the first ranker are not those of this one.
        ranker.metrics = {"validation_loss": float(result.state[BEST_LOSS][0])}
        ranker.save(out)
        StorageFolder(out).write_json(REPORT, describe_rounds(result, settings) | _consent_report(tables))

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


def _consent_report(tables: Mapping[str, InputPaths]) -> dict[str, str]:
    # No numbers: that of one client would be known.
    return {"consent": CLIENT_CONSENT} if any(one.consent for one in tables.values()) else {}


def describe_rounds(result: FederatedResult, settings: Settings) -> dict[str, Any]:
    """Return the entry of a manifest: who took part, who did not and why, and the terms."""
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
