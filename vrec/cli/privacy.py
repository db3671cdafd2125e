"""`vrec privacy`."""

import os
from typing import Annotated

import typer

from vrec.cli.options import (
    EXIT_OK,
    LogOptions,
    OutputOptions,
    RunOptions,
    SettingsOptions,
    check_paths,
    command,
)
from vrec.cli.output import print_holding, print_privacy_audit, print_privacy_report, print_rekeyed

# A constant, since the API reference cannot show joined strings in a signature.
_IDS_HELP = (
    "A table of the shop's own ids: user_id, session_id, or other_user_id with other_domain. May be repeated."
)


@command
def privacy_audit(
    *,
    log: LogOptions,
    model: Annotated[str, typer.Option(help="Which recommender: popular, item_knn, ease or als.")] = "ease",
    attributes: Annotated[
        str | None,
        typer.Option(
            help="A table (.parquet, .csv, .tsv or .jsonl) of user_id and attributes of two values to infer."
        ),
    ] = None,
    epsilon: Annotated[
        str | None,
        typer.Option("--privacy.epsilon", help="ε of fits that are attacked beside ordinary ones."),
    ] = None,
    run: SettingsOptions,
) -> int:
    """Attack a recommender: who was in the fit, what did they watch? Models are fitted for it and dropped."""
    settings = run.settings([] if epsilon is None else [f"privacy.epsilon={epsilon}"])
    inputs = log.inputs()
    check_paths(attributes=attributes)
    from vrec.pipelines.privacy_audit import audit_privacy, read_attributes

    table = None if attributes is None else read_attributes(attributes)
    run.show(audit_privacy(inputs, settings, model=model, attributes=table), print_privacy_audit)
    return EXIT_OK


@command
def privacy_rekey(
    *,
    ids: Annotated[list[str], typer.Option(help=_IDS_HELP)],
    tenant: Annotated[str, typer.Option(help="Tenant whose shop it is; the service's own if absent.")] = "",
    run: RunOptions,
) -> int:
    """Move what a service keeps of shoppers from the pseudonyms of an old key to those of the new one."""
    settings = run.settings()
    for path in ids:
        check_paths(ids=path)
    from vrec.cli.serve import find_running

    # First: what it finds has to be known before Ray is imported.
    address = run.address or os.environ.get("RAY_ADDRESS") or find_running(settings.serve)
    from contextlib import nullcontext

    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.serving.door.job import rekey

    with connect_cluster(address) if address else nullcontext(), unwrap_ray_errors():
        run.show(rekey(settings.serve, ids, tenant, in_service=bool(address)), print_rekeyed)
    return EXIT_OK


@command
def privacy_report(
    *,
    ledger: Annotated[str, typer.Option(help="The ledger of a data set, EVENTS.privacy.jsonl by default.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model's or bundle's folder whose fit must be in the ledger. May be repeated."),
    ] = None,
    output: OutputOptions,
) -> int:
    """Print what private fits have spent of a data set's budget."""
    for path in model or ():
        check_paths(model=path)
    from vrec.pipelines.fit.private import privacy_report as report

    output.show(report(ledger, model or []), print_privacy_report)
    return EXIT_OK


@command
def privacy_bundles(
    *,
    bundles: Annotated[str, typer.Option(help="The folder that has the bundles; a path or a URI.")],
    erasures: Annotated[str, typer.Option(help="Erased shoppers (ERASURES: user_id, at); a path or a URI.")],
    days: Annotated[float, typer.Option(min=0, help="Age in days from which a bundle is listed.")] = 30,
    output: OutputOptions,
) -> int:
    """List the bundles that may hold shoppers who have been erased since."""
    check_paths(bundles=bundles, erasures=erasures)
    import time
    from dataclasses import asdict

    from vrec.bundle.erased import bundles_with_erased, read_erasures

    found = bundles_with_erased(bundles, read_erasures(erasures), days, time.time_ns() // 1000)
    output.show({"days": days, "bundles": [asdict(one) for one in found]}, print_holding)
    return EXIT_OK
