"""Folders whose manifest lists the Parquet files of one table of events; see `vrec.events.shards`."""

import json
from typing import Any

import pyarrow.fs as pafs

from vrec.core.errors import EventsError
from vrec.core.tables import MANIFEST

EVENT_SHARDS = "event_shards"
"""The kind of such a manifest."""
SHARDS_FORMAT = 1
"""Version of the layout; no other is read."""


def shard_manifest(filesystem: pafs.FileSystem, path: str) -> dict[str, Any] | None:
    """Return the manifest of a folder of shards; None where the path is anything else.

    Raises:
        EventsError: The folder is of another format.
    """
    # A file on the web is not asked for more than itself.
    if filesystem.get_file_info(path).type != pafs.FileType.Directory:
        return None
    name = f"{path.rstrip('/')}/{MANIFEST}"
    if filesystem.get_file_info(name).type != pafs.FileType.File:
        return None
    with filesystem.open_input_stream(name, compression=None) as stream:
        text = stream.read()
    try:
        manifest = json.loads(text)
    except ValueError:
        return None
    if not isinstance(manifest, dict) or manifest.get("kind") != EVENT_SHARDS:
        return None
    if manifest.get("format") != SHARDS_FORMAT:
        raise EventsError(
            f"{path}: shards of format {manifest.get('format')}; this vrec reads {SHARDS_FORMAT}",
            fix="write them again with `vrec shard`",
        )
    return manifest


def shard_paths(filesystem: pafs.FileSystem, path: str) -> list[str] | None:
    """Return the paths of the files of a folder of shards; None where the path is anything else."""
    manifest = shard_manifest(filesystem, path)
    if manifest is None:
        return None
    return [f"{path.rstrip('/')}/{file['name']}" for file in manifest["files"]]
