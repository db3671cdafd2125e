"""`vrec loop`."""

from typing import Annotated

import typer

from vrec.cli.loop_output import print_night
from vrec.cli.options import EXIT_OK, EXIT_PARTIAL, RunOptions, check_paths, command, parse_column_map

ServiceOption = Annotated[
    str | None,
    typer.Option(help="The address of the running service, such as http://127.0.0.1:8000."),
]


@command
def loop(
    *,
    videos: Annotated[str, typer.Option(help="A VIDEOS table (.parquet, .csv, .tsv or .jsonl).")],
    out: Annotated[str, typer.Option(help="The folder of the loop; a path or a URI.")],
    service: ServiceOption = None,
    events: Annotated[
        str | None, typer.Option(help="A table of events, in the place of the service's log.")
    ] = None,
    mapped: Annotated[
        str | None, typer.Option("--map", help="The table's own names for columns: user_id=uid,at=time.")
    ] = None,
    embeddings: Annotated[
        str | None, typer.Option(help="An embedding folder. Without it the videos are embedded.")
    ] = None,
    links: Annotated[str | None, typer.Option(help="Accounts of shoppers in other domains (LINKS).")] = None,
    follows: Annotated[str | None, typer.Option(help="Creators whom shoppers follow (FOLLOWS).")] = None,
    consent: Annotated[
        str | None,
        typer.Option(help="Answers of shoppers (CONSENTS): events of those without `train` are left out."),
    ] = None,
    in_service: Annotated[
        str | None,
        typer.Option(help="The folder of the bundle in service, where it is not below --out."),
    ] = None,
    run: RunOptions,
) -> int:
    """Make tonight's bundle, test it against the one in service, and promote it if it is better.

    Run it every night; run it again after it was killed, and it goes on from there.
    """
    settings, mapping = run.settings(), parse_column_map(mapped)
    check_paths(videos=videos, events=events, embeddings=embeddings, links=links, follows=follows)
    check_paths(consent=consent, in_service=in_service)
    from vrec.loop.run import run_loop
    from vrec.loop.sources import LoopSources

    sources = LoopSources(
        videos=videos,
        service=service,
        events=events,
        mapping=mapping,
        embeddings=embeddings,
        links=links,
        follows=follows,
        consent=consent,
        in_service=in_service,
        address=run.address,
    )
    done = run_loop(sources, out, settings)
    run.show(done, print_night)
    return EXIT_PARTIAL if done["outcome"] in ("rolled back", "fallen", "leak") else EXIT_OK
