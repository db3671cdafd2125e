"""Fitted models on disk: a folder of arrays and tables under a manifest, without any pickle.

Files are named by their content and the manifest is written last, so a reader sees the old
model or the new one, never a mixture.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vrec.core.errors import ModelError
from vrec.core.tables import MANIFEST, StorageFolder

MODEL_FORMAT = 1

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """What a model's folder holds."""

    kind: str
    config: Mapping[str, Any]
    arrays: Arrays = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    """Files in a library's own format, such as an index's."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """A fingerprint of what the model was fitted on."""
    metrics: Mapping[str, float] = field(default_factory=dict)


def write_artifact(uri: str, artifact: ModelArtifact) -> None:
    """Writes a model's folder; one that is there already is replaced in one step.

    Raises OutputError where the folder cannot be written, and ValueError for arrays of Python objects.
    """
    folder = StorageFolder(uri)
    before = set(folder.files())
    files: dict[str, str] = {}
    for name, data in _files(artifact).items():
        files[name] = hashlib.sha256(data).hexdigest()
        stored = _stored(name, files[name])
        if stored not in before:
            folder.write(stored, data)
        before.discard(stored)
    folder.write_json(
        MANIFEST,
        {
            "kind": artifact.kind,
            "format": MODEL_FORMAT,
            "vrec": version("vrec"),
            "config": dict(artifact.config),
            "data": dict(artifact.data),
            "metrics": dict(artifact.metrics),
            "files": files,
        },
    )
    for stale in before - {MANIFEST}:
        if _is_ours(stale):
            folder.remove(stale)


def read_artifact(uri: str, kind: str | None = None, *, blobs: bool = True) -> ModelArtifact:
    """What `write_artefact` wrote; every file's digest is checked. Without `blobs` they are not read.

    Raises ModelError where the folder is missing, damaged, or of another kind than `kind`.
    """
    folder = StorageFolder(uri)
    manifest = _manifest(folder)
    if kind is not None and manifest["kind"] != kind:
        raise ModelError(
            f"{uri} is a {manifest['kind']}, not a {kind}", fix="give the folder of the other model"
        )
    arrays: Arrays = {}
    tables: dict[str, pa.Table] = {}
    found_blobs: dict[str, bytes] = {}
    for name, sha in manifest["files"].items():
        stem, _, ending = name.partition(".")
        if not blobs and ending not in ("npz", "parquet"):
            continue
        data = _sound(folder, name, sha)
        if ending == "npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                arrays = {key: found[key] for key in found.files}
        elif ending == "parquet":
            tables[stem] = pq.read_table(io.BytesIO(data))
        else:
            found_blobs[name] = data
    return ModelArtifact(
        manifest["kind"],
        manifest["config"],
        arrays,
        tables,
        found_blobs,
        manifest["data"],
        manifest["metrics"],
    )


def artifact_kind(uri: str) -> str:
    """The kind of model that a folder holds; raises ModelError where it holds none."""
    return _manifest(StorageFolder(uri))["kind"]


def blob_path(uri: str, name: str) -> str | None:
    """The local path of a blob, for libraries that map files into memory; None on a remote filesystem.

    Raises ModelError where the model has no such blob. The digest is not checked: that would read it all.
    """
    folder = StorageFolder(uri)
    sha = _manifest(folder)["files"].get(name)
    if sha is None:
        raise ModelError(f"{uri} has no {name}")
    return folder.path_of(_stored(name, sha)) if folder.local else None


def _files(artefact: ModelArtifact) -> dict[str, bytes]:
    files: dict[str, bytes] = dict(artefact.blobs)
    if artefact.arrays:
        for name, array in artefact.arrays.items():
            if array.dtype.hasobject:
                raise ValueError(f"{artefact.kind}.{name} holds Python objects")
        sink = io.BytesIO()
        np.savez(sink, **dict(sorted(artefact.arrays.items())))  # type: ignore[arg-type]
        files["arrays.npz"] = sink.getvalue()
    for name, table in artefact.tables.items():
        out = pa.BufferOutputStream()
        pq.write_table(table, out, compression="zstd")
        files[f"{name}.parquet"] = out.getvalue().to_pybytes()
    return files


def _stored(name: str, sha: str) -> str:
    stem, dot, ending = name.partition(".")
    return f"{stem}-{sha[:12]}{dot}{ending}"


def _is_ours(name: str) -> bool:
    stem = name.partition(".")[0]
    tail = stem.rpartition("-")[2]
    return len(tail) == 12 and all(c in "0123456789abcdef" for c in tail)


def _sound(folder: StorageFolder, name: str, sha: str) -> bytes:
    stored = _stored(name, sha)
    try:
        data = folder.read(stored)
    except FileNotFoundError:
        raise ModelError(f"{folder.uri}/{stored} is missing") from None
    if hashlib.sha256(data).hexdigest() != sha:
        raise ModelError(f"{folder.uri}/{stored} is not what was written: its digest differs")
    return data


def _manifest(folder: StorageFolder) -> dict[str, Any]:
    if not folder.exists(MANIFEST):
        raise ModelError(
            f"{folder.uri}: no {MANIFEST} there", fix="give the folder that `vrec fit --out` wrote"
        )
    try:
        manifest = json.loads(folder.read(MANIFEST))
        form, files, kind = manifest["format"], manifest["files"], manifest["kind"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{folder.uri}/{MANIFEST} is not a model's", fix="give a model's folder") from None
    if (
        form != MODEL_FORMAT
        or not all(isinstance(sha, str) for sha in files.values())
        or kind == "embeddings"
    ):
        raise ModelError(f"{folder.uri} is of kind {kind}, format {form}", fix="give a model's folder")
    return manifest
