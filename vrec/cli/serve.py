"""`vrec serve`."""

import json
import time
from typing import Annotated

import typer

from vrec.cli.options import EXIT_OK, RunOptions, command, parse_column_map
from vrec.core.masking import mask_values


@command
def serve(
    *,
    bundle: Annotated[str | None, typer.Option(help="A bundle's folder; a path or a URI.")] = None,
    data: Annotated[
        str | None, typer.Option(help="The folder for uploads and changes of the catalogue; a path or a URI.")
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
    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.serving.deploy import deploy_service, load_events, stop_service

    if events is not None:
        from vrec.events.read import read_events

        found = read_events(events, parse_column_map(mapped), settings.events.read).events
        print(f"{load_events(settings.serve, found):,} of {found.num_rows:,} events are new to the store")
    with connect_cluster(run.address), unwrap_ray_errors():
        done = mask_values(deploy_service(settings.serve))
        if run.as_json:
            print(json.dumps(done, ensure_ascii=False), flush=True)
        else:
            what = "moved to" if done["reloaded"] else "serves"
            print(f"vrec {what} {done['bundle']} after {done['seconds']:.1f} s: {done['url']}", flush=True)
        if run.address:
            return EXIT_OK
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            stop_service()
            print("vrec: the service has ended")
            return EXIT_OK


def _print_new_key(asked: str, *, as_json: bool) -> int:
    from vrec.serving.http.keys import create_key

    key, entry = create_key(asked)
    if as_json:
        print(json.dumps({"key": key, "entry": entry}))
    else:
        print(f"key, which is shown once: {key}\nadd to VREC_API_KEYS: {entry}")
    return EXIT_OK
