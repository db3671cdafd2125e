"""`vrec compress`."""

from typing import Annotated

import typer
from rich.console import Console

from vrec.cli.options import EXIT_OK, SettingsOptions, VideosOption, check_paths, command
from vrec.cli.output import print_compressed


@command
def compress(
    *,
    videos: VideosOption,
    out: Annotated[str, typer.Option(help="The folder for the chosen network; a path or a URI.")],
    run: SettingsOptions,
) -> int:
    """Make the network that sees frames smaller and faster, and measure what that costs in quality."""
    settings = run.settings()
    check_paths(videos=videos)
    from vrec.pipelines.compress.run import compress as compress_network

    done = compress_network(videos, out, settings)
    run.show(done, lambda done: print_compressed(done, Console()))
    return EXIT_OK
