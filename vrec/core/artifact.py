"""Fitted models on disk: a folder of arrays, tables and blobs listed by a manifest, without pickle.

File names contain a digest of the content and the manifest is written last, so a reader sees the
old model or the new one, never a mixture.
"""

import hashlib
import io
import json
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vrec.core.errors import ModelError
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri

MODEL_FORMAT = 1

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """Contents of a fitted model's folder."""

    kind: str
    config: Mapping[str, Any]
    arrays: Arrays = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    """File contents by file name, in a library's own format, such as an index file."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fingerprint of the training data."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """What the fit chose and measured, as JSON values."""


def write_artifact(uri: str, artifact: ModelArtifact, members: Collection[str] = ()) -> None:
    """Write a model's folder, replacing an existing one in one step.

    What the replaced model had is removed; files and folders of others in the same place stay.

    Args:
        uri: Path or URI of the folder.
        artifact: Contents of the model.
        members: Subfolders that hold the model's members, named by `member_folder`.

    Raises:
        OutputError: The folder cannot be written.
        ValueError: An array holds Python objects.
    """
    folder = StorageFolder(uri)
    stale_files = set(folder.files())
    files: dict[str, str] = {}
    for name, data in _files(artifact).items():
        files[name] = hashlib.sha256(data).hexdigest()
        stored = _stored_name(name, files[name])
        if stored not in stale_files:
            folder.write(stored, data)
        stale_files.discard(stored)
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
    for stale in stale_files - {MANIFEST}:
        if _has_own_name(stale):
            folder.remove(stale)
    for name in folder.folders():
        if _has_own_name(name) and name not in members and folder.exists(f"{name}/{MANIFEST}"):
            folder.remove_folder(name)


def member_folder(kind: str) -> str:
    """Return a new name for a member's subfolder, so that the replaced model stays whole until the end."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def read_artifact(uri: str, kind: str | None = None, *, blobs: bool = True) -> ModelArtifact:
    """Read a folder that `write_artifact` wrote, checking every file's digest.

    Args:
        uri: Path or URI of the folder.
        kind: The expected model kind; None accepts any.
        blobs: Whether to read the blobs; without them `ModelArtifact.blobs` is empty.

    Raises:
        ModelError: The folder is missing, damaged, or of another kind than `kind`.
    """
    folder = StorageFolder(uri)
    manifest = _manifest(folder)
    if kind is not None and manifest["kind"] != kind:
        raise ModelError(
            f"{uri} is of kind {manifest['kind']}, not {kind}", fix="give the folder of the other model"
        )
    arrays: Arrays = {}
    tables: dict[str, pa.Table] = {}
    blob_data: dict[str, bytes] = {}
    for name, sha in manifest["files"].items():
        stem, _, ending = name.partition(".")
        if not blobs and ending not in ("npz", "parquet"):
            continue
        data = _read_verified(folder, name, sha)
        if ending == "npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        elif ending == "parquet":
            # Without threads: one that still holds `data` while the interpreter ends aborts the process.
            tables[stem] = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        else:
            blob_data[name] = data
    return ModelArtifact(
        manifest["kind"],
        manifest["config"],
        arrays,
        tables,
        blob_data,
        manifest["data"],
        manifest["metrics"],
    )


def artifact_kind(uri: str) -> str:
    """Return the kind of model in a folder, or raise ModelError where there is none."""
    return _manifest(StorageFolder(uri))["kind"]


def blob_path(uri: str, name: str) -> str | None:
    """Return the local path of a blob for libraries that memory-map files; None on a remote filesystem.

    The digest is not checked, because that would read the whole file.

    Raises:
        ModelError: The model has no such blob.
    """
    folder = StorageFolder(uri)
    sha = _manifest(folder)["files"].get(name)
    if sha is None:
        raise ModelError(f"{uri} has no {name}")
    return folder.path_of(_stored_name(name, sha)) if folder.local else None


def _files(artifact: ModelArtifact) -> dict[str, bytes]:
    files: dict[str, bytes] = dict(artifact.blobs)
    if artifact.arrays:
        for name, array in artifact.arrays.items():
            if array.dtype.hasobject:
                raise ValueError(f"{artifact.kind}.{name} holds Python objects")
        sink = io.BytesIO()
        np.savez(sink, **dict(sorted(artifact.arrays.items())))  # type: ignore[arg-type]
        files["arrays.npz"] = sink.getvalue()
    for name, table in artifact.tables.items():
        out = pa.BufferOutputStream()
        pq.write_table(table, out, compression="zstd")
        files[f"{name}.parquet"] = out.getvalue().to_pybytes()
    return files


def _stored_name(name: str, sha: str) -> str:
    stem, dot, ending = name.partition(".")
    return f"{stem}-{sha[:12]}{dot}{ending}"


def _has_own_name(name: str) -> bool:
    """Return whether a name ends as `_stored_name` and `member_folder` let it end."""
    stem = name.partition(".")[0]
    tail = stem.rpartition("-")[2]
    return len(tail) == 12 and all(c in "0123456789abcdef" for c in tail)


def _read_verified(folder: StorageFolder, name: str, sha: str) -> bytes:
    stored = _stored_name(name, sha)
    try:
        data = folder.read(stored)
    except FileNotFoundError:
        raise ModelError(f"{join_uri(folder.uri, stored)} is missing") from None
    if hashlib.sha256(data).hexdigest() != sha:
        raise ModelError(f"{join_uri(folder.uri, stored)} is not what was written: its digest differs")
    return data


def _manifest(folder: StorageFolder) -> dict[str, Any]:
    if not folder.exists(MANIFEST):
        raise ModelError(
            f"{folder.uri}: no {MANIFEST} there", fix="give the folder that `vrec fit --out` wrote"
        )
    try:
        manifest = json.loads(folder.read(MANIFEST))
        model_format, kind = manifest["format"], manifest["kind"]
        digests = manifest["files"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(
            f"{join_uri(folder.uri, MANIFEST)} is not a model's", fix="give a model's folder"
        ) from None
    if (
        model_format != MODEL_FORMAT
        or not all(isinstance(sha, str) for sha in digests)
        or kind == "embeddings"
    ):
        raise ModelError(
            f"{folder.uri} is of kind {kind}, format {model_format}", fix="give a model's folder"
        )
    return manifest
