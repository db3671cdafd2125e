"""`vrec bundles`: the bundles of a folder, their history, and moves by hand."""

import time
from dataclasses import asdict
from typing import Any

from vrec.bundle.diff import compare_manifests
from vrec.bundle.summary import list_bundles
from vrec.config.loop import LoopConfig
from vrec.core.errors import SourceError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.secrets import read_secret
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.loop.promotions import (
    PromotionHistory,
    PromotionKind,
    bundle_version_of,
    rollback_target,
    rolled_back,
)
from vrec.loop.service import ServiceClient

BY_COMMAND = "command"
"""Author of the changes of commands in the history; with the time, so that each is another one."""


def service_client(url: str | None, config: LoopConfig) -> ServiceClient | None:
    """Return a client of a service with the key of the settings; None without an address."""
    if url is None:
        return None
    return ServiceClient(url, read_secret(config.key_variable), config.timeout_s)


def bundle_table(bundles: str, client: ServiceClient | None) -> dict[str, Any]:
    """Return the bundles of a folder, the newest first, with what the history says of each.

    Raises:
        SourceError: The folder cannot be read.
        ServiceRefused: The service does not answer.
    """
    try:
        found = list_bundles(bundles)
    except OSError as error:
        raise SourceError(
            f"{mask_credentials(bundles)}: {os_error_reason(error)}", fix="give the folder of the bundles"
        ) from None
    entries = PromotionHistory(bundles).entries()
    current = entries[-1].version if entries else None
    if client is not None:
        current = client.in_service().version
    barred = rolled_back(entries)
    promoted = {entry.bundle: entry.at for entry in entries}
    rows = [
        {
            "name": one.name,
            "version": one.version,
            "made_at": one.made_at,
            "videos": one.videos,
            "in_service": one.version is not None and one.version == current,
            "promoted_at": promoted.get(one.name),
            "rolled_back": one.name in barred,
            "problem": one.problem,
        }
        for one in found
    ]
    return {"bundles": rows, "history": [asdict(entry) for entry in entries]}


def bundle_difference(bundles: str, before: str, after: str) -> dict[str, Any]:
    """Return the differences between two bundles of a folder; raises LoopError or BundleError."""
    for name in (before, after):
        bundle_version_of(bundles, name)
    found = compare_manifests(join_uri(bundles, before), join_uri(bundles, after))
    return {"before": before, "after": after, **found.as_json()}


def promote(bundles: str, name: str, client: ServiceClient | None, config: LoopConfig) -> dict[str, Any]:
    """Put a bundle of a folder in service, whatever tests say of it, and record it.

    Raises:
        LoopError: There is no such bundle.
        ServiceRefused: The service refuses the bundle, and stays with the one before.
    """
    return _change(bundles, "promotion", name, client, config)


def roll_back(bundles: str, client: ServiceClient | None, config: LoopConfig) -> dict[str, Any]:
    """Put the bundle in service that was there before, and record it; the loop promotes no such one again.

    Raises:
        LoopError: There is none.
        ServiceRefused: The service refuses it, and stays with the one that it has.
    """
    target = rollback_target(PromotionHistory(bundles).entries())
    return _change(bundles, "rollback", target, client, config)


def _change(
    bundles: str, kind: PromotionKind, name: str, client: ServiceClient | None, config: LoopConfig
) -> dict[str, Any]:
    bundles = StorageFolder(bundles).uri
    bundle_version_of(bundles, name)
    history = PromotionHistory(bundles)
    current = history.current
    previous = None if current is None else current.bundle
    if client is not None:
        previous = client.in_service().name
        client.move(name, config.move_s)
    by = f"{BY_COMMAND} {time.time_ns()}"
    entry = history.add(kind, name, previous, by=by, why="by hand")
    return {"kind": kind, "bundle": name, "version": entry.version, "previous": previous}
