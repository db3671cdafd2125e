"""Deployment of the application to a cluster, and its move to another bundle while it runs."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa
import ray
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatusOverview, ServeDeploySchema

from vrec.bundle.catalog import BundleCatalog, read_bundle_manifest
from vrec.config.serve import ServeConfig, TenantConfig
from vrec.core.errors import BundleError, ServeError, StoreError, VrecError
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri
from vrec.privacy.door.ids import check_pseudonyms
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.app import check_host, check_tenants, deployments, user_config
from vrec.serving.bundle_swap import FIX_NOTE
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.change_lock import only_change
from vrec.serving.deployments.api import DRAIN_TIMEOUT_S
from vrec.serving.deployments.own_store import open_own_store
from vrec.serving.ray_internals import (
    blocking_handle,
    deploy_applications,
    deployed_application,
    http_address,
)
from vrec.serving.running_settings import running_settings, with_running
from vrec.serving.service_record import RECORD, ServiceRecord, remove_record, write_record
from vrec.serving.tenants.context import DEFAULT_TENANT

APPLICATION_NAME = "vrec"
IMPORT_PATH = "vrec.serving.app:build"
CHANGEABLE = {"bundle", "arms", "tenants"}
"""Settings that may change while the service runs."""
FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
"""States of an application that did not start, or whose replicas fail."""
START_TIMEOUT_S = 180.0
"""Seconds that the application may take to start."""
POLL_S = 0.1
"""Seconds between two looks at the state of the application while it starts."""
PORT_TAKEN = "Failed to bind to address"
"""Words in the error of Serve's proxy where it cannot listen."""
EVENTS_PER_COMMIT = 5_000
"""Events per commit of `load_events`."""


def with_absolute_paths(config: ServeConfig) -> ServeConfig:
    """Make the paths of a config absolute, since replicas have other working folders."""
    store = config.store
    if isinstance(store, SqliteConfig):
        store = store.model_copy(update={"path": os.path.abspath(store.path)})
    tenants = {
        name: tenant.model_copy(
            update={"bundle": absolute_uri(tenant.bundle), "bundles": _absolute_or_none(tenant.bundles)}
        )
        for name, tenant in config.tenants.items()
    }
    changes = {
        "bundle": absolute_uri(config.bundle),
        "bundles": _absolute_or_none(config.bundles),
        "data": absolute_uri(config.data),
        "store": store,
        "tenants": tenants,
    }
    return config.model_copy(update=changes)


def _absolute_or_none(uri: str | None) -> str | None:
    return None if uri is None else absolute_uri(uri)


def deploy_service(
    config: ServeConfig,
    *,
    owns_ray: bool = False,
    reload_only: bool = False,
) -> dict[str, Any]:
    """Deploy the service and wait until all replicas run with the bundle.

    If the application runs already, its replicas move to the bundle without losing a request, and settings
    that were not set in `config` stay as they run; a refused bundle leaves the one before in service. An
    application that failed to start is deleted first, as Serve does not start one with the same config again;
    one that fails now is deleted too.

    Args:
        config: The settings of the service.
        owns_ray: Whether the Ray that this process is connected to ends with this process.
        reload_only: Whether the service is known to run: raise ServeError if it does not.

    Returns:
        The `url`, the `bundle`, the `seconds` it took, whether the application ran before (`reloaded`), and
        where there are tenants, the names of those that were `added`, `changed` and `removed` (`tenants`),
        and the reasons why some are not in service with their bundles (`refused_tenants`), by name.

    Raises:
        ServeError: Serve or the application does not start, runs with other settings, or is being moved.
        BundleError: The bundle is refused.
    """
    begun = time.perf_counter()
    with contextlib.ExitStack() as stack:
        found = serve.status().applications.get(APPLICATION_NAME)
        if found is not None:
            stack.enter_context(only_change())
        done = _start_or_change(config, found, owns_ray=owns_ray, reload_only=reload_only)
    return done | {"seconds": round(time.perf_counter() - begun, 3)}


