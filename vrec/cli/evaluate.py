"""`vrec evaluate`."""

from typing import Annotated

import typer

from vrec.cli.options import EXIT_OK, LogOptions, RunOptions, command
from vrec.cli.output import print_evaluated


@command
def evaluate(
    *,
    log: LogOptions,
    out: Annotated[
        str, typer.Option(help="A folder for report.html and metrics.json; a path or a URI.")
    ] = "evaluation",
    models: Annotated[
        str | None, typer.Option(help="Recommenders to compare, by commas; `popular` always is.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="time (the default), last or random: see evaluate.split.")
    ] = None,
    like_paper: Annotated[
        bool, typer.Option("--like-paper", help="Also rank among sampled negatives, as many papers do.")
    ] = False,
    run: RunOptions,
) -> int:
    """Compare recommenders on events that they have not seen, and write report.html."""
    from vrec.retrieval.config import check_kind

    chosen = [f"evaluate.split.kind={split}"] if split else []
    if models:
        chosen.append(f"evaluate.models=[{models}]")
    settings = run.settings(chosen)
    for model in (*settings.evaluate.models, *settings.evaluate.search):
        check_kind(model)
    inputs = log.inputs()
    from vrec.pipelines.evaluate.run import evaluate as compare

    done = compare(inputs, out, settings, like_paper=like_paper, address=run.address)
    run.show(done, print_evaluated)
    return EXIT_OK
