"""`vrec compress`."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich import box
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
    console.print(_table(done))
    behind = f", behind the head {done['head']}" if done["head"] else ""
    if done["labelled"]:
        print("1-NN: % of labelled videos whose nearest has their label; lost: points below the original")
        print("other source: the same where the nearest must be of another source")
    print("speed: times as fast as the original, on one core")
    print(f"kept: % of a video's 10 nearest, as the original has them, that stay{behind}; new: the same of")
    print(f"videos not learned from ({done['new_videos']:,} where a network learned)")
    for method, why in done["failed"].items():
        print(f"{method} failed: {why}")
    if done["left_out"]:
        name, why = next(iter(done["left_out"].items()))
        print(f"{len(done['left_out']):,} videos were left out, such as {name}: {why}")
    if done["chosen"] is None:
        print("none is faster at so small a loss, and nothing was written; what may be lost is set by")
        print("compress.most_lost with labels and compress.least_recall without")
        return
    print(f"{done['chosen']} is the fastest that loses no more than allowed: {done['out']}")
    if done["lost_fusion"]:
        print(f"the learned fusion {done['lost_fusion']} takes the original's features, and is left out:")
        print("train one on the new ones with `vrec train encoder` and the config below")
    print(f"  vrec embed --videos … --out … --config {done['config']}")


def _table(done: Mapping[str, Any]) -> Table:
    labelled, first = done["labelled"] > 0, done["rows"][0]
    title = f"{done['videos']:,} videos, {done['labelled']:,} labelled"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    headings = ["network", "px", "runs on", "MB", "frames\n/ s", "speed"]
    headings += ["1-NN", "lost", "other\nsource"] if labelled else []
    rows = []
    for row in done["rows"]:
        mark = " ←" if row["method"] == done["chosen"] else ""
        cells = [row["method"] + mark, str(row["frame_px"]), row["runtime"], f"{row['megabytes']:.1f}"]
        cells += [f"{row['frames_per_s']:.0f}", f"{row['speed']:.2f}×"]
        if labelled:
            cells += [_percent(row["one_nn"]), _percent(first["one_nn"] - row["one_nn"])]
            cells.append(_percent(row["other_source"]))
        rows.append([*cells, _percent(row["recall"]), _percent(row["recall_new"])])
    for number, heading in enumerate([*headings, "kept", "new"]):
        # Where a terminal is narrow, headings are broken and no figure is.
        width = max(len(row[number]) for row in rows)
        table.add_column(heading, justify="left" if number in (0, 2) else "right", min_width=width)
    for row in rows:
        table.add_row(*row)
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
