"""`vrec embed` and `vrec failures`."""

import json
import re
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from vrec.cli.options import (
    EXIT_OK,
    EXIT_PARTIAL,
    OutputOptions,
    RunOptions,
    VideosOption,
    check_paths,
    command,
)
from vrec.cli.output import print_embedded, print_failures
from vrec.core.errors import fix_for
from vrec.core.masking import mask_credentials
from vrec.core.tables import read_failures


@dataclass(frozen=True, slots=True)
class FailureTolerance:
    """Failed videos with which a run still counts as done."""

    number: float
    """A number of videos, or a percentage of all."""
    is_percent: bool

    def covers(self, *, failed: int, videos: int, **_: int) -> bool:
        """Return whether so many failed videos, of so many in the catalog, are tolerated."""
        # In whole numbers of hundredths: 29 % of 100 videos are 29, not 28.999….
        return failed * 100 <= self.number * videos + 1e-9 if self.is_percent else failed <= self.number


def parse_tolerance(text: str) -> FailureTolerance:
    """Parse `--tolerate`: a whole number, or a percentage from 0% to 100%; raises BadParameter."""
    percent = text.strip().endswith("%")
    number = text.strip().removesuffix("%").strip()
    is_valid = re.fullmatch(r"\d+(\.\d+)?" if percent else r"\d+", number, re.ASCII)
    if not is_valid or (percent and float(number) > 100):
        raise typer.BadParameter(f"{text}: want a number of videos or 0% to 100%", param_hint="--tolerate")
    return FailureTolerance(float(number), percent)


@command
def embed(
    *,
    videos: VideosOption,
    out: Annotated[str, typer.Option(help="The folder for the tables; a path or a URI.")],
    tolerate: Annotated[
        str,
        typer.Option(
            metavar="N|P%", help="Failed videos, as a number or a share, with which the exit code is still 0."
        ),
    ] = "0",
    moments: Annotated[
        bool,
        typer.Option("--moments", help="Keep vectors of the moments of each video too; see docs/moments.md."),
    ] = False,
    run: RunOptions,
) -> int:
    """Embed a catalog: decode its videos and write an embedding table. Run it again to resume."""
    tolerance, settings = parse_tolerance(tolerate), run.settings()
    check_paths(videos=videos)
    from vrec.encoders.moments.config import MomentsConfig
    from vrec.pipelines.embed.run import embed as embed_catalogue

    config = settings.embed
    if moments and config.moments is None:
        config = config.model_copy(update={"moments": MomentsConfig()})
    manifest = embed_catalogue(videos, out, config, address=run.address)
    shown = mask_credentials(out)
    run.show(manifest, lambda manifest: print_embedded(manifest, shown))
    if not manifest["counts"]["failed"]:
        return EXIT_OK
    print_failures(read_failures(out), shown, Console(stderr=True), most=20)
    return EXIT_OK if tolerance.covers(**manifest["counts"]) else EXIT_PARTIAL


@command
def failures(
    *,
    out: Annotated[str, typer.Argument(help="An embedding folder; a path or a URI.")],
    output: OutputOptions,
) -> int:
    """Show which videos failed, why, and how to fix it."""
    rows, shown = read_failures(out), mask_credentials(out)
    if output.as_json:
        for row in rows.to_pylist():
            fix = fix_for(row["error"])
            print(json.dumps({**row, "at": row["at"].isoformat(), "fix": fix}, ensure_ascii=False))
    elif rows.num_rows:
        print_failures(rows, shown, Console(), most=None)
    else:
        print(f"{shown}: no video failed")
    return EXIT_OK
