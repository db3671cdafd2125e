"""Which settings are tried next, and which trials are stopped: Optuna and ASHA, with the default first."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import optuna
from ray.air.constants import TRAINING_ITERATION
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from vrec.config.settings import Settings
from vrec.config.tune import TuneConfig
from vrec.pipelines.tune.space import SearchSpace
from vrec.pipelines.tune.trial_log import TuneTrial

SCORE = "score"
"""Tune's name of what is made as high as it goes: the best epoch's figure so far."""
DEFAULT = 0
"""The number of the trial of the settings as given."""
_UNBOUNDED = 10**6
"""Epochs that no training comes to."""


@contextlib.contextmanager
def silent_optuna() -> Iterator[None]:
    """Within, Optuna logs errors alone, not every trial and study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class OptunaSuggester(OptunaSearch):
    """The settings as given first, even where they lie outside the space; then what Optuna draws.

    A sweep that goes on tells Optuna of its finished trials and draws other random numbers than they did.
    """

    def __init__(self, space: SearchSpace, settings: Settings, finished: Sequence[TuneTrial]) -> None:
        config = settings.tune
        seed = int(np.random.SeedSequence([config.seed, len(finished)]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=config.random_trials, constant_liar=True
        )
        distributions: dict[str, Any] = space.distributions
        super().__init__(space=distributions, metric=SCORE, mode="max", sampler=sampler)
        self.space, self._given = space, space.drawn(settings)
        numbers = {trial.number for trial in finished}
        self._numbers = ([] if DEFAULT in numbers else [DEFAULT]) + [max(numbers, default=DEFAULT) + 1]
        self._default: str | None = None
        for trial in finished:
            self._learn(dict(trial.drawn), trial.score)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial's number, changes, and what Optuna drew."""
        number = self._numbers[0]
        self._numbers = self._numbers[1:] or [number + 1]
        if number == DEFAULT:
            self._default = trial_id
            return {"number": number, "changes": {}, "drawn": self._given or {}}
        drawn = super().suggest(trial_id)
        return {"number": number, "changes": self.space.values(drawn or {}), "drawn": drawn}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Hears of an epoch."""
        if trial_id != self._default:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hears of a trial's end."""
        if trial_id != self._default:
            super().on_trial_complete(trial_id, result, error)
        else:
            self._learn(self._given or {}, None if error or not result else result.get(SCORE))

    def _learn(self, drawn: dict[str, Any], score: float | None) -> None:
        # What the space does not hold teaches nothing about it.
        if drawn.keys() == self.space.dimensions.keys():
            self.add_evaluated_point(drawn, cast("float", score), error=score is None)


class ResumableAsha(ASHAScheduler):
    """ASHA that never stops the settings as given, and knows of the trials of a sweep that goes on."""

    def __init__(self, config: TuneConfig, finished: Sequence[TuneTrial]) -> None:
        super().__init__(
            metric=SCORE,
            mode="max",
            max_t=_UNBOUNDED,
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction,
            stop_last_trials=False,
        )
        self.stopped: set[str] = set()
        """Tune's ids of the trials that were stopped."""
        for trial in finished:
            if trial.score is not None:
                self._replay(trial)

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """What becomes of a trial after an epoch."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision != TrialScheduler.STOP or trial.config.get("number") == DEFAULT:
            return TrialScheduler.CONTINUE
        self.stopped.add(trial.trial_id)
        return decision

    def _replay(self, trial: TuneTrial) -> None:
        again = cast("RayTrial", _ReplayedTrial(f"before-{trial.number}", {"number": trial.number}))
        self.on_trial_add(None, again)  # type: ignore[arg-type]
        best = np.maximum.accumulate(trial.values)
        for epoch, score in enumerate(best.tolist(), start=1):
            self.on_trial_result(None, again, {TRAINING_ITERATION: epoch, SCORE: score})


class _ReplayedTrial:
    """A trial of an earlier run, as much of it as ASHA looks at."""

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config
