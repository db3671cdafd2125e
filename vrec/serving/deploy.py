"""`vrec serve`: the application put on a cluster, or moved to another bundle where it runs already."""

import os
import time
from contextlib import closing
from typing import Any

import pyarrow as pa
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.errors import BundleError, ServeError, StoreError
from vrec.core.tables import absolute_uri
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.app import check_host, deployments
from vrec.serving.catalog.facts import CurrentVideoFacts

APPLICATION_NAME = "vrec"
IMPORT_PATH = "vrec.serving.app:build"
START_TIMEOUT_S = 180.0
"""Seconds until an application that does not run by then is given up."""
EVENTS_PER_COMMIT = 5_000
"""Events that one commit takes."""


def with_absolute_paths(config: ServeConfig) -> ServeConfig:
    """The same with absolute paths: replicas have working folders of their own."""
    store = config.store
    if isinstance(store, SqliteConfig):
        store = store.model_copy(update={"path": os.path.abspath(store.path)})
    changes = {"bundle": absolute_uri(config.bundle), "data": absolute_uri(config.data), "store": store}
    return config.model_copy(update=changes)


def deploy_service(config: ServeConfig) -> dict[str, Any]:
    """Where the service is and what it serves, once all replicas run with a sound bundle.

    Where the application runs already with the same settings, its replicas move to the bundle without losing
    a request; one that is refused leaves the old bundle in service. Raises ServeError, BundleError.
    """
    check_host(config)
    begun = time.perf_counter()
    config = with_absolute_paths(config)
    try:
        serve.start(http_options={"host": config.host, "port": config.port})
    except (RayError, TimeoutError) as error:
        raise ServeError(
            f"Serve did not start: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="start it again: on a machine that does much else its proxy may not be ready in time",
        ) from None
    client: Any = _get_global_client()
    before = client.get_serve_details()["applications"].get(APPLICATION_NAME)
    client.deploy_apps(ServeDeploySchema.model_validate({"applications": [application_schema(config)]}))
    _wait(client)
    judge = "Ranking" if config.replicas.ranking else "Api"
    node: Any = serve.get_deployment_handle(judge, APPLICATION_NAME)
    # With RAY_SERVE_THROUGHPUT_OPTIMIZED, a handle works in an event loop alone unless told to have its own.
    if not node.is_initialized:
        node._init(_run_router_in_separate_loop=True)
    if refused := node.refused.remote().result():
        raise BundleError(f"{refused}. The bundle before it stays in service")
    return {
        "url": f"http://{config.host}:{config.port}",
        "bundle": config.bundle,
        "seconds": round(time.perf_counter() - begun, 3),
        "reloaded": before is not None,
    }


def application_schema(config: ServeConfig) -> dict[str, Any]:
    """The application as a Serve config file has it, with the bundle where a change of it is a hot reload."""
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
    """How many of EVENTS are new to the store, all of which are in it by then.

    For a store that is not in service, such as a new one that begins with a shop's log. Raises StoreError.
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


def _wait(client: Any) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        status = client.get_serve_details()["applications"].get(APPLICATION_NAME, {})
        if status.get("status") == "RUNNING":
            return
        if status.get("status") in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ServeError(
                f"the service did not start: {_why(status)}", fix="see the message, and start it again"
            )
        time.sleep(0.1)
    raise ServeError(
        f"the service did not start in {START_TIMEOUT_S:g} s",
        fix="see `serve status`: the cluster may lack CPUs for serve.replicas",
    )


def _why(status: dict[str, Any]) -> str:
    """The cause in Serve's words, without the traceback around it."""
    told = [str(status.get("message", ""))]
    told += [str(one.get("message", "")) for one in status.get("deployments", {}).values()]
    lines = [line.strip() for text in told for line in text.splitlines()]
    causes = [line for line in lines if line.startswith("vrec.core.errors.")]
    return causes[-1].partition(": ")[2] if causes else " ".join(lines)[:500]


def stop_service() -> None:
    """Returns when the application has ended: what was acknowledged is kept."""
    if ray.is_initialized():
        serve.shutdown()
