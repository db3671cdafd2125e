"""Sweep on Ray Tune: as many concurrent trials as the cluster holds; a failed trial is a row."""

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
from vrec.config.tune import TuneConfig
from vrec.pipelines.cluster import ClusterError, ClusterResources
from vrec.pipelines.tune.search import SCORE, OptunaSuggester, ResumableAsha, silent_optuna
from vrec.pipelines.tune.space import SearchSpace
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.pipelines.tune.trial_log import TrialLog, TuneError, TuneTrial

VALUE = "value"
"""Ray Tune's key of the value of the last epoch."""
TrialListener = Callable[[Sequence[TuneTrial]], None]
"""Callback with all trials, including running ones, whenever one of them changes."""

_QUIET = {
    # Ctrl-C ends the command, as it does everywhere in vrec, instead of the sweep's first half.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The newer reporter prints even with verbose=0.
    "RAY_AIR_NEW_OUTPUT": "0",
    # No files for CSV, JSON and TensorBoard.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Finished trials are in the TrialLog: Ray's own snapshots are never read.
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
    """Run the trials of `tune.trials` that the log lacks, and return all finished trials by number.

    Needs a connection to the cluster. Raises ClusterError where it is too small for one trial, and what
    `data.prepare` raises.
    """
    finished, config = log.trials(), settings.tune
    if len(finished) >= config.trials:
        return finished
    concurrent = max_concurrent(settings.tune, resources)
    shared = {"base": settings, "trial": target.run_trial, "data": data.prepare()}
    trial_resources: dict[str, float] = {"cpu": config.cpus} | ({"gpu": config.gpus} if config.gpus else {})
    asha = ResumableAsha(config, finished)
    recorder = TrialRecorder(log, finished, asha.stopped, on_trials)
    with tempfile.TemporaryDirectory() as scratch, _quiet(), silent_optuna():
        tune.Tuner(
            tune.with_resources(tune.with_parameters(run_trial, **shared), trial_resources),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSuggester(space, settings, finished),
                scheduler=asha if target.reports_epochs and config.early_stop else FIFOScheduler(),
                num_samples=config.trials - len(finished),
                max_concurrent_trials=concurrent,
                # A worker with its libraries loaded begins the next trial at once.
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name="sweep", storage_path=scratch, verbose=0, callbacks=[recorder]),
        ).fit()
    return log.trials()


def run_trial(
    config: Mapping[str, Any],
    *,
    base: Settings,
    trial: Callable[[Any, Settings], Iterator[float]],
    data: Any,
) -> None:
    """Run one trial on a worker, with a report after each epoch. What it raises is its row's error."""
    best = -math.inf
    for epoch, value in enumerate(trial(data, patch_settings(base, config["changes"])), start=1):
        if not math.isfinite(value):
            raise TuneError(f"the figure after epoch {epoch} is {value}")
        best = max(best, value)
        tune.report({SCORE: best, VALUE: value})


class TrialRecorder(tune.Callback):
    """Callback of Ray Tune that tracks trials, and writes each finished one to the log."""

    def __init__(
        self,
        log: TrialLog,
        finished: Sequence[TuneTrial],
        stopped: set[str],
        on_trials: TrialListener | None,
    ) -> None:
        self.log, self.stopped, self.on_trials = log, stopped, on_trials
        self.trials = {trial.number: trial for trial in finished}
        self.begun: dict[int, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles its callbacks at the start, and a terminal cannot be pickled.
        return self.__dict__ | {"on_trials": None}

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        number = trial.config["number"]
        self.begun[number] = time.perf_counter()
        self.trials[number] = TuneTrial(
            number, trial.config["changes"], "running", drawn=trial.config["drawn"] or {}
        )
        self._notify()

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if VALUE in result:
            self._update(trial, values=(*self._trial(trial).values, result[VALUE]))
            self._notify()

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._end(trial, state="stopped" if trial.trial_id in self.stopped else "done")

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        self._end(trial, state="failed", error=failure_reason(trial))

    def _end(self, trial: RayTrial, **changes: Any) -> None:
        if not self._trial(trial).values and changes["state"] != "failed":
            changes = {"state": "failed", "error": "TuneError: it ended without a figure"}
        self._update(trial, **changes)
        self.log.write(self._trial(trial))
        self._notify()

    def _trial(self, trial: RayTrial) -> TuneTrial:
        return self.trials[trial.config["number"]]

    def _update(self, trial: RayTrial, **changes: Any) -> None:
        number = trial.config["number"]
        seconds = round(time.perf_counter() - self.begun[number], 3)
        self.trials[number] = replace(self.trials[number], seconds=seconds, **changes)

    def _notify(self) -> None:
        if self.on_trials is not None:
            self.on_trials([self.trials[number] for number in sorted(self.trials)])


def failure_reason(trial: RayTrial) -> str:
    """Return the class and message of the error that ended a trial."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return "TuneError: it was lost, and Ray does not say why"
    with open(path, "rb") as file:
        # Written by this process a moment ago, so it is safe to unpickle.
        error = cloudpickle.load(file)
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, RayTaskError):
        cause = cause.cause
    if isinstance(cause, RayActorError | WorkerCrashedError | OutOfMemoryError):
        return "WorkerLost: its process was killed, as happens where memory runs out"
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:500]}"


def max_concurrent(config: TuneConfig, resources: ClusterResources) -> int:
    """Return how many trials may run at once; raises ClusterError where not even one fits."""
    capacity = int(resources.cpus / config.cpus)
    if config.gpus:
        capacity = min(capacity, int(resources.gpus / config.gpus))
    if capacity < 1:
        raise ClusterError(
            f"a trial wants {config.cpus:g} CPUs and {config.gpus:g} GPUs; the cluster has "
            f"{resources.cpus:g} and {resources.gpus:g}",
            fix="lower tune.cpus or tune.gpus, or give a larger cluster",
        )
    return min(capacity, config.concurrent or capacity)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Ray Tune logs the traceback of every failed trial, whose row has its error in one line.
    names = ("ray.tune", "ray.train", "ray._private")
    levels = {name: logging.getLogger(name).level for name in names}
    environment = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
