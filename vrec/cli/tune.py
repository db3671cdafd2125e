"""`vrec tune …`: a sweep over settings, its leaderboard live on the terminal."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from vrec.cli.options import (
    EXIT_OK,
    EXIT_PARTIAL,
    LogOptions,
    ModelOption,
    OptionalEventsOptions,
    RunOptions,
    check_paths,
    command,
)
from vrec.privacy.config import require_no_epsilon

if TYPE_CHECKING:
    from vrec.config.settings import Settings
    from vrec.pipelines.tune.sweep import TrialListener
    from vrec.pipelines.tune.targets import TuneTarget
    from vrec.pipelines.tune.trial_log import TuneTrial

SpaceOption = Annotated[
    str, typer.Option(help="YAML with the settings to vary, a path or a URI; configs/tune has some.")
]
TuneOutOption = Annotated[
    str, typer.Option(help="A folder for trials, report and best settings; a path or a URI.")
]
_SHOWN = 12
"""Trials on the terminal: more would scroll."""


@command
def tune_cf(
    *,
    log: LogOptions,
    model: ModelOption,
    space: SpaceOption,
    out: TuneOutOption,
    run: RunOptions,
) -> int:
    """Look for settings of a recommender. Run it again to resume."""
    settings, inputs = run.settings(), log.inputs()
    require_no_epsilon(settings.privacy, "`vrec tune`")
    from vrec.pipelines.tune.targets import recommender_target

    return _tune(recommender_target(inputs, settings, model), space, out, settings, run)


@command
def tune_ranker(*, log: LogOptions, space: SpaceOption, out: TuneOutOption, run: RunOptions) -> int:
    """Look for settings of the ranker. Run it again to resume."""
    settings, inputs = run.settings(), log.inputs()
    require_no_epsilon(settings.privacy, "`vrec tune`")
    from vrec.pipelines.tune.targets import ranker_target

    return _tune(ranker_target(inputs, settings), space, out, settings, run)


@command
def tune_encoder(
    *,
    features: Annotated[
        str, typer.Option(help="The folder of features that `vrec train encoder` made: OUT/features.")
    ],
    space: SpaceOption,
    out: TuneOutOption,
    log: OptionalEventsOptions,
    run: RunOptions,
) -> int:
    """Look for settings of an encoder that is trained on features. Run it again to resume."""
    settings, inputs = run.settings(), log.inputs()
    require_no_epsilon(settings.privacy, "`vrec tune`")
    check_paths(features=features)
    from vrec.pipelines.tune.targets import encoder_target

    return _tune(encoder_target(features, inputs, settings), space, out, settings, run)


def _tune(subject: "TuneTarget", space: str, out: str, settings: "Settings", run: RunOptions) -> int:
    from vrec.pipelines.tune.run import tune

    board = contextlib.nullcontext() if run.as_json else _board(subject.metric, settings.tune.trials)
    with board as watch:
        done = tune(subject, space, out, settings, address=run.address, on_trials=watch)
    run.show(done, _print_summary)
    return EXIT_PARTIAL if done["failed"] else EXIT_OK


@contextlib.contextmanager
def _board(metric: str, wanted: int) -> "Iterator[TrialListener]":
    """Yield a listener that shows all trials: a live table on a terminal, a line per trial in a log."""
    console = Console()
    if not console.is_terminal:
        yield _lines(console)
        return
    with Live(console=console, refresh_per_second=2) as live:
        yield lambda trials: live.update(leaderboard(trials, metric, wanted))


def _lines(console: Console) -> "Callable[[Sequence[TuneTrial]], None]":
    told: set[int] = set()

    def watch(trials: "Sequence[TuneTrial]") -> None:
        ended = {trial.number for trial in trials if trial.state != "running"}
        if not told and len(ended) > 1:
            told.update(ended)
        for trial in trials:
            if trial.number in ended - told:
                came = trial.error or f"{trial.score:.4f}"
                done = f"trial {trial.number} {trial.state} in {trial.seconds:.1f} s"
                line = f"{done}: {came} {_format_changes(trial)}"
                console.print(line, soft_wrap=True, markup=False, highlight=False)
        told.update(ended)

    return watch


def leaderboard(trials: "Sequence[TuneTrial]", metric: str, wanted: int) -> Table:
    """The trials as a table, best first; of many, the best ones, and those that run or failed."""
    from vrec.pipelines.tune.trial_log import rank_trials

    ended = sum(trial.state != "running" for trial in trials)
    table = Table(title=f"{ended} of {wanted} trials ended", title_justify="left", expand=True)
    for heading, width in (("trial", 5), (metric, 9), ("epochs", 6), ("", 8), ("settings", None)):
        table.add_column(heading, width=width, overflow="fold")
    for trial in rank_trials(trials)[:_SHOWN]:
        score = "" if trial.score is None else f"{trial.score:.4f}"
        what = trial.error or _format_changes(trial)
        table.add_row(str(trial.number), score, str(len(trial.values)), trial.state, escape(what))
    return table


def _format_changes(trial: "TuneTrial") -> str:
    if not trial.changes:
        return "default" if trial.number == 0 else ""
    return ", ".join(
        f"{key.rsplit('.', 1)[-1]}={f'{value:.4g}' if isinstance(value, float) else value}"
        for key, value in trial.changes.items()
    )


def _print_summary(done: Mapping[str, Any]) -> None:
    best, default, count = done["best"], done["default"], done["trials"]
    beside = "" if default is None else f", the default {default:.4f}"
    before = f", {done['resumed_from']} of them of an earlier run" if done["resumed_from"] else ""
    print(f"{count} trials of {done['model']}{before}: best {done['metric']} {best['score']:.4f}{beside}")
    for failed in done["failed"][:20]:
        print(f"  trial {failed['trial']} failed: {failed['error']}")
    if not best["changes"]:
        print(f"  no trial beat the settings as given: there is nothing to change; open {done['report']}")
        return
    print(f"  {done['taken_by']} --config {done['config']} takes the best settings; open {done['report']}")
