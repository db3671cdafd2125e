"""A sweep on Ray Tune: as many trials at once as the cluster holds; a trial that fails costs a row."""

import contextlib
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler

from vrec.config.patch import patch_settings
from vrec.config.settings import Settings
from vrec.pipelines.cluster import ClusterError, ClusterResources
from vrec.pipelines.tune.search import SCORE, OptunaSuggester, ResumableAsha, silent_optuna
from vrec.pipelines.tune.space import SearchSpace
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.pipelines.tune.trial_log import TrialLog, TuneError, TuneTrial

VALUE = "value"
"""Tune's name of an epoch's own figure."""
TrialListener = Callable[[Sequence[TuneTrial]], None]
"""Hears of all trials, running ones too, whenever one of them has news."""

_QUIET = {
    # Ctrl-C ends the command, as it does everywhere in vrec, instead of the sweep's first half.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Its newer reporter prints even where it is to be silent.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Files of CSV, JSON and TensorBoard that nobody asked for.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # What is finished is in the journal: Ray's own snapshots are never read.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}


def run_sweep(
    target: TuneTarget,
    data: TuneData,
    settings: Settings,
    space: SearchSpace,
    log: TrialLog,
    *,
    resources: ClusterResources,
    on_trials: TrialListener | None = None,
) -> list[TuneTrial]:
    """All finished trials, by number, after making those of `tune.trials` that the journal lacks.

    Needs a connection to the cluster. Raises ClusterError where it is too small for one trial, and what
    `data.prepare` raises.
    """
    finished, config = log.trials(), settings.tune
    if len(finished) >= config.trials:
        return finished
    concurrent = _max_concurrent(settings, resources)
    shared = {"base": settings, "trial": target.run_trial, "material": data.prepare()}
    share: dict[str, float] = {"cpu": config.cpus} | ({"gpu": config.gpus} if config.gpus else {})
    halving = ResumableAsha(config, finished)
    told = _TrialRecorder(log, finished, halving.stopped, on_trials)
    with tempfile.TemporaryDirectory() as scratch, _quiet(), silent_optuna():
        tune.Tuner(
            tune.with_resources(tune.with_parameters(_run_trial, **shared), share),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSuggester(space, settings, finished),
                scheduler=halving if target.reports_epochs and config.early_stop else FIFOScheduler(),
                num_samples=config.trials - len(finished),
                max_concurrent_trials=concurrent,
                # A worker that has its libraries loaded begins the next trial at once.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="sweep", storage_path=scratch, verbose=0, callbacks=[told]),
        ).fit()
    return log.trials()


def _run_trial(
    config: Mapping[str, Any],
    *,
    base: Settings,
    trial: Callable[[Any, Settings], Iterator[float]],
    material: Any,
) -> None:
    """One trial on a worker: its settings, then a report an epoch. What it raises is its row's error."""
    best = -math.inf
    for epoch, value in enumerate(trial(material, patch_settings(base, config["changes"])), start=1):
        if not math.isfinite(value):
            raise TuneError(f"the figure after epoch {epoch} is {value}")
        best = max(best, value)
        tune.report({SCORE: best, VALUE: value})


class _TrialRecorder(tune.Callback):
    """Keeps what Tune tells of trials, and writes each that ends to the journal."""

    def __init__(
        self, journal: TrialLog, finished: Sequence[TuneTrial], stopped: set[str], watch: TrialListener | None
    ) -> None:
        self.journal, self.stopped, self.watch = journal, stopped, watch
        self.trials = {trial.number: trial for trial in finished}
        self.begun: dict[int, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its callbacks down at the beginning; a terminal cannot be.
        return self.__dict__ | {"watch": None}

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        number = trial.config["number"]
        self.begun[number] = time.perf_counter()
        self.trials[number] = TuneTrial(
            number, trial.config["changes"], "running", drawn=trial.config["drawn"] or {}
        )
        self._tell()

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if VALUE in result:
            self._now(trial, values=(*self._of(trial).values, result[VALUE]))
            self._tell()

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._end(trial, state="stopped" if trial.trial_id in self.stopped else "done")

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._end(trial, state="failed", error=_why(trial))

    def _end(self, trial: RayTrial, **news: Any) -> None:
        if not self._of(trial).values and news["state"] != "failed":
            news = {"state": "failed", "error": "TuneError: it ended without a figure"}
        self._now(trial, **news)
        self.journal.write(self._of(trial))
        self._tell()

    def _of(self, trial: RayTrial) -> TuneTrial:
        return self.trials[trial.config["number"]]

    def _now(self, trial: RayTrial, **news: Any) -> None:
        number = trial.config["number"]
        seconds = round(time.perf_counter() - self.begun[number], 3)
        self.trials[number] = replace(self.trials[number], seconds=seconds, **news)

    def _tell(self) -> None:
        if self.watch is not None:
            self.watch([self.trials[number] for number in sorted(self.trials)])


def _why(trial: RayTrial) -> str:
    """The class and words of what ended a trial."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return "TuneError: it was lost, and Ray does not say why"
    with open(path, "rb") as file:
        # Written by this very process, a moment ago.
        error = cloudpickle.load(file)
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, RayTaskError):
        cause = cause.cause
    if isinstance(cause, RayActorError | WorkerCrashedError | OutOfMemoryError):
        return "WorkerLost: its process was killed, as happens where memory runs out"
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:500]}"


def _max_concurrent(settings: Settings, resources: ClusterResources) -> int:
    config = settings.tune
    fits = int(resources.cpus / config.cpus)
    if config.gpus:
        fits = min(fits, int(resources.gpus / config.gpus))
    if fits < 1:
        raise ClusterError(
            f"a trial wants {config.cpus:g} CPUs and {config.gpus:g} GPUs; the cluster has "
            f"{resources.cpus:g} and {resources.gpus:g}",
            fix="lower tune.cpus or tune.gpus, or give a larger cluster",
        )
    return min(fits, config.concurrent or fits)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Tune logs every failed trial's traceback, which its row tells in one line.
    names = ("ray.tune", "ray.train", "ray._private")
    levels = {name: logging.getLogger(name).level for name in names}
    kept = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
