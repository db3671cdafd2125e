"""`vrec bundle`."""

from typing import Annotated

import typer

from vrec.cli.options import EXIT_OK, LogOptions, ModelOption, RunOptions, check_paths, command
from vrec.cli.output import print_bundled


@command
def bundle(
    *,
    log: LogOptions,
    out: Annotated[str, typer.Option(help="A new folder for the bundle; a path or a URI.")],
    ranker: Annotated[
        str | None,
        typer.Option(help="The ranker's folder. Without it, lists are in the recommender's order."),
    ] = None,
    recommender: Annotated[
        str | None,
        typer.Option(help="The recommender's folder. Without it, one is fitted here; see --model."),
    ] = None,
    live: Annotated[
        str | None,
        typer.Option(help="The folder of a model of live streams. Without it, they go by several signals."),
    ] = None,
    model: ModelOption = "auto",
    creators: Annotated[
        str | None,
        typer.Option(
            help="The folder of a recommender of creators, of `vrec fit --model creators --set "
            "events.of=creator`. Without it, creators go by their videos and figures."
        ),
    ] = None,
    moments: Annotated[
        str | None,
        typer.Option(
            help="An embedding folder with moments. Without it, those of --embeddings are used, if any."
        ),
    ] = None,
    run: RunOptions,
) -> int:
    """Put videos, embeddings, a recommender and a ranker together into the folder that `vrec serve` loads."""
    settings, inputs = run.settings(), log.inputs()
    check_paths(ranker=ranker, recommender=recommender, live=live, creators=creators, moments=moments)
    from vrec.pipelines.bundle import make_bundle as write_bundle

    models = {"ranker": ranker, "recommender": recommender, "live": live, "creators": creators}
    models["moments"] = moments
    done = write_bundle(inputs, out, settings, **models, model=model, address=run.address)
    run.show(done, print_bundled)
    return EXIT_OK
