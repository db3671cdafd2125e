"""`vrec fit`, from events to a model's folder, and `vrec recommend`, from that to RECOMMENDATIONS."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.errors import ModelError
from vrec.core.masking import mask_credentials
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri, join_uri
from vrec.events.hiding import last_hides
from vrec.events.interactions import DAY_US, aggregate_interactions
from vrec.pipelines.fit.defence import defend_inputs, hide_left_out
from vrec.pipelines.fit.local import (
    MAX_EXAMPLES,
    RECOMMENDED,
    RecommendationFile,
    fit_model,
    fits_here,
    write_shard,
)
from vrec.pipelines.fit.sharded import TRIALS, fit_shards, large_shards, trials_folder
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.held_content import hold_back_content
from vrec.pipelines.inputs import InputData, InputPaths, inputs_report, read_inputs
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.batch import BatchRecommender, newest_at, popular_fallback
from vrec.retrieval.config import check_kind
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.registry import load_recommender

_log = logging.getLogger(__name__)


def fit(
    inputs: InputPaths, out: str, settings: Settings, *, model: str, address: str | None = None
) -> dict[str, Any]:
    """Fit the recommender named `model`, write it to the folder `out` and return a summary.

    Where `auto` was interrupted, the same command continues after the trials that it had finished.
    A small fit runs in this process (see `fit.local_interactions`), any other as a task on the cluster, where
    a model that is computed in blocks spreads them over the cluster. Events in shards, if there are many, are
    weighed there too, and this process holds none of them.

    Raises:
        EventsError, SchemaError, SourceError, FitError: the input cannot be used.
        GateError: the data gates found faults, and stop.
        OutputError: the folder cannot be written.
        ClusterError: Ray cannot be reached.
    """
    check_kind(model)
    StorageFolder(out).check_writable()
    if (table := large_shards(inputs, settings, address)) is not None:
        done = fit_shards(table, inputs, out, settings, model=model, address=address)
        if done is not None:
            return done
    data = read_inputs(inputs, settings.events, settings.fit.modality, GateOptions(out))
    data, held = hold_back_content(data, inputs.embeddings, settings.bundle)
    if held:
        _log.info("%s videos are held back: their embeddings do not count", f"{len(held):,}")
    done = fit_inputs(data, out, settings, model=model, address=address)
    return done | ({"held_back": held} if held else {})


def fit_inputs(
    inputs: InputData, out: str, settings: Settings, *, model: str, address: str | None = None
) -> dict[str, Any]:
    """Fit like `fit`, on inputs that have been read."""
    out = absolute_uri(out)
    _log.info("fitting %s on %s events", model, f"{inputs.events.num_rows:,}")
    aggregated = aggregate_interactions(inputs.interactions, settings.events.interest)
    defended = defend_inputs(aggregated, settings.robustness.defence)
    interactions = defended.interactions
    if defended.weights is not None or fits_here(interactions.num_rows, settings.fit, address):
        fitted, fit_s = fit_model(
            model,
            settings.retrieval,
            interactions,
            inputs.content,
            trials=join_uri(out, TRIALS),
            shopper_weights=defended.weights,
        )
    else:
        trials = trials_folder(out, address)
        fitted, fit_s = _fit_on_cluster(model, interactions, inputs.content, settings, address, trials=trials)
    fitted.hides = hide_left_out(last_hides(inputs.events), defended)
    if defended.report:
        fitted.report |= {"defence": defended.report}
    fitted.report |= inputs_report(inputs)
    for line in report_lines(fitted.report):
        _log.info("%s", line)
    begun = time.perf_counter()
    fitted.save(out)
    if inputs.gates is not None:
        inputs.gates.save(out)
    StorageFolder(out).remove_folder(TRIALS)
    save_s = time.perf_counter() - begun
    return {
        "model": model,
        "out": out,
        "events": inputs.events.num_rows,
        "duplicates": inputs.duplicates,
        "future": inputs.future_events,
        **inputs_report(inputs),
        **fitted.sizes,
        "fit_s": round(fit_s, 3),
        "save_s": round(save_s, 3),
        "chosen": fitted.report,
    }


def _fit_on_cluster(
    model: str,
    interactions: pa.Table,
    content: CatalogContent | None,
    settings: Settings,
    address: str | None,
    *,
    trials: str | None,
) -> tuple[MatrixRecommender, float]:
    # Imported here: Ray takes longer to import and to start than a small fit.
    import ray

    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.pipelines.fit.tasks import start_fit

    with connect_cluster(address), unwrap_ray_errors():
        refs = ray.put(interactions), ray.put(content)
        started = start_fit(model, settings.retrieval, *refs, settings.fit, trials=trials)
        fitted, fit_s = ray.get([*started])
    return fitted, fit_s


def _write_on_cluster(
    batch: BatchRecommender, users: Sequence[str], k: int, out: str, *, shard: int, address: str | None
) -> list[RecommendationFile]:
    import ray

    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.pipelines.fit.tasks import start_writing

    with connect_cluster(address), unwrap_ray_errors():
        return ray.get(start_writing(ray.put(batch), users, k, shard, out))


@dataclass(frozen=True, slots=True)
class RecommendOptions:
    """Options of recommending in batches."""

    events: InputPaths | None = None
    """Newer events of the users; those up to the fit's latest are left out, as the model knows them."""
    fallback: bool = True
    """Whether users without a history get the popular videos."""
    allow_seen: bool = False
    """Whether videos of a user's own history may be recommended."""


