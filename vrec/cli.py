"""`vrec …`: arguments in, one call, an exit code out. The scripts in jobs/ call the same functions."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from vrec.core.errors import VrecError, mend_of
from vrec.core.tables import read_failures

app = typer.Typer(
    name="vrec",
    help="A video recommender for shops, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DONE, COULD_NOT_RUN, WRONG_USAGE, SOME_FAILED = 0, 1, 2, 3

Videos = Annotated[
    str, typer.Option(help="A folder of videos or a VIDEOS table (.parquet); a path or a URI.")
]
Out = Annotated[str, typer.Option(help="The folder for the tables; a path or a URI.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML with settings that differ.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="A setting: a.b=c. May be repeated.")]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster; a local Ray is started when none is given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@app.callback()
def _vrec() -> None:
    """A video recommender for shops, on Ray."""


@app.command()
def embed(
    *,
    videos: Videos,
    out: Out,
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Embed a catalogue: decode its videos and write an embedding table. Run it again to resume."""
    from vrec.pipelines.embed import embed as run
    from vrec.settings import load_settings

    settings = load_settings(config, overrides or [])
    manifest = run(videos, out, settings.embed, address=address)
    if as_json:
        print(json.dumps(manifest, ensure_ascii=False))
    else:
        _say_embedded(manifest, out)
    if not manifest["counts"]["failed"]:
        return DONE
    _list_failures(read_failures(out), out, Console(stderr=True), most=20)
    return SOME_FAILED


@app.command()
def failures(
    out: Annotated[str, typer.Argument(help="An embedding folder.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show which videos failed, why, and how to mend it."""
    rows = read_failures(out)
    if as_json:
        for row in rows.to_pylist():
            mend = mend_of(row["error"])
            print(json.dumps({**row, "at": row["at"].isoformat(), "mend": mend}, ensure_ascii=False))
    elif rows.num_rows:
        _list_failures(rows, out, Console(), most=None)
    else:
        print(f"{out}: no video failed")
    return DONE


@app.command()
def demo(
    *,
    videos: Annotated[
        str | None, typer.Option(help="Your own videos; drawn ones where none are given.")
    ] = None,
    out: Out = "demo-out",
    config: ConfigFile = None,
    overrides: Overrides = None,
    address: Address = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Draw a small catalogue (or take yours), embed it, and write report.html with its look-alikes."""
    from vrec.pipelines.demo import TABLES
    from vrec.pipelines.demo import demo as run
    from vrec.settings import load_settings

    settings = load_settings(config, overrides or [])
    manifest, report = run(out, settings, videos=videos, address=address)
    if as_json:
        print(json.dumps(manifest | {"report": report}, ensure_ascii=False))
    else:
        _say_embedded(manifest, str(Path(out) / TABLES))
        print(f"open {report}")
    return DONE


def _say_embedded(manifest: dict[str, Any], out: str) -> None:
    counts, times, rate = manifest["counts"], manifest["timings"], manifest["throughput"]
    pace = f" at {rate['videos_per_s']:.1f} videos/s" if rate else ""
    done = f"{counts['embedded']:,} of {counts['videos']:,} videos"
    print(f"embedded {done} in {times['wall_s']:.1f} s{pace}: {out}")
    if counts["kept"]:
        print(f"  {counts['kept']:,} unchanged since the last run, {counts['new']:,} new or changed")
    if ignored := manifest["ignored"]:
        files = "file" if ignored == 1 else "files"
        print(f"  {ignored:,} {files} passed over: not a video by the ending")
    if groups := manifest["near_duplicates"]:
        many = "group" if len(groups) == 1 else "groups"
        print(f"  {len(groups):,} {many} of near-duplicates, such as {', '.join(groups[0][:3])}")


def _list_failures(rows: pa.Table, out: str, console: Console, most: int | None) -> None:
    shown = rows.to_pylist()[:most]
    # A log has no width: there, a row stays on one line so that it can be searched for.
    if not console.is_terminal:
        for row in shown:
            line = f"{row['video_id']}: {row['error']}: {row['message']}. To mend it: {mend_of(row['error'])}"
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    else:
        table = Table(title=f"{rows.num_rows:,} failed", title_justify="left", show_lines=False)
        for heading in ("video", "error", "why", "how to mend it"):
            table.add_column(heading, overflow="fold")
        for row in shown:
            cells = (row["video_id"], row["error"], row["message"], mend_of(row["error"]))
            table.add_row(*(cell.replace("[", r"\[") for cell in cells))
        console.print(table)
    if len(shown) < rows.num_rows:
        console.print(f"… and {rows.num_rows - len(shown):,} more: vrec failures {out}", soft_wrap=True)


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command: 0 done, 1 could not run, 2 wrong usage, 3 done with failed rows."""
    debug = "--debug" in arguments or bool(os.environ.get("VREC_DEBUG"))
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="vrec", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except VrecError as error:
        if debug:
            traceback.print_exc()
        print(f"vrec: {error}. To mend it: {error.mend}", file=sys.stderr)
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        print("vrec: stopped; the same command goes on from here", file=sys.stderr)
        return COULD_NOT_RUN
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            error.show()  # type: ignore[attr-defined]
            return WRONG_USAGE
        if debug:
            traceback.print_exc()
        what = " ".join(str(error).split())[:300]
        print(f"vrec: {type(error).__name__}: {what}. To see more: add --debug", file=sys.stderr)
        return COULD_NOT_RUN


def main() -> None:
    """Entry point of the `vrec` command."""
    sys.exit(run(sys.argv[1:]))
