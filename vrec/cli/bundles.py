"""`vrec bundles`: history of a folder of bundles, and moves by hand."""

from typing import Annotated

import typer

from vrec.cli.loop import ServiceOption
from vrec.cli.loop_output import print_bundle_table, print_change, print_difference
from vrec.cli.options import EXIT_OK, SettingsOptions, check_paths, command

BundlesOption = Annotated[
    str,
    typer.Option(help="The folder of the bundles, such as OUT/bundles of `vrec loop`; a path or a URI."),
]
NameArgument = Annotated[str, typer.Argument(help="The name of a bundle, as `vrec bundles list` has it.")]


@command
def bundles_list(*, bundles: BundlesOption, service: ServiceOption = None, run: SettingsOptions) -> int:
    """List the bundles of a folder, and which one is in service."""
    settings = run.settings()
    check_paths(bundles=bundles)
    from vrec.loop.commands import bundle_table, service_client

    run.show(bundle_table(bundles, service_client(service, settings.loop)), print_bundle_table)
    return EXIT_OK


@command
def bundles_diff(
    before: NameArgument, after: NameArgument, *, bundles: BundlesOption, run: SettingsOptions
) -> int:
    """Print what differs between two bundles: videos, models, settings, figures."""
    run.settings()
    check_paths(bundles=bundles)
    from vrec.loop.commands import bundle_difference

    run.show(bundle_difference(bundles, before, after), print_difference)
    return EXIT_OK


@command
def bundles_promote(
    name: NameArgument, *, bundles: BundlesOption, service: ServiceOption = None, run: SettingsOptions
) -> int:
    """Put a bundle in service by hand, whatever tests say of it."""
    settings = run.settings()
    check_paths(bundles=bundles)
    from vrec.loop.commands import promote, service_client

    client = service_client(service, settings.loop)
    run.show(promote(bundles, name, client, settings.loop), print_change)
    return EXIT_OK


@command
def bundles_rollback(*, bundles: BundlesOption, service: ServiceOption = None, run: SettingsOptions) -> int:
    """Put the bundle before the one in service in its place again."""
    settings = run.settings()
    check_paths(bundles=bundles)
    from vrec.loop.commands import roll_back, service_client

    run.show(roll_back(bundles, service_client(service, settings.loop), settings.loop), print_change)
    return EXIT_OK
