"""`vrec train ranker` and `vrec train encoder`."""

from typing import Annotated

import typer

from vrec.cli.options import (
    EXIT_OK,
    EXIT_PARTIAL,
    LogOptions,
    OptionalEventsOptions,
    RunOptions,
    check_paths,
    command,
)
from vrec.cli.output import print_private_fit, print_trained_encoder, print_trained_ranker
from vrec.privacy.config import require_no_epsilon


@command
def train_ranker(
    *,
    log: LogOptions,
    out: Annotated[str, typer.Option(help="The folder for the ranker; a path or a URI.")],
    epsilon: Annotated[
        str | None,
        typer.Option(
            "--privacy.epsilon", help="Differential privacy of each shopper: ε of this training, such as 4."
        ),
    ] = None,
    run: RunOptions,
) -> int:
    """Train a ranker on logged impressions: clicks, watch time and conversions. Run it again to resume.

    With ε it learns clicks alone, in this process, and does not resume.
    """
    settings = run.settings([] if epsilon is None else [f"privacy.epsilon={epsilon}"])
    inputs = log.inputs()
    if settings.privacy.epsilon is not None:
        from vrec.pipelines.train.private_ranker import train_private_ranker

        run.show(train_private_ranker(inputs, out, settings), print_private_fit)
        return EXIT_OK
    from vrec.pipelines.train.ranker import train_ranker as train

    done = train(inputs, out, settings, address=run.address)
    run.show(done, print_trained_ranker)
    return EXIT_OK


@command
def train_encoder(
    *,
    out: Annotated[str, typer.Option(help="The folder for the encoder; a path or a URI.")],
    videos: Annotated[
        str | None, typer.Option(help="A folder of videos or a VIDEOS table (.parquet); a path or a URI.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="The folder in which the videos' features are kept, within --out by default; without "
            "--videos those in it are trained on as they are."
        ),
    ] = None,
    log: OptionalEventsOptions,
    run: RunOptions,
) -> int:
    """Train an encoder on a catalog's videos, and on what shoppers watched. Run it again to resume."""
    settings, inputs = run.settings(), log.inputs()
    require_no_epsilon(settings.privacy, "`vrec train encoder`")
    check_paths(videos=videos, features=features if videos is None else None)
    from vrec.pipelines.train.encoder import train_encoder as train

    done = train(inputs, videos, features, out, settings, address=run.address)
    run.show(done, print_trained_encoder)
    return EXIT_PARTIAL if done["failures"] else EXIT_OK
