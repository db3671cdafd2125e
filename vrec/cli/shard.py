"""`vrec shard`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from vrec.cli.options import EXIT_OK, RunOptions, check_paths, command, parse_column_map


@command
def shard(
    *,
    events: Annotated[
        list[str],
        typer.Option(
            help="A file of events (.parquet, .csv, .tsv or .jsonl) or a folder of them; a path or a URI. "
            "May be repeated."
        ),
    ],
    mapped: Annotated[
        str | None, typer.Option("--map", help="The files' own names for columns: user_id=uid,at=time.")
    ] = None,
    out: Annotated[str, typer.Option(help="The folder for the shards; a path or a URI.")],
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Shards of the table; by default one per million events, rounded up to a power of two, and "
            "at least 16.",
        ),
    ] = None,
    run: RunOptions,
) -> int:
    """Write events as Parquet shards by shopper, for --events of other commands; new files are added."""
    config = run.settings([] if shards is None else [f"events.shards.count={shards}"]).events
    mapping = parse_column_map(mapped)
    for path in events:
        check_paths(events=path)
    from vrec.pipelines.shards.run import shard_events

    run.show(shard_events(events, out, config, mapping=mapping, address=run.address), print_sharded)
    return EXIT_OK


def print_sharded(done: Mapping[str, Any]) -> None:
    """Print what `vrec shard` did."""
    read = f"{done['files_read']:,} files read, {done['files_unchanged']:,} unchanged"
    print(f"{done['events']:,} events in {done['shards']:,} shards: {done['out']}")
    print(f"  {read}, {done['shards_written']:,} shards written, {done['seconds']:.1f} s")
    for name, count in (("with an event_id that another has", "duplicates"), ("in the future", "future")):
        if done[count]:
            print(f"  {done[count]:,} events {name} are left out")