def _start_or_change(
    config: ServeConfig, found: ApplicationStatusOverview | None, *, owns_ray: bool, reload_only: bool
) -> dict[str, Any]:
    serve_was_there = http_address() is not None
    given, (config, running, args) = config, _with_running_service(config, found)
    reloaded = running is not None
    if not reloaded:
        check_host(config)
        config = with_shards(config)
    if not reloaded or "tenants" in given.model_fields_set:
        check_tenants(config)
    changes = _tenant_changes(running.tenants if running else {}, config.tenants)
    # At a start the bundles of all tenants would be loaded one after the other.
    checked = [*changes["added"], *changes["changed"]] if reloaded else ()
    if reload_only and not reloaded:
        raise ServeError(
            f"{RECORD} in {config.data} names a Ray that does not run the service",
            fix=f"remove {RECORD}, and start the service again",
        )
    if not reloaded:
        write_record(config.data, ServiceRecord.of(config, _ray_address(), owns_ray=owns_ray))
    try:
        _deploy(config, args)
        check_refusal(config, reloaded=reloaded)
    except VrecError:
        if not reloaded:
            # Serve itself keeps the address that it was started with, so it only stays if it was there.
            _delete_application() if serve_was_there else serve.shutdown()
            remove_record(config.data)
        raise
    return {
        "url": f"http://{config.host}:{config.port}",
        "bundle": config.bundle,
        "reloaded": reloaded,
        **({"tenants": changes} if reloaded and any(changes.values()) else {}),
        **({"refused_tenants": refused_tenants(config, checked)} if config.tenants else {}),
    }


