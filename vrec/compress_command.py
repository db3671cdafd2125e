"""`vrec compress`."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from vrec.options import DONE, AsJson, ConfigFile, Debug, Overrides, Videos, app


@app.command()
def compress(
    *,
    videos: Videos,
    out: Annotated[str, typer.Option(help="The folder for the chosen network; a path or a URI.")],
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Make the network that sees frames smaller and faster, and measure what that costs in quality."""
    from vrec.pipelines.compress import compress as run
    from vrec.settings import load_settings

    settings = load_settings(config, overrides or [])
    done = run(videos, out, settings, say=lambda text: print(text, file=sys.stderr, flush=True))
    if as_json:
        print(json.dumps(done, ensure_ascii=False))
    else:
        say_compressed(done, Console())
    return DONE


def say_compressed(done: Mapping[str, Any], console: Console) -> None:
    """Prints the table, and how to use what was chosen."""
    labelled = done["rows"][0]["one_nn"] is not None
    table = Table(title=f"{done['videos']:,} videos, {done['labelled']:,} labelled", title_justify="left")
    headings = ["network", "pixels", "runs on", "MB", "frames/s", "speed"]
    headings += ["1-NN", "1-NN, other source"] if labelled else []
    for number, heading in enumerate([*headings, "neighbours kept", "of new videos"]):
        table.add_column(heading, justify="left" if number in (0, 2) else "right")
    for row in done["rows"]:
        mark = " ←" if row["method"] == done["chosen"] else ""
        cells = [row["method"] + mark, str(row["frame_px"]), row["runtime"], f"{row['megabytes']:.1f}"]
        cells += [f"{row['frames_per_s']:.0f}", f"{row['speed']:.2f}"]
        shares = [row["one_nn"], row["other_source"]] if labelled else []
        shares += [row["recall"], row["recall_new"]]
        table.add_row(*cells, *("" if share is None else f"{share:.3f}" for share in shares))
    console.print(table)
    for method, why in done["failed"].items():
        print(f"{method} was left out: {why}")
    if done["left_out"]:
        name, why = next(iter(done["left_out"].items()))
        print(f"{len(done['left_out']):,} videos were left out, such as {name}: {why}")
    if done["chosen"] is None:
        print("none is faster at so small a loss; nothing was written (see compress.most_lost, least_recall)")
    else:
        print(f"{done['chosen']} is the fastest that loses no more than allowed: {done['out']}")
        print(f"  vrec embed --videos … --out … --config {done['config']}")
