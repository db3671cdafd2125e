"""`vrec fit`, from events to a model's folder, and `vrec recommend`, from that to RECOMMENDATIONS."""

import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import ray

from vrec.config.settings import Settings
from vrec.core.errors import ModelError
from vrec.core.tables import MANIFEST, StorageFolder, absolute_uri
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.fit.tasks import RECOMMENDED, start_fit, start_writing
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.retrieval.registry import check_kind, load_recommender


def fit(
    inputs: InputPaths, out: str, settings: Settings, *, model: str, address: str | None = None
) -> dict[str, Any]:
    """Fit the recommender named `model`, write it to the folder `out` and return a summary.

    The fit runs as a task on the cluster; a model that is computed in blocks spreads them over the cluster.

    Raises:
        EventsError, SchemaError, SourceError, FitError: the input cannot be used.
        OutputError: the folder cannot be written.
        ClusterError: Ray cannot be reached.
    """
    check_kind(model)
    StorageFolder(out).check_writable()
    data = read_inputs(inputs, settings.events, settings.fit.modality)
    return fit_inputs(data, out, settings, model=model, address=address)


def fit_inputs(
    inputs: InputData, out: str, settings: Settings, *, model: str, address: str | None = None
) -> dict[str, Any]:
    """Fit like `fit`, on inputs that have been read."""
    out = absolute_uri(out)
    interactions = aggregate_interactions(inputs.interactions, settings.events.interest)
    with connect_cluster(address), unwrap_ray_errors():
        refs = ray.put(interactions), ray.put(inputs.content)
        fitted, fit_s = ray.get([*start_fit(model, settings.retrieval, *refs, settings.fit)])
        begun = time.perf_counter()
        fitted.save(out)
        save_s = time.perf_counter() - begun
    return {
        "model": model,
        "out": out,
        "events": inputs.events.num_rows,
        "duplicates": inputs.duplicates,
        "future": inputs.future_events,
        **fitted.sizes,
        "fit_s": round(fit_s, 3),
        "save_s": round(save_s, 3),
    }


def recommend_users(uri: str, users: Sequence[str] | None, k: int) -> pa.Table:
    """Return RECOMMENDATIONS of the model in a folder, for all its users where `users` is None.

    Runs in this process. Raises ModelError or FitError.
    """
    model = load_recommender(uri)
    return model.recommend(model.users.ids.to_pylist() if users is None else users, k)


def recommend_all(
    uri: str,
    out: str,
    settings: Settings,
    *,
    k: int,
    users: Sequence[str] | None = None,
    address: str | None = None,
) -> dict[str, Any]:
    """Write recommendations of the model in `uri` on the cluster and return a summary.

    `out` gets `recommendations/*.parquet`, one file per shard of users, and their list in `manifest.json`;
    files of an earlier run are removed.

    Args:
        uri: the folder of the model.
        out: the folder to write to.
        settings: `fit.shard_users` is the number of users per task and file.
        k: videos per user.
        users: ids, all users of the model where None. An unknown user gets no row, unless the model has a
            fallback for new users.
        address: the Ray cluster, as `connect_cluster` takes it.

    Raises:
        ModelError, FitError, OutputError, ClusterError: the job cannot run.
    """
    out = absolute_uri(out)
    folder = StorageFolder(out)
    folder.check_writable()
    model = load_recommender(uri)
    user_ids = model.users.ids.to_pylist() if users is None else list(dict.fromkeys(users))
    if not user_ids:
        raise ModelError(f"{uri}: nobody to recommend to", fix="give --users with at least one user_id")
    begun = time.perf_counter()
    with connect_cluster(address), unwrap_ray_errors():
        written = ray.get(start_writing(ray.put(model), user_ids, k, settings.fit.shard_users, out))
    names = [file.name for file in written]
    rows, answered = sum(file.rows for file in written), sum(file.users for file in written)
    manifest = {
        "kind": RECOMMENDED,
        "format": 1,
        "model": absolute_uri(uri),
        "k": k,
        "rows": rows,
        "files": names,
    }
    folder.write_json(MANIFEST, manifest)
    for stale in {f"{RECOMMENDED}/{name}" for name in folder.files(RECOMMENDED)} - set(names):
        folder.remove(stale)
    seconds = round(time.perf_counter() - begun, 3)
    return {"rows": rows, "users": answered, "files": names, "seconds": seconds}
