"""`vrec evaluate`."""

from dataclasses import replace
from typing import Annotated

import typer

from vrec.cli.options import EXIT_OK, LogOptions, RunOptions, check_paths, command
from vrec.cli.output import print_evaluated
from vrec.core.errors import ConfigError
from vrec.privacy.config import require_no_epsilon


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
        str | None, typer.Option(help="time (the default), last, random or given: see evaluate.split.")
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="A published validation split, in the layout of --events.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="A published test split, in the layout of --events; it implies --split given."),
    ] = None,
    like_paper: Annotated[
        bool, typer.Option("--like-paper", help="Also rank among sampled negatives, as many papers do.")
    ] = False,
    run: RunOptions,
) -> int:
    """Compare recommenders on events that they have not seen, and write report.html."""
    from vrec.retrieval.config import check_kind

    if test is not None and split not in {None, "given"}:
        raise ConfigError(f"--test is for --split given, not {split}", fix="leave one of the two out")
    if test is not None:
        split = "given"
    chosen = [f"evaluate.split={{kind: {split}}}"] if split == "given" else []
    if split and split != "given":
        chosen.append(f"evaluate.split.kind={split}")
    if models:
        chosen.append(f"evaluate.models=[{models}]")
    settings = run.settings(chosen)
    require_no_epsilon(settings.privacy, "`vrec evaluate`")
    for model in (*settings.evaluate.models, *settings.evaluate.search):
        check_kind(model)
    check_paths(validation=validation, test=test)
    inputs = replace(log.inputs(), validation=validation, test=test)
    from vrec.pipelines.evaluate.run import evaluate as compare

    done = compare(inputs, out, settings, like_paper=like_paper, address=run.address)
    run.show(done, print_evaluated)
    return EXIT_OK
