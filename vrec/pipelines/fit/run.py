"""`vrec fit` and `vrec recommend`: events to a model's folder, and a model's folder to RECOMMENDATIONS."""

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
    """What was fitted, after fitting the recommender `model` and writing it to the folder `out`.

    The fit runs as a task on the cluster, and those that fit in blocks spread over it. Raises EventsError,
    SchemaError, SourceError or FitError for what cannot be used, OutputError for a folder that cannot
    be written, ClusterError where Ray cannot be reached.
    """
    check_kind(model)
    StorageFolder(out).check_writable()
    material = read_inputs(inputs, settings.events, settings.fit.modality)
    return fit_inputs(material, out, settings, model=model, address=address)


def fit_inputs(
    material: InputData, out: str, settings: Settings, *, model: str, address: str | None = None
) -> dict[str, Any]:
    """As `fit`, of what has been read already."""
    out = absolute_uri(out)
    rows = aggregate_interactions(material.interactions, settings.events.interest)
    with connect_cluster(address), unwrap_ray_errors():
        refs = ray.put(rows), ray.put(material.content)
        fitted, fit_s = ray.get([*start_fit(model, settings.retrieval, *refs, settings.fit)])
        begun = time.perf_counter()
        fitted.save(out)
    return {
        "model": model,
        "out": out,
        "events": material.events.num_rows,
        "duplicates": material.duplicates,
        "future": material.future_events,
        **fitted.sizes,
        "fit_s": round(fit_s, 3),
        "save_s": round(time.perf_counter() - begun, 3),
    }


def recommend_users(uri: str, users: Sequence[str] | None, k: int) -> pa.Table:
    """RECOMMENDATIONS from the model in a folder, for all its users where none are named; needs no cluster.

    Raises ModelError or FitError.
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
    """What was written, after asking the model in `uri` for `users`, or for all that it was fitted with.

    `out` gets `recommendations/*.parquet`, a file a shard of users, and their list in `manifest.json`. A
    user unknown to the model gets no row, unless the model has a fallback for strangers. Raises ModelError,
    FitError, OutputError or ClusterError.
    """
    out = absolute_uri(out)
    StorageFolder(out).check_writable()
    model = load_recommender(uri)
    asked = model.users.ids.to_pylist() if users is None else list(dict.fromkeys(users))
    if not asked:
        raise ModelError(f"{uri}: nobody to recommend to", fix="give --users with at least one user_id")
    begun, folder = time.perf_counter(), StorageFolder(out)
    with connect_cluster(address), unwrap_ray_errors():
        parts = ray.get(start_writing(ray.put(model), asked, k, settings.fit.shard_users, out))
    files = [part.name for part in parts]
    rows, given = sum(part.rows for part in parts), sum(part.users for part in parts)
    about = {
        "kind": RECOMMENDED,
        "format": 1,
        "model": absolute_uri(uri),
        "k": k,
        "rows": rows,
        "files": files,
    }
    folder.write_json(MANIFEST, about)
    for stale in {f"{RECOMMENDED}/{name}" for name in folder.files(RECOMMENDED)} - set(files):
        folder.remove(stale)
    return {"rows": rows, "users": given, "files": files, "seconds": round(time.perf_counter() - begun, 3)}