def open_batch(uri: str, settings: Settings, options: RecommendOptions) -> BatchRecommender:
    """Load the model in a folder, with newer events and a fallback as the options say.

    Raises ModelError, or EventsError, SchemaError or SourceError for events that cannot be read.
    """
    model = load_recommender(uri)
    fallback = popular_fallback(model, settings.retrieval.popular) if options.fallback else None
    if model.released_counts is not None and options.events is None:
        raise ModelError(
            f"{uri}: a private model holds no histories", fix="give --events with those of the shoppers"
        )
    batch = BatchRecommender(model, fallback=fallback, allow_seen=options.allow_seen, hides=model.hides)
    if options.events is None:
        return batch
    interest = settings.events.interest
    data = read_inputs(options.events, settings.events, settings.fit.modality)
    rows = data.interactions
    at = np.asarray(rows.column("at").cast(pa.int64()))
    last = newest_at(model)
    newer = aggregate_interactions(rows.filter(pa.array(at > last)), interest)
    fade = 1.0
    if interest.half_life_days is not None and newer.num_rows:
        fade = 0.5 ** ((at.max() - last) / DAY_US / interest.half_life_days)
    return replace(batch, newer=newer, fade=fade, hides=last_hides(data.events, model.hides))


def recommend_users(
    uri: str,
    users: Sequence[str] | None,
    k: int,
    settings: Settings | None = None,
    options: RecommendOptions | None = None,
) -> pa.Table:
    """Return RECOMMENDATIONS of the model in a folder, for all users where `users` is None.

    Runs in this process. Raises FitError, and as `open_batch` does.
    """
    batch = open_batch(uri, settings or Settings(), options or RecommendOptions())
    return batch.recommend(batch.all_users() if users is None else users, k)


def recommend_all(
    uri: str,
    out: str,
    settings: Settings,
    *,
    k: int,
    users: Sequence[str] | None = None,
    options: RecommendOptions | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Write recommendations of the model in `uri` and return a summary.

    One shard of users is computed in this process where no cluster is named, several on the cluster.

    `out` gets `recommendations/*.parquet`, one file per shard of users, and their list in `manifest.json`;
    files of an earlier run are removed.

    Args:
        uri: the folder of the model.
        out: the folder to write to.
        settings: `fit.shard_users` is the number of users per task and file.
        k: videos per user.
        users: ids, all users of the model and of newer events where None.
        options: newer events, the fallback for users without a history, and videos that a user has seen.
        address: the Ray cluster, as `connect_cluster` takes it.

    Raises:
        ModelError, FitError, OutputError, ClusterError: the job cannot run.
        EventsError, SchemaError, SourceError: the events cannot be read.
    """
    out = absolute_uri(out)
    folder = StorageFolder(out)
    folder.check_writable()
    batch = open_batch(uri, settings, options or RecommendOptions())
    user_ids = batch.all_users() if users is None else list(dict.fromkeys(users))
    if not user_ids:
        raise ModelError(f"{uri}: nobody to recommend to", fix="give --users with at least one user_id")
    begun = time.perf_counter()
    shard = settings.fit.shard_users
    if address is None and len(user_ids) <= shard:
        written = [write_shard(batch, user_ids, k, out, 0)]
    else:
        written = _write_on_cluster(batch, user_ids, k, out, shard=shard, address=address)
    names = [file.name for file in written]
    rows, answered = sum(file.rows for file in written), sum(file.users for file in written)
    manifest = {
        "kind": RECOMMENDED,
        "format": 1,
        "model": mask_credentials(absolute_uri(uri)),
        "k": k,
        "rows": rows,
        "files": names,
    }
    folder.write_json(MANIFEST, manifest)
    for stale in {f"{RECOMMENDED}/{name}" for name in folder.files(RECOMMENDED)} - set(names):
        folder.remove(stale)
    seconds = round(time.perf_counter() - begun, 3)
    unanswered = [user for file in written for user in file.unanswered]
    return {
        "rows": rows,
        "users": answered,
        "files": names,
        "seconds": seconds,
        "without": len(user_ids) - answered,
        "without_examples": unanswered[:MAX_EXAMPLES],
    }
