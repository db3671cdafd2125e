"""`vrec serve`."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vrec.cli.options import EXIT_OK, EXIT_PARTIAL, RunOptions, command, parse_column_map
from vrec.core.masking import mask_values

if TYPE_CHECKING:
    from vrec.config.serve import ServeConfig


TELL_EVERY_S = 10.0
"""Seconds between two lines that tell that the service is still starting."""


@command
def serve(
    *,
    bundle: Annotated[str | None, typer.Option(help="A bundle's folder; a path or a URI.")] = None,
    data: Annotated[
        str | None, typer.Option(help="The folder for uploads and changes of the catalog; a path or a URI.")
    ] = None,
    events: Annotated[
        str | None, typer.Option(help="Events that a new store begins with (.parquet, .csv, .tsv or .jsonl).")
    ] = None,
    mapped: Annotated[
        str | None, typer.Option("--map", help="The table's own names for columns: user_id=uid,at=time.")
    ] = None,
    new_key: Annotated[
        str | None,
        typer.Option(help="Make an API key, as NAME:SCOPES such as shop:read+events, and end."),
    ] = None,
    run: RunOptions,
) -> int:
    """Serve a bundle over HTTP. Where it runs already, move it to this bundle without losing a request."""

    if new_key is not None:
        return _print_new_key(new_key, as_json=run.as_json)
    named = {"bundle": bundle, "data": data}
    settings = run.settings([f"serve.{key}={json.dumps(value)}" for key, value in named.items() if value])
    if not settings.serve.bundle:
        raise typer.BadParameter("give one, as `vrec bundle` writes it", param_hint="--bundle")
    address = run.address or os.environ.get("RAY_ADDRESS")
    if not (address or "").startswith("ray://"):
        # Whoever is at another address is on a node, and sees the files that the nodes see.
        _check_bundle(settings.serve)
    found = None if address else _find_running(settings.serve)
    owns_ray = address is None and found is None
    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.serving.app import check_host
    from vrec.serving.deploy import deploy_service, load_events, stop_service, with_absolute_paths
    from vrec.serving.deployments.own_store import check_stored_keys
    from vrec.serving.door.backend import check_door

    config = with_absolute_paths(settings.serve)
    check_host(config)
    if owns_ray:
        # Elsewhere the nodes have the keys.
        check_door(config)
        check_stored_keys(config)
    if events is not None:
        from vrec.events.read import read_events

        table = read_events(
            events, parse_column_map(mapped), settings.events.read, own_kinds=config.own_kinds
        ).events
        print(f"{load_events(config, table):,} of {table.num_rows:,} events are new to the store")
    print("vrec: starting Ray" if owns_ray else "vrec: connecting to Ray", file=sys.stderr, flush=True)
    with connect_cluster(address or found), unwrap_ray_errors(), _interrupted_by_sigterm():
        try:
            with _progress_told("moving to the bundle" if found else "starting"):
                # The settings as they were given: what they do not name stays as it runs.
                done = deploy_service(settings.serve, owns_ray=owns_ray, reload_only=found is not None)
            done = mask_values(done)
            run.show(done, _print_done)
            sys.stdout.flush()
            while owns_ray:
                time.sleep(3600)
            return EXIT_PARTIAL if done.get("refused_tenants") else EXIT_OK
        except KeyboardInterrupt:
            if not owns_ray:
                raise
            # A second Ctrl-C ends it at once.
            stop_service(config, owns_ray=True)
            print("vrec: the service has ended")
            _end_now()


def _end_now() -> NoReturn:
    """End this process with 0 without unloading modules, which takes seconds on a busy machine."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_OK)


def _print_done(done: Mapping[str, Any]) -> None:
    what = "moved to" if done["reloaded"] else "serves"
    print(f"vrec {what} {done['bundle']} after {done['seconds']:.1f} s: {done['url']}")
    for change, names in done.get("tenants", {}).items():
        if names:
            print(f"tenants {change}: {', '.join(names)}")
    for tenant, why in done.get("refused_tenants", {}).items():
        print(f"vrec: the tenant {tenant} was refused: {why}", file=sys.stderr)


def _find_running(config: "ServeConfig") -> str | None:
    """Return the address of the Ray on which the service of this data folder runs.

    None if none runs; then the port is checked, before Ray is imported where there is no record.

    Raises:
        ClusterError: That Ray listens, and cannot be reached.
        ServeError: Its service is not there yet, or another program has the port.
    """
    from vrec.serving.service_record import check_port

    if (found := find_running(config)) is not None:
        return found
    check_port(config)
    return None


def find_running(config: "ServeConfig") -> str | None:
    """Return the address of the Ray on which the service of a data folder runs; None if none runs.

    Raises:
        ClusterError: That Ray listens, and cannot be reached.
        ServeError: Its service is not there yet.
    """
    from vrec.core.errors import ServeError
    from vrec.serving.service_record import find_record

    found = find_record(config)
    if found is None:
        return None
    found.prepare_connection()
    from vrec.pipelines.cluster import connect_cluster
    from vrec.serving.deploy import is_deployed

    with connect_cluster(found.ray_address):
        if is_deployed():
            return found.ray_address
    if found.process is not None:
        raise ServeError(
            f"process {found.process} has begun to serve {config.data}, and does not serve yet",
            fix="run the command again once it serves, or stop that process first",
        )
    return None


def _check_bundle(config: "ServeConfig") -> None:
    """Raise BundleError if the bundle is not sound, or of another encoder than the data folder's profiles."""
    from vrec.bundle.catalog import BundleCatalog
    from vrec.core.tables import StorageFolder
    from vrec.serving.last_good import check_encoder

    check_encoder(BundleCatalog.load(config.bundle), StorageFolder(config.data))


@contextlib.contextmanager
def _progress_told(what: str) -> Iterator[None]:
    """Tell on stderr, every few seconds inside the `with`, what goes on and for how long."""
    begun, ended = time.monotonic(), threading.Event()

    def tell() -> None:
        while not ended.wait(TELL_EVERY_S):
            print(f"vrec: {what} since {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)

    print(f"vrec: {what}", file=sys.stderr, flush=True)
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C inside the `with`."""

    def interrupt(*_: object) -> None:
        # A second SIGTERM, which supervisors may send at the same moment, changes nothing.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_new_key(asked: str, *, as_json: bool) -> int:
    from vrec.serving.http.keys import create_key

    key, entry = create_key(asked)
    if as_json:
        print(json.dumps({"key": key, "entry": entry}))
    else:
        print(f"key, which is shown once: {key}\nadd to VREC_API_KEYS: {entry}")
    return EXIT_OK
