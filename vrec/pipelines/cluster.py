"""Connection to Ray: a cluster by its address, the cluster that the job runs in, or a local one."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from vrec.core import errors
from vrec.core.errors import VrecError, os_error_reason
from vrec.core.full_disk import full_disk_error
from vrec.core.threads import THREAD_SETTINGS

# One thread per worker: on few cores, thread pools of NumPy, torch and BLAS in every actor cost
# more than they give.
WORKER_ENVIRONMENT: dict[str, str] = dict.fromkeys((*THREAD_SETTINGS, "NUMEXPR_NUM_THREADS"), "1") | {
    # Serve's proxies log and echo any X-Request-ID otherwise.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "vrec.serving.http.request_ids:proxy_middlewares",
}
# Ray's own 300 s: so long a task would be waited for on a machine that is gone without a word, as when its
# power or network fails.
KEEPALIVE_ENVIRONMENT = {
    "RAY_grpc_client_keepalive_time_ms": "15000",
    "RAY_grpc_client_keepalive_timeout_ms": "15000",
}


class ClusterError(VrecError):
    """Ray could not be started or reached."""

    fix = (
        "check --address and that `ray status` answers; for a cluster that asks for a token set "
        "RAY_AUTH_MODE=token; leave --address out to start Ray here"
    )


_LOSSES = (
    ray.exceptions.RayActorError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
)
_NODE = re.compile(r"node (has |was |is )?(died|dead|terminated|preempted|removed)|its node")


@dataclass(frozen=True, slots=True)
class ClusterResources:
    """Resources of a cluster at this moment."""

    nodes: int
    cpus: float
    gpus: float
    ray_version: str


ConnectCluster = Callable[[], ClusterResources]
"""Connects to the cluster on its first call; later calls return the same resources."""


@contextlib.contextmanager
def connect_cluster(address: str | None = None) -> Iterator[ClusterResources]:
    """Connect this process to a cluster inside the `with` and yield its resources.

    An existing connection is used as it is; else `address`, else RAY_ADDRESS (which
    `ray job submit` sets), else a local Ray that ends with the block. Raises ClusterError.
    """
    # No telemetry: Ray Data would report usage through an actor of its own on the cluster.
    os.environ.setdefault("RAY_DATA_USAGE_DISABLED", "1")
    for name, value in KEEPALIVE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield _resources()
        return
    target = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_address(target)
    verbose = bool(os.environ.get("VREC_RAY_LOGS"))
    options: dict[str, Any]
    if target == "local":
        # A new Ray inherits the environment; a runtime environment would make it discard the workers
        # that it starts ahead of need.
        os.environ.update(WORKER_ENVIRONMENT)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"include_dashboard": False}
    else:
        options = {"runtime_env": {"env_vars": WORKER_ENVIRONMENT | KEEPALIVE_ENVIRONMENT}}
    try:
        with contextlib.nullcontext() if verbose else _without_backend_lines():
            ray.init(address=target, log_to_driver=verbose, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.AuthenticationError) as error:
        raise ClusterError(f"no Ray at {target}: {' '.join(str(error).split())[:300]}") from None
    except Exception as error:
        # Ray raises a plain Exception where a node of its own does not start within 30 s.
        if "timed out during startup" not in str(error):
            raise
        raise ClusterError(
            "Ray did not start within 30 s, as on a machine that is very busy or has little memory left",
            fix="run the same command again when the machine has room, or on a running Ray by --address",
        ) from None
    try:
        yield _resources()
    finally:
        ray.shutdown()


@contextlib.contextmanager
def unwrap_ray_errors() -> Iterator[None]:
    """Re-raise a VrecError of a worker as itself inside the `with`, without Ray's wrapping.

    Raises ClusterError where workers or nodes were lost more often than Ray repeats their work, or have no
    room for objects, and OutputError where a worker's disk is full.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        lost = loss_reason(error)
        if lost is not None:
            raise ClusterError(
                f"{lost}, again after its work was repeated",
                fix="see that the nodes stay up and have memory to spare, then run the same command again",
            ) from None
        cause = _root(error)
        if isinstance(cause, ray.exceptions.OutOfDiskError | ray.exceptions.ObjectStoreFullError):
            raise ClusterError(
                "a node has no room for Ray's objects, in memory or on its disk",
                fix="make room on the disk of Ray's folder there (/tmp/ray), of which Ray uses 95 % at most, "
                "or start Ray with another --temp-dir, then run the same command again",
            ) from None
        full = full_disk_error(cause)
        if full is not None:
            raise full from None
        if not isinstance(error, ray.exceptions.RayTaskError):
            raise
        # Of an error inside a Ray Data function, only the traceback's text reaches the driver.
        match = re.search(r"^vrec\.core\.errors\.(\w+): (.+)$", str(error), re.MULTILINE)
        kind = getattr(errors, match[1], None) if match else None
        if match is None or kind is None:
            raise
        raise kind(match[2]) from None


def loss_reason(error: BaseException) -> str | None:
    """Return what was lost, where an error says that a process or node was; None for any other error.

    The text begins with OutOfMemory, NodeLost or WorkerLost.
    """
    error = _root(error)
    if not isinstance(error, _LOSSES):
        return None
    text = str(error).lower()
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "low on memory" in text:
        return "OutOfMemory: a process was killed because the memory of its node ran out"
    if isinstance(error, ray.exceptions.NodeDiedError | ray.exceptions.ObjectLostError) or _NODE.search(text):
        return "NodeLost: a node was lost while it did part of the work"
    return "WorkerLost: a process ended without a word, as when it is killed"


def _root(error: BaseException) -> BaseException:
    """Return what was raised in the innermost task."""
    while isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    return error


@contextlib.contextmanager
def _without_backend_lines() -> Iterator[None]:
    # Ray's C++ backend writes to this process's stderr whatever Python's settings are: in every Ray Data
    # job a line about constructor arguments, which nobody can act on, or one about its log level.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _check_address(target: str) -> None:
    # Ray's own client waits a minute and logs a page when nothing listens; a socket fails at once.
    host, colon, port = target.rpartition(":")
    if target == "local" or "://" in target or not colon or not port.isdigit():
        return
    import socket

    try:
        with socket.create_connection((host, int(port)), timeout=5):
            pass
    except OSError as error:
        raise ClusterError(f"no Ray at {target}: {os_error_reason(error)}") from None


def _resources() -> ClusterResources:
    total = ray.cluster_resources()
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    return ClusterResources(nodes, total.get("CPU", 0.0), total.get("GPU", 0.0), ray.__version__)
