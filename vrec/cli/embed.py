"""`vrec embed` and `vrec failures`."""

import json
from typing import Annotated

import typer
from rich.console import Console

from vrec.cli.options import EXIT_OK, EXIT_PARTIAL, OutputOptions, RunOptions, VideosOption, command
from vrec.cli.output import print_embedded, print_failures
from vrec.core.errors import fix_for
from vrec.core.tables import read_failures


@command
def embed(
    *,
    videos: VideosOption,
    out: Annotated[str, typer.Option(help="The folder for the tables; a path or a URI.")],
    run: RunOptions,
) -> int:
    """Embed a catalogue: decode its videos and write an embedding table. Run it again to resume."""
    from vrec.pipelines.embed.run import embed as embed_catalogue

    manifest = embed_catalogue(videos, out, run.settings().embed, address=run.address)
    run.show(manifest, lambda manifest: print_embedded(manifest, out))
    if not manifest["counts"]["failed"]:
        return EXIT_OK
    print_failures(read_failures(out), out, Console(stderr=True), most=20)
    return EXIT_PARTIAL


@command
def failures(
    *,
    out: Annotated[str, typer.Argument(help="An embedding folder.")],
    output: OutputOptions,
) -> int:
    """Show which videos failed, why, and how to fix it."""
    rows = read_failures(out)
    if output.as_json:
        for row in rows.to_pylist():
            fix = fix_for(row["error"])
            print(json.dumps({**row, "at": row["at"].isoformat(), "fix": fix}, ensure_ascii=False))
    elif rows.num_rows:
        print_failures(rows, out, Console(), most=None)
    else:
        print(f"{out}: no video failed")
    return EXIT_OK