def with_shards(config: ServeConfig) -> ServeConfig:
    """Return settings with the number of shards that `shard_above` asks for, if it is left to that.

    Raises:
        BundleError: There is no readable bundle.
        ServeError: It has more videos, and there are no ranking replicas.
    """
    if config.shard_above is None or config.replicas.shards:
        return config
    videos = int(read_bundle_manifest(StorageFolder(config.bundle))["data"].get("videos", 0))
    if videos <= config.shard_above:
        return config
    if not config.replicas.ranking:
        raise ServeError(
            f"the bundle has {videos:,} videos, above serve.shard_above, and serve.replicas.ranking is 0",
            fix="set serve.replicas.ranking to 1 or more, or leave serve.shard_above out",
        )
    shards = -(-videos // config.shard_above)
    return config.model_copy(update={"replicas": config.replicas.model_copy(update={"shards": shards})})


def _deploy(config: ServeConfig, args: Mapping[str, Any] | None) -> None:
    try:
        serve.start(http_options={"host": config.host, "port": config.port})
    except (RayError, TimeoutError) as error:
        if PORT_TAKEN in str(error):
            raise ServeError(
                f"cannot listen on {config.host}:{config.port}: another program does, or the machine has "
                "no such address",
                fix="stop what listens there, or set serve.host and serve.port",
            ) from None
        raise ServeError(
            f"Serve did not start: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="start it again; on a busy machine the HTTP proxy may not be ready in time",
        ) from None
    # The same `args` as before, since Serve builds the application again for others.
    application = application_schema(config) | ({} if args is None else {"args": args})
    deploy_applications(ServeDeploySchema.model_validate({"applications": [application]}))
    wait_until_running()


def _with_running_service(
    config: ServeConfig, found: ApplicationStatusOverview | None
) -> tuple[ServeConfig, ServeConfig | None, Mapping[str, Any] | None]:
    """Return the settings to deploy, those of the running service, and its `args`; None if it does not run.

    An application that failed to start is deleted.

    Raises:
        ServeError: It runs with other settings than those that were set, or Serve listens elsewhere.
    """
    has_ended = found is None or found.status == "DELETING" or _has_failed(found)
    running, args = (None, None) if has_ended else running_settings(APPLICATION_NAME)
    config = with_absolute_paths(config if running is None else with_running(config, running))
    listens = http_address()
    if listens is not None and listens != (config.host, config.port):
        raise ServeError(
            f"Serve on this cluster listens on {listens[0]}:{listens[1]}, not on {config.host}:{config.port}",
            fix=f"set serve.host={listens[0]} and serve.port={listens[1]}, or end it with `serve shutdown`",
        )
    if running is None:
        if found is not None:
            _delete_application()
        return config, None, None
    wanted, runs = (one.model_dump(mode="json", exclude=CHANGEABLE) for one in (config, running))
    if changed := sorted(key for key, value in wanted.items() if value != runs[key]):
        raise ServeError(
            f"the service runs with other settings: serve.{', serve.'.join(changed)}. Only bundles, "
            "tenants and serve.arms can change without dropping requests",
            fix="leave them out or give those that it runs with, or stop it (Ctrl-C, SIGTERM, or `serve "
            "shutdown` where Ray was there before) and start it with these",
        )
    return config, running, args


def check_refusal(config: ServeConfig, *, reloaded: bool) -> None:
    """Raise BundleError if the bundle was refused."""
    # The deployment that runs the bundle's smoke requests.
    checking = blocking_handle("Ranking" if config.replicas.ranking else "Api", APPLICATION_NAME)
    if refusal := checking.refusal.remote(DEFAULT_TENANT).result():
        why, fix = refusal
        stays = ". The bundle before it stays in service" if reloaded else ""
        raise BundleError(f"{why}{stays}", fix=fix)


def _tenant_changes(
    before: Mapping[str, TenantConfig], after: Mapping[str, TenantConfig]
) -> dict[str, list[str]]:
    """Return the names of the tenants that come, change or go."""
    return {
        "added": sorted(after.keys() - before.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
        "removed": sorted(before.keys() - after.keys()),
    }


def refused_tenants(config: ServeConfig, checked: Sequence[str]) -> dict[str, str]:
    """Return why tenants are not in service with their bundles, by name.

    The bundles of `checked` ones answer their smoke requests; others do so when they are first wanted.
    """
    refused: dict[str, tuple[str, str]] = {}
    if config.tenants:
        refused = dict(blocking_handle("Api", APPLICATION_NAME).refusals.remote().result())
    for name in checked:
        if name not in refused and (why := _smoke_refusal(config, name)):
            refused[name] = why
    return {name: f"{why}. Fix: {fix}" for name, (why, fix) in refused.items()}


def _smoke_refusal(config: ServeConfig, tenant: str) -> tuple[str, str] | None:
    checking = blocking_handle("Ranking" if config.replicas.ranking else "Api", APPLICATION_NAME)
    try:
        return checking.options(multiplexed_model_id=tenant).refusal.remote(tenant).result()
    except RayTaskError as error:
        if isinstance(error.cause, VrecError):
            return str(error.cause), error.cause.fix
        raise


def is_deployed() -> bool:
    """Return whether the cluster has the application, in whatever state."""
    return APPLICATION_NAME in serve.status().applications


def _has_failed(application: ApplicationStatusOverview) -> bool:
    """Return whether an application failed, and no replica of it answers requests."""
    api = application.deployments.get("Api")
    running = 0 if api is None else sum(n for state, n in api.replica_states.items() if state == "RUNNING")
    return application.status in FAILED and not running


def _delete_application() -> None:
    # Serve's replicas would be started again and again, and may hold the store.
    with contextlib.suppress(RayError, RayServeException, TimeoutError):
        serve.delete(APPLICATION_NAME)


def _ray_address() -> str:
    return ray.get_runtime_context().gcs_address


def application_schema(config: ServeConfig) -> dict[str, Any]:
    """Return the application as in a Serve config file, with what may change in every `user_config`."""
    args = config.model_dump(mode="json", exclude=CHANGEABLE)
    return {
        "name": APPLICATION_NAME,
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": args,
        "logging_config": {"encoding": "JSON"},
        "deployments": [{"name": name, "user_config": user_config(config)} for name in deployments(config)],
    }


def load_events(config: ServeConfig, events: pa.Table) -> int:
    """Load EVENTS into a store that is not in service, such as a new one that starts with a shop's log.

    Returns:
        The number of events that the store did not have.

    Raises:
        PrivacyError: The service knows shoppers by pseudonyms, and the events have others; or the store was
            written with another key, or a key cannot be read.
        StoreError: The store cannot be opened or written, for example because a service uses it.
    """
    config = with_absolute_paths(config)
    if config.privacy.key is not None:
        check_pseudonyms(events)
    bundle = BundleCatalog.load(config.bundle)
    try:
        profiles = bundle.profiles.with_own_kinds(config.own_kinds)
        store = open_own_store(config, DEFAULT_TENANT, CurrentVideoFacts(bundle).find, profiles)
    except StoreError as error:
        fix = "load events before the service starts, or send them to it over HTTP"
        raise StoreError(str(error), fix=fix) from None
    with closing(store):
        starts = range(0, events.num_rows, EVENTS_PER_COMMIT)
        return sum(store.apply(events.slice(start, EVENTS_PER_COMMIT)).new for start in starts)


def wait_until_running() -> None:
    """Wait until all replicas have their settings; raises ServeError if they fail or take too long."""
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        application = serve.status().applications.get(APPLICATION_NAME)
        if application is not None:
            if application.status == "RUNNING":
                return
            if application.status in FAILED:
                why, fix = _start_error(application)
                raise ServeError(f"the service did not start: {why}", fix=fix)
        time.sleep(POLL_S)
    raise ServeError(
        f"the service did not start in {START_TIMEOUT_S:g} s",
        fix="see `serve status`: the cluster may lack CPUs for serve.replicas",
    )


def _start_error(application: ApplicationStatusOverview) -> tuple[str, str]:
    """Return the cause in Serve's messages, without the traceback around it, and its fix."""
    messages = [application.message, *(one.message for one in application.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines()]
    causes = [number for number, line in enumerate(lines) if line.startswith("vrec.core.errors.")]
    if not causes:
        return " ".join(lines)[:500], "see the message, and start it again"
    cause, after = lines[causes[-1]].partition(": ")[2], lines[causes[-1] + 1 : causes[-1] + 2]
    fixes = [line.removeprefix(FIX_NOTE) for line in after if line.startswith(FIX_NOTE)]
    return cause, fixes[0] if fixes else "see the message, and start it again"


def stop_service(config: ServeConfig, *, owns_ray: bool = False) -> None:
    """Stop the application and wait for its end.

    New requests are refused (503, `Connection: close`), those that run have `DRAIN_TIMEOUT_S` to end, and
    acknowledged events are kept.

    Args:
        config: The settings of the service.
        owns_ray: Whether Ray ends with this process. Then its processes are ended at once, without Serve's
            own end, which takes seconds on a busy machine: what was acknowledged is durable.
    """
    if not ray.is_initialized():
        return
    _drain_requests()
    remove_record(with_absolute_paths(config).data)
    ray.shutdown() if owns_ray else serve.shutdown()


def _drain_requests() -> None:
    """Let HTTP replicas refuse new requests, and wait until those that run have ended."""
    with contextlib.suppress(RayError, RayServeException):  # then they are cut off, as without this
        deployed = deployed_application(APPLICATION_NAME)
        if deployed is None:
            return
        for one in deployed["deployments"]:
            if one["name"] == "Api":
                one["user_config"] = {**one["user_config"], "draining": True}
        deploy_applications(ServeDeploySchema.model_validate({"applications": [deployed]}))
        until = time.monotonic() + DRAIN_TIMEOUT_S
        while (
            serve.status().applications[APPLICATION_NAME].status == "DEPLOYING" and time.monotonic() < until
        ):
            time.sleep(POLL_S)
