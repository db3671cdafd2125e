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
from vrec.core.tables import MANIFEST, Folder

MODEL_FORMAT = 1

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Artefact:
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


def write_artefact(uri: str, artefact: Artefact) -> None:
    """Writes a model's folder; one that is there already is replaced in one step.

    Raises OutputError where the folder cannot be written, and ValueError for arrays of Python objects.
    """
    folder = Folder(uri)
    before = set(folder.files())
    files: dict[str, str] = {}
    for name, data in _files(artefact).items():
        files[name] = hashlib.sha256(data).hexdigest()
        stored = _stored(name, files[name])
        if stored not in before:
            folder.write(stored, data)
        before.discard(stored)
    folder.write_json(
        MANIFEST,
        {
            "kind": artefact.kind,
            "format": MODEL_FORMAT,
            "vrec": version("vrec"),
            "config": dict(artefact.config),
            "data": dict(artefact.data),
            "metrics": dict(artefact.metrics),
            "files": files,
        },
    )
    for stale in before - {MANIFEST}:
        if _is_ours(stale):
            folder.remove(stale)


def read_artefact(uri: str, kind: str | None = None, *, blobs: bool = True) -> Artefact:
    """What `write_artefact` wrote; every file's digest is checked. Without `blobs` they are not read.

    Raises ModelError where the folder is missing, damaged, or of another kind than `kind`.
    """
    folder = Folder(uri)
    manifest = _manifest(folder)
    if kind is not None and manifest["kind"] != kind:
        raise ModelError(
            f"{uri} is a {manifest['kind']}, not a {kind}", mend="give the folder of the other model"
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
    return Artefact(
        manifest["kind"],
        manifest["config"],
        arrays,
        tables,
        found_blobs,
        manifest["data"],
        manifest["metrics"],
    )


def artefact_kind(uri: str) -> str:
    """The kind of model that a folder holds; raises ModelError where it holds none."""
    return _manifest(Folder(uri))["kind"]


def blob_path(uri: str, name: str) -> str | None:
    """The local path of a blob, for libraries that map files into memory; None on a remote filesystem.

    Raises ModelError where the model has no such blob. The digest is not checked: that would read it all.
    """
    folder = Folder(uri)
    sha = _manifest(folder)["files"].get(name)
    if sha is None:
        raise ModelError(f"{uri} has no {name}")
    return folder.at(_stored(name, sha)) if folder.local else None


def _files(artefact: Artefact) -> dict[str, bytes]:
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


def _sound(folder: Folder, name: str, sha: str) -> bytes:
    stored = _stored(name, sha)
    try:
        data = folder.read(stored)
    except FileNotFoundError:
        raise ModelError(f"{folder.uri}/{stored} is missing") from None
    if hashlib.sha256(data).hexdigest() != sha:
        raise ModelError(f"{folder.uri}/{stored} is not what was written: its digest differs")
    return data


def _manifest(folder: Folder) -> dict[str, Any]:
    if not folder.exists(MANIFEST):
        raise ModelError(
            f"{folder.uri}: no {MANIFEST} there", mend="give the folder that `vrec fit --out` wrote"
        )
    try:
        manifest = json.loads(folder.read(MANIFEST))
        form, files, kind = manifest["format"], manifest["files"], manifest["kind"]
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{folder.uri}/{MANIFEST} is not a model's", mend="give a model's folder") from None
    if (
        form != MODEL_FORMAT
        or not all(isinstance(sha, str) for sha in files.values())
        or kind == "embeddings"
    ):
        raise ModelError(f"{folder.uri} is of kind {kind}, format {form}", mend="give a model's folder")
    return manifest
