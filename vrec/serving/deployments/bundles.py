"""Bundles that the shop may be moved to, and the Ray actor that moves it."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from vrec.bundle.summary import BundleSummary, bundle_names, list_bundles, read_summary
from vrec.config.serve import ServeConfig
from vrec.core.errors import OutputError, ServeError, SourceError, VrecError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.serving.bundle_moves import (
    BundleMove,
    CannotMove,
    MoveRuns,
    UnknownBundle,
    UnreadableBundle,
    read_move,
    write_move,
)
from vrec.serving.change_lock import LOCK, NAMESPACE, is_changing
from vrec.serving.tenants.context import as_tenant, name_tenants_in_logs

logger = logging.getLogger("ray.serve")

IDLE_S = 60.0
"""Seconds after which a mover that got nothing to do, since who made it is gone, ends."""


class BundleOperations:
    """Bundles below the folder `serve.bundles`, and moves to them, each by a process of its own."""

    def __init__(self, config: ServeConfig, tenant: str) -> None:
        """Build it over the settings of a tenant's shop."""
        self._folder, self._data, self._tenant = config.bundles, config.data, tenant
        self._setting = f"serve.tenants.{tenant}.bundles" if tenant else "serve.bundles"

    async def summaries(self) -> Sequence[BundleSummary]:
        """See BundlesBackend."""
        return [] if self._folder is None else await asyncio.to_thread(_listed, self._folder)

    async def problem(self) -> str | None:
        """See BundlesBackend."""
        return await asyncio.to_thread(self._problem)

    async def last_move(self) -> BundleMove | None:
        """See BundlesBackend."""
        return await asyncio.to_thread(self._last_move)

    async def move(self, name: str) -> BundleMove:
        """See BundlesBackend."""
        return await asyncio.to_thread(self._move, name)

    def _problem(self) -> str | None:
        if self._folder is None:
            return f"no folder of bundles is named: {self._setting} is not set"
        if _is_missing(self._folder):
            return f"the folder that {self._setting} names does not exist"
        return None

    def _last_move(self) -> BundleMove | None:
        # In this order: the mover records the end of the move before it ends itself.
        runs = is_changing()
        last = read_move(self._data)
        if last is not None and last.state == "running" and not runs:
            return replace(last, state="failed", why="the process that moved the service was lost")
        return last

    def _move(self, name: str) -> BundleMove:
        if self._folder is None or _is_missing(self._folder):
            raise UnknownBundle(
                f"there is no bundle {name} to move to: {self._problem()}",
                fix=f"start the service with {self._setting}, a folder whose subfolders are bundles",
            )
        if name not in _names(self._folder):
            raise UnknownBundle(f"there is no bundle {name} to move to")
        if problem := read_summary(self._folder, name).problem:
            raise UnreadableBundle(f"{name} is no readable bundle: {problem}")
        _check_movable()
        try:
            options = {"name": LOCK, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0}
            # It outlives this replica, which may move to another node meanwhile.
            mover: Any = ray.remote(BundleMover).options(**options).remote()
        except ValueError:
            raise MoveRuns("the service is being moved to another bundle") from None
        move = BundleMove(name, "running", time.time_ns() // 1000)
        try:
            write_move(self._data, move)
        except BaseException:
            ray.kill(mover)
            raise
        mover.run.remote(self._tenant, self._data, join_uri(self._folder, name), move)
        return move


class BundleMover:
    """Ray actor that makes one move, and ends."""

    def __init__(self) -> None:
        """Wait for the move."""
        name_tenants_in_logs()
        self._idle = threading.Timer(IDLE_S, os._exit, [1])
        self._idle.daemon = True
        self._idle.start()

    def run(self, tenant: str, data: str, uri: str, move: BundleMove) -> None:
        """Move a tenant's shop to a bundle, and record the end of the move."""
        self._idle.cancel()
        try:
            with as_tenant(tenant):
                why = why_not_moved(tenant, uri)
            # The reader knows the name alone, not where the folder is.
            record_end(data, move, why and why.replace(mask_credentials(uri), move.bundle))
        finally:
            # An actor that leaves by itself would wait for the threads of Serve's handles, which do not end.
            ray.kill(ray.get_runtime_context().current_actor)


def why_not_moved(tenant: str, uri: str) -> str | None:
    """Move a tenant's shop in the running service; return why it could not, None if it is moved."""
    # Imported here: it imports the deployments.
    from vrec.serving.redeploy import change_bundle

    try:
        change_bundle(tenant, uri)
    except VrecError as error:
        return mask_credentials(f"{error}. Fix: {error.fix}")
    except Exception as error:  # whatever it is, the move has an end
        logger.exception("the service was not moved")
        return mask_credentials(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return None


def record_end(data: str, move: BundleMove, why: str | None) -> None:
    """Record the end of a move, with the reason if it failed."""
    ended = replace(move, state="failed" if why else "done", ended_at=time.time_ns() // 1000, why=why)
    try:
        write_move(data, ended)
    except OutputError as error:
        logger.error("the end of a move is not recorded", extra={"bundle": move.bundle, "why": str(error)})


def _check_movable() -> None:
    """Raise CannotMove if this process is no replica of the application as it is deployed by a config."""
    from vrec.serving.redeploy import is_changeable

    try:
        application = serve.get_replica_context().app_name
    except RayServeException:
        raise CannotMove("the service does not run on Ray Serve") from None
    if not is_changeable(application):
        raise CannotMove(f"the application {application} was not deployed by `vrec serve` or `serve deploy`")


def _listed(folder: str) -> list[BundleSummary]:
    try:
        return list_bundles(folder)
    except (OSError, SourceError) as error:
        raise _unreadable(error) from None


def _is_missing(folder: str) -> bool:
    try:
        return StorageFolder(folder).is_missing
    except (OSError, SourceError) as error:
        raise _unreadable(error) from None


def _names(folder: str) -> list[str]:
    try:
        return bundle_names(folder)
    except (OSError, SourceError) as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError | SourceError) -> ServeError:
    reason = str(error) if isinstance(error, SourceError) else os_error_reason(error)
    return ServeError(
        f"the folder of the bundles cannot be read: {mask_credentials(reason)}",
        fix="see that serve.bundles names a folder that every node reads",
    )
