"""Finished trials of a sweep on disk, one file each, from which an interrupted sweep continues."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vrec.core.errors import VrecError
from vrec.core.masking import mask_values
from vrec.core.tables import StorageFolder

SWEEP = "sweep.json"
"""The file that identifies the sweep: target, data, space and settings."""
TRIALS = "trials"
"""The subfolder of finished trials."""


class TuneError(VrecError):
    """A sweep cannot continue, or a trial's value is not finite."""

    fix = "see the leaderboard for the result of each trial"


@dataclass(frozen=True, slots=True)
class TuneTrial:
    """One choice of settings, and its result."""

    number: int
    """Counted from 0, the trial with the settings as given."""
    changes: Mapping[str, Any]
    """Values of the varied settings, by dotted name."""
    state: Literal["running", "done", "stopped", "failed"]
    """`stopped` is a trial that early stopping ended."""
    values: Sequence[float] = ()
    """The metric after each epoch; higher is better."""
    seconds: float = 0.0
    """Seconds since it began on its worker."""
    error: str | None = None
    """Class and message of the error that it failed with."""
    drawn: Mapping[str, Any] = field(default_factory=dict)
    """`changes` as Optuna drew them."""

    @property
    def score(self) -> float | None:
        """Metric of the best epoch; None for a failed trial, and before the first epoch."""
        finite = [value for value in self.values if math.isfinite(value)]
        return max(finite) if finite and self.state != "failed" else None


def rank_trials(trials: Sequence[TuneTrial]) -> list[TuneTrial]:
    """Return the trials by score, the best first; of equal ones the earlier first; last those without one."""
    return sorted(trials, key=lambda t: (math.inf if t.score is None else -t.score, t.number))


class TrialLog:
    """Folder of a sweep with its finished trials."""

    def __init__(self, out: str, about: Mapping[str, Any]) -> None:
        """Open the folder `out`, or create it.

        `about` is all that must be equal for trials to be comparable, as JSON. Raises TuneError where the
        folder holds a sweep with other data, settings or space.
        """
        self.folder = StorageFolder(out)
        about = mask_values(json.loads(json.dumps(about)))
        if self.folder.exists(SWEEP):
            previous = json.loads(self.folder.read(SWEEP))
            if other := sorted(key for key in {*previous, *about} if previous.get(key) != about.get(key)):
                raise TuneError(
                    f"{out} holds a sweep with another {', '.join(other)}",
                    fix="give another --out, or remove that folder",
                )
        else:
            self.folder.write_json(SWEEP, about)

    def trials(self) -> list[TuneTrial]:
        """Return the finished trials, by number."""
        names = (name for name in self.folder.files(TRIALS) if name.endswith(".json"))
        return [TuneTrial(**json.loads(self.folder.read(f"{TRIALS}/{name}"))) for name in names]

    def write(self, trial: TuneTrial) -> None:
        """Write a finished trial; raises OutputError."""
        fields = asdict(trial) | {"values": [v for v in trial.values if math.isfinite(v)]}
        self.folder.write_json(f"{TRIALS}/{trial.number:05d}.json", fields)
