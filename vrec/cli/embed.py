"""`vrec embed` and `vrec failures`."""

import json
from typing import Annotated

import typer
from rich.console import Console

from vrec.cli.options import DONE, SOME_FAILED, OutputOptions, RunOptions, Videos, command
from vrec.cli.output import list_failures, print_embedded
from vrec.core.errors import mend_of
from vrec.core.tables import read_failures


@command
def embed(
    *,
    videos: Videos,
    out: Annotated[str, typer.Option(help="The folder for the tables; a path or a URI.")],
    run: RunOptions,
) -> int:
    """Embed a catalogue: decode its videos and write an embedding table. Run it again to resume."""
    from vrec.pipelines.embed.run import embed as embed_catalogue

    manifest = embed_catalogue(videos, out, run.settings().embed, address=run.address)
    run.show(manifest, lambda manifest: print_embedded(manifest, out))
    if not manifest["counts"]["failed"]:
        return DONE
    list_failures(read_failures(out), out, Console(stderr=True), most=20)
    return SOME_FAILED


@command
def failures(
    *,
    out: Annotated[str, typer.Argument(help="An embedding folder.")],
    output: OutputOptions,
) -> int:
    """Show which videos failed, why, and how to mend it."""
    rows = read_failures(out)
    if output.as_json:
        for row in rows.to_pylist():
            mend = mend_of(row["error"])
            print(json.dumps({**row, "at": row["at"].isoformat(), "mend": mend}, ensure_ascii=False))
    elif rows.num_rows:
        list_failures(rows, out, Console(), most=None)
    else:
        print(f"{out}: no video failed")
    return DONE
