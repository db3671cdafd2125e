"""`vrec demo`."""

import contextlib
from dataclasses import asdict
from typing import Annotated

import typer

from vrec.cli.options import EXIT_OK, RunOptions, check_paths, command
from vrec.cli.output import print_demo


@command
def demo(
    *,
    videos: Annotated[
        str | None, typer.Option(help="Your own videos; drawn ones where none are given.")
    ] = None,
    out: Annotated[str, typer.Option(help="The folder for the tables, on this machine.")] = "demo-out",
    live: Annotated[
        str | None,
        typer.Option(help="Only draw live streams, until Ctrl-C, for the demo served at this address."),
    ] = None,
    run: RunOptions,
) -> int:
    """Embed a drawn catalog (or yours), simulate shoppers in it, and show what vrec suggests to them.

    What it leaves can be served: the command is printed at the end.
    """
    settings = run.settings()
    if live is not None:
        from vrec.pipelines.demo_live import demo_live

        with contextlib.suppress(KeyboardInterrupt):
            demo_live(out, live, settings)
        return EXIT_OK
    check_paths(videos=videos)
    from vrec.pipelines.demo import demo as run_demo

    manifest, report, shop = run_demo(out, settings, videos=videos, address=run.address)
    done = manifest | {"report": report, "shop": asdict(shop) if shop else None}
    run.show(done, lambda done: print_demo(done, out, is_drawn=videos is None))
    return EXIT_OK
