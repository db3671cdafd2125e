"""`vrec check`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vrec.cli.options import (
    EXIT_OK,
    EXIT_PARTIAL,
    EventsFormatOptions,
    SettingsOptions,
    check_paths,
    command,
    parse_column_map,
)

# A constant, since the API reference cannot show joined strings in a signature.
_AGAINST_HELP = "Good days: a file of --save, a model's folder, or a table of events; a path or a URI."


@command
def check(
    *,
    table: Annotated[
        str,
        typer.Argument(metavar="EVENTS", help="Events (.parquet, .csv, .tsv or .jsonl); a path or a URI."),
    ],
    format_: EventsFormatOptions,
    videos: Annotated[
        str | None, typer.Option(help="VIDEOS that the events refer to; a path or a URI.")
    ] = None,
    links: Annotated[str | None, typer.Option(help="LINKS to check as well; a path or a URI.")] = None,
    against: Annotated[str | None, typer.Option(help=_AGAINST_HELP)] = None,
    save: Annotated[
        str | None, typer.Option(help="Save the days as good ones if nothing is at fault; a .json file.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Write the report; a .json or .html file.")] = None,
    settings: SettingsOptions,
) -> int:
    """Check events, and the videos and links beside them, for faults: exit code 3 where there are some."""
    config = settings.settings().events
    mapping = parse_column_map(format_.mapped)
    check_paths(table=table, videos=videos, links=links, against=against)
    from vrec.pipelines.check import check as run
    from vrec.pipelines.inputs import InputPaths

    paths = InputPaths(table, format_.dataset, mapping, videos, links=links)
    done = run(paths, config, against=against, save=save, out=out)
    settings.show(done, print_checked)
    return EXIT_PARTIAL if done["faults"] else EXIT_OK


def print_checked(done: Mapping[str, Any]) -> None:
    """Print a report of data gates."""
    against = f"against {done['good_days']:,} good days" if done["good_days"] else "day against day"
    print(
        f"{done['events']}: {done['rows']:,} rows, {done['days']:,} days, {done['tests']:,} tests {against}"
    )
    for finding in done["findings"]:
        print(f"  {finding['level']}: {finding['gate']}: {finding['text']}")
    faults = done["faults"]
    print("nothing at fault" if not faults else f"{faults:,} fault{'s' if faults > 1 else ''}")
    if done.get("saved"):
        print(f"good days saved: {done['saved']}")
