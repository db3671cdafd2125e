"""Deployment of the application to a cluster, and its move to another bundle while it runs."""

import os
import time
from contextlib import closing
from typing import Any

import pyarrow as pa
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.schema import ApplicationStatusOverview, ServeDeploySchema

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.errors import BundleError, ServeError, StoreError
from vrec.core.uris import absolute_uri
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.app import check_host, deployments
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.ray_internals import blocking_handle, deploy_applications

APPLICATION_NAME = "vrec"
IMPORT_PATH = "vrec.serving.app:build"
START_TIMEOUT_S = 180.0
"""Seconds that the application may take to start."""
POLL_S = 0.1
"""Seconds between two looks at the state of the application while it starts."""
EVENTS_PER_COMMIT = 5_000
"""Events per commit of `load_events`."""


def with_absolute_paths(config: ServeConfig) -> ServeConfig:
    """Make the paths of a config absolute, since replicas have other working folders."""
    store = config.store
    if isinstance(store, SqliteConfig):
        store = store.model_copy(update={"path": os.path.abspath(store.path)})
    changes = {"bundle": absolute_uri(config.bundle), "data": absolute_uri(config.data), "store": store}
    return config.model_copy(update=changes)


def deploy_service(config: ServeConfig) -> dict[str, Any]:
    """Deploy the service and wait until all replicas run with the bundle.

    If the application runs already with the same settings, its replicas move to the bundle without losing a
    request; a refused bundle leaves the one before in service.

    Returns:
        The `url`, the `bundle`, the `seconds` it took, and whether the application ran before (`reloaded`).

    Raises:
        ServeError: Serve or the application does not start.
        BundleError: The bundle is refused.
    """
    check_host(config)
    begun = time.perf_counter()
    config = with_absolute_paths(config)
    try:
        serve.start(http_options={"host": config.host, "port": config.port})
    except (RayError, TimeoutError) as error:
        raise ServeError(
            f"Serve did not start: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="start it again; on a busy machine the HTTP proxy may not be ready in time",
        ) from None
    reloaded = APPLICATION_NAME in serve.status().applications
    deploy_applications(ServeDeploySchema.model_validate({"applications": [application_schema(config)]}))
    _wait_until_running()
    # The deployment that runs the bundle's smoke requests.
    checking = blocking_handle("Ranking" if config.replicas.ranking else "Api", APPLICATION_NAME)
    if refused := checking.refused.remote().result():
        raise BundleError(f"{refused}. The bundle before it stays in service")
    return {
        "url": f"http://{config.host}:{config.port}",
        "bundle": config.bundle,
        "seconds": round(time.perf_counter() - begun, 3),
        "reloaded": reloaded,
    }


def application_schema(config: ServeConfig) -> dict[str, Any]:
    """Return the application as in a Serve config file, with the bundle in every `user_config`."""
    args = config.model_dump(mode="json", exclude={"bundle"})
    return {
        "name": APPLICATION_NAME,
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": args,
        "logging_config": {"encoding": "JSON"},
        "deployments": [
            {"name": name, "user_config": {"bundle": config.bundle}} for name in deployments(config)
        ],
    }


def load_events(config: ServeConfig, events: pa.Table) -> int:
    """Load EVENTS into a store that is not in service, such as a new one that starts with a shop's log.

    Returns:
        The number of events that the store did not have.

    Raises:
        StoreError: The store cannot be opened or written, for example because a service uses it.
    """
    config = with_absolute_paths(config)
    bundle = BundleCatalog.load(config.bundle)
    try:
        store = open_store(config.store, CurrentVideoFacts(bundle).find, bundle.profiles)
    except StoreError as error:
        fix = "load events before the service starts, or send them to it over HTTP"
        raise StoreError(str(error), fix=fix) from None
    with closing(store):
        starts = range(0, events.num_rows, EVENTS_PER_COMMIT)
        return sum(store.apply(events.slice(start, EVENTS_PER_COMMIT)).new for start in starts)


def _wait_until_running() -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        application = serve.status().applications.get(APPLICATION_NAME)
        if application is not None:
            if application.status == "RUNNING":
                return
            if application.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise ServeError(
                    f"the service did not start: {_start_error(application)}",
                    fix="see the message, and start it again",
                )
        time.sleep(POLL_S)
    raise ServeError(
        f"the service did not start in {START_TIMEOUT_S:g} s",
        fix="see `serve status`: the cluster may lack CPUs for serve.replicas",
    )


def _start_error(application: ApplicationStatusOverview) -> str:
    """Return the cause in Serve's messages, without the traceback around it."""
    messages = [application.message, *(one.message for one in application.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines()]
    causes = [line for line in lines if line.startswith("vrec.core.errors.")]
    return causes[-1].partition(": ")[2] if causes else " ".join(lines)[:500]


def stop_service() -> None:
    """Stop the application and wait for its end; acknowledged events are kept."""
    if ray.is_initialized():
        serve.shutdown()
