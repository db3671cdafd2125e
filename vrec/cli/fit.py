"""`vrec fit` and `vrec recommend`."""

from typing import Annotated

import typer

from vrec.cli.options import (
    EXIT_OK,
    LogOptions,
    NewerEventsOptions,
    RunOptions,
    check_paths,
    command,
    known_model,
)
from vrec.cli.output import (
    print_fitted,
    print_private_fit,
    print_recommendations,
    print_recommended,
    print_unanswered,
)
from vrec.core.errors import ConfigError
from vrec.core.masking import mask_credentials
from vrec.privacy.config import require_no_epsilon

LIVE_MODEL = "live"
"""Model of live streams, which is no recommender of videos."""


def _known_model(name: str) -> str:
    return name if name == LIVE_MODEL else known_model(name)


@command
def fit(
    *,
    log: LogOptions,
    model: Annotated[
        str,
        typer.Option(
            help="Which recommender: auto, item_knn, hybrid, …; or live, the model of live streams.",
            callback=_known_model,
        ),
    ] = "auto",
    streams: Annotated[
        str | None, typer.Option(help="Live streams (STREAMS), for the model live; a path or a URI.")
    ] = None,
    out: Annotated[str, typer.Option(help="The folder for the model; a path or a URI.")],
    epsilon: Annotated[
        str | None,
        typer.Option(
            "--privacy.epsilon", help="Differential privacy of each shopper: ε of this fit, such as 4."
        ),
    ] = None,
    run: RunOptions,
) -> int:
    """Fit a recommender on events and write it to a folder."""
    settings = run.settings([] if epsilon is None else [f"privacy.epsilon={epsilon}"])
    inputs = log.inputs()
    check_paths(streams=streams)
    if settings.privacy.epsilon is not None and model != LIVE_MODEL:
        from vrec.pipelines.fit.private import fit_with_privacy

        run.show(fit_with_privacy(inputs, out, settings, model=model), print_private_fit)
        return EXIT_OK
    if model == LIVE_MODEL:
        require_no_epsilon(settings.privacy, "the model live")
        from vrec.pipelines.fit.live import fit_live

        run.show(fit_live(inputs, streams, out, settings), print_fitted)
        return EXIT_OK
    from vrec.pipelines.fit.run import fit as fit_recommender

    done = fit_recommender(inputs, out, settings, model=model, address=run.address)
    run.show(done, print_fitted)
    return EXIT_OK


def _no_empty_ids(users: list[str] | None) -> list[str] | None:
    if any(not user.strip() for user in users or ()):
        raise ConfigError("--user is empty", fix="give a user's id, or leave --user out for all users")
    return None if users is None else [user.strip() for user in users]


@command
def recommend(
    *,
    model: Annotated[str, typer.Option(help="A model's folder; a path or a URI.")],
    k: Annotated[int, typer.Option(min=1, help="Most videos for each user.")] = 10,
    user: Annotated[
        list[str] | None,
        typer.Option(help="A user's id. May be repeated.", callback=_no_empty_ids),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            help="A file of user_ids, a path or a URI: .parquet, .csv, or one a line. All by default."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="A folder for Parquet files, a path or a URI; JSON lines are printed when none is given."
        ),
    ] = None,
    fallback: Annotated[
        bool,
        typer.Option(help="Recommend the popular videos, with source popular, to users without a history."),
    ] = True,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Also recommend videos that the user has seen.")
    ] = False,
    newer: NewerEventsOptions,
    run: RunOptions,
) -> int:
    """Recommend videos to some users, or to all that a model was fitted with and all of newer events."""
    settings, newer_events = run.settings(), newer.inputs()
    check_paths(model=model, users=users)
    from vrec.pipelines.fit.run import RecommendOptions, recommend_all, recommend_users
    from vrec.pipelines.inputs import read_users

    asked = list(user or []) + (read_users(users) if users else [])
    options = RecommendOptions(newer_events, fallback=fallback, allow_seen=allow_seen)
    if out is None:
        rows = recommend_users(model, asked or None, k, settings, options)
        print_recommendations(rows)
        answered = set(rows.column("user_id").to_pylist())
        without = [user for user in dict.fromkeys(asked) if user not in answered]
        print_unanswered(len(without), without)
        return EXIT_OK
    done = recommend_all(model, out, settings, k=k, users=asked or None, options=options, address=run.address)
    run.show(done, lambda done: print_recommended(done, mask_credentials(out)))
    print_unanswered(done["without"], done["without_examples"])
    return EXIT_OK
