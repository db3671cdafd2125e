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
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler

from vrec.config.patch import patch_settings
from vrec.config.settings import Settings
from vrec.config.tune import TuneConfig
from vrec.pipelines.cluster import ClusterError, ClusterResources, loss_reason
from vrec.pipelines.tune.search import ERROR, SCORE, OptunaSuggester, ResumableAsha, silent_optuna
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
    """Run the trials of `tune.trials` that the log lacks, and return all trials by number.

    Trials that were lost with their processes or nodes more than `tune.max_failures` times are failed ones of
    what is returned, and not in the log. Needs a connection to the cluster. Raises ClusterError where it is
    too small for one trial, and what `data.prepare` raises.
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
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                verbose=0,
                callbacks=[recorder],
                failure_config=tune.FailureConfig(max_failures=config.max_failures),
            ),
        ).fit()
    return sorted([*log.trials(), *recorder.lost], key=lambda trial: trial.number)


def run_trial(
    config: Mapping[str, Any],
    *,
    base: Settings,
    trial: Callable[[Any, Settings], Iterator[float]],
    data: Any,
) -> None:
    """Run one trial on a worker, with a report after each epoch. What it raises is reported too."""
    best = -math.inf
    try:
        for epoch, value in enumerate(trial(data, patch_settings(base, config["changes"])), start=1):
            if not math.isfinite(value):
                raise TuneError(f"the figure after epoch {epoch} is {value}")
            best = max(best, value)
            tune.report({SCORE: best, VALUE: value})
    except Exception as error:
        # A worker of the trial's own tasks may have been lost: raised, so that the trial is repeated.
        if loss_reason(error) is not None:
            raise
        tune.report({SCORE: best, ERROR: describe_error(error)})


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
        self.lost: list[TuneTrial] = []
        """Trials that were lost more often than they may be repeated."""
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
        if ERROR in result:
            self._update(trial, error=result[ERROR])
        elif VALUE in result:
            self._update(trial, values=(*self._trial(trial).values, result[VALUE]))
            self._notify()

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        if self._trial(trial).error is not None:
            self._update(trial, state="failed")
        elif not self._trial(trial).values:
            self._update(trial, state="failed", error="TuneError: it ended without a figure")
        else:
            self._update(trial, state="stopped" if trial.trial_id in self.stopped else "done")
        self.log.write(self._trial(trial))
        self._notify()

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        error = trial_error(trial)
        self._update(trial, state="failed", error=describe_error(error))
        if error is None or loss_reason(error) is not None:
            self.lost.append(self._trial(trial))
        else:
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


def trial_error(trial: RayTrial) -> BaseException | None:
    """Return the error that ended a trial; None where Ray Tune has none."""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    with open(path, "rb") as file:
        # Written by this process a moment ago, so it is safe to unpickle.
        return cloudpickle.load(file)


def describe_error(error: BaseException | None) -> str:
    """Return the class and message of the error that ended a trial, or how its process was lost."""
    if error is None:
        return "WorkerLost: Ray does not say why"
    lost = loss_reason(error)
    if lost is not None:
        return lost
    while isinstance(error, RayTaskError):
        error = error.cause
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


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
