"""Search algorithm (Optuna, with the default settings first) and early stopping (ASHA) of a sweep."""

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
"""Ray Tune's key of the maximized metric: the best epoch's value so far."""
ERROR = "error_of_trial"
"""Ray Tune's key of what a trial failed with: Ray Tune is to repeat only those whose process was lost."""
DEFAULT = 0
"""Number of the trial with the settings as given."""
_UNBOUNDED = 10**6
"""More epochs than any training has."""


@contextlib.contextmanager
def silent_optuna() -> Iterator[None]:
    """Let Optuna log only errors inside the `with`, not every trial and study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class OptunaSuggester(OptunaSearch):
    """Search algorithm that suggests the settings as given first, even outside the space, then Optuna's.

    A continued sweep adds its finished trials to Optuna's study, and draws random numbers unlike theirs.
    """

    def __init__(self, space: SearchSpace, settings: Settings, finished: Sequence[TuneTrial]) -> None:
        config = settings.tune
        seed = int(np.random.SeedSequence([config.seed, len(finished)]).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=config.random_trials, constant_liar=True
        )
        distributions: dict[str, Any] = space.distributions
        super().__init__(space=distributions, metric=SCORE, mode="max", sampler=sampler)
        self.space, self._default_drawn = space, space.drawn(settings)
        numbers = {trial.number for trial in finished}
        self._numbers = ([] if DEFAULT in numbers else [DEFAULT]) + [max(numbers, default=DEFAULT) + 1]
        self._default_id: str | None = None
        for trial in finished:
            self._add_observation(dict(trial.drawn), trial.score)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the number, changes and Optuna's draw of the next trial."""
        number = self._numbers[0]
        self._numbers = self._numbers[1:] or [number + 1]
        if number == DEFAULT:
            self._default_id = trial_id
            return {"number": number, "changes": {}, "drawn": self._default_drawn or {}}
        drawn = super().suggest(trial_id)
        return {"number": number, "changes": self.space.values(drawn or {}), "drawn": drawn}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass the result of an epoch to Optuna."""
        if trial_id != self._default_id and ERROR not in result:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial to Optuna."""
        error = error or ERROR in (result or {})
        if trial_id != self._default_id:
            super().on_trial_complete(trial_id, result, error)
        else:
            self._add_observation(
                self._default_drawn or {}, None if error or not result else result.get(SCORE)
            )

    def _add_observation(self, drawn: dict[str, Any], score: float | None) -> None:
        # Only settings within the space are observations of it.
        if drawn.keys() == self.space.dimensions.keys():
            self.add_evaluated_point(drawn, cast("float", score), error=score is None)


class ResumableAsha(ASHAScheduler):
    """ASHA scheduler that never stops the settings as given, and knows the finished trials of a sweep."""

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
        """Ray Tune's ids of the trials that were stopped."""
        for trial in finished:
            if trial.score is not None:
                self._replay(trial)

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Return whether a trial continues or stops after an epoch."""
        if ERROR in result:
            return TrialScheduler.CONTINUE
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision != TrialScheduler.STOP or trial.config.get("number") == DEFAULT:
            return TrialScheduler.CONTINUE
        self.stopped.add(trial.trial_id)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> None:
        """Take the end of a trial into account; one that failed has no score."""
        if ERROR in result:
            self.on_trial_remove(tune_controller, trial)
        else:
            super().on_trial_complete(tune_controller, trial, result)

    def _replay(self, trial: TuneTrial) -> None:
        replayed = cast("RayTrial", _ReplayedTrial(f"before-{trial.number}", {"number": trial.number}))
        self.on_trial_add(None, replayed)  # type: ignore[arg-type]
        best = np.maximum.accumulate(trial.values)
        for epoch, score in enumerate(best.tolist(), start=1):
            self.on_trial_result(None, replayed, {TRAINING_ITERATION: epoch, SCORE: score})


class _ReplayedTrial:
    """Trial of an earlier run, with only the attributes that ASHA reads."""

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config
