"""The finished trials of a sweep on disk, a file each, so that a sweep that was killed goes on from them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vrec.core.errors import VrecError
from vrec.core.tables import StorageFolder

SWEEP = "sweep.json"
"""What is looked for, and in what; beside the trials."""
TRIALS = "trials"
"""The subfolder of finished trials."""


class TuneError(VrecError):
    """A sweep cannot go on, or a trial's figure is none."""

    fix = "see the leaderboard for what each trial came to"


@dataclass(frozen=True, slots=True)
class TuneTrial:
    """One choice of settings, and what came of it."""

    number: int
    """From 0, which are the settings as given."""
    changes: Mapping[str, Any]
    """The settings that were varied, by dotted name."""
    state: Literal["running", "done", "stopped", "failed"]
    """`stopped` is one that lagged behind others and was not let end."""
    values: Sequence[float] = ()
    """The figure after each epoch; higher is better."""
    seconds: float = 0.0
    """From when it began on its worker."""
    error: str | None = None
    """Why it failed: the error's class, and what it says."""
    drawn: Mapping[str, Any] = field(default_factory=dict)
    """As Optuna has it."""

    @property
    def score(self) -> float | None:
        """The figure of its best epoch; None for one that failed or has none yet."""
        known = [value for value in self.values if math.isfinite(value)]
        return max(known) if known and self.state != "failed" else None


def rank_trials(trials: Sequence[TuneTrial]) -> list[TuneTrial]:
    """The trials, best first; equal ones as they were made, and those without a score last."""
    return sorted(
        trials,
        key=lambda t: (
            (-math.inf if t.score is None else -t.score, t.number)
            if t.score is not None
            else (math.inf, t.number)
        ),
    )


class TrialLog:
    """A sweep's folder.

    Raises TuneError where it holds another sweep: other data, settings or space.
    """

    def __init__(self, out: str, about: Mapping[str, Any]) -> None:
        """`about` is all that must be the same for trials to be comparable, as JSON."""
        self.folder = StorageFolder(out)
        about = json.loads(json.dumps(about))
        if self.folder.exists(SWEEP):
            before = json.loads(self.folder.read(SWEEP))
            if other := sorted(key for key in {*before, *about} if before.get(key) != about.get(key)):
                raise TuneError(
                    f"{out} holds a sweep with another {', '.join(other)}",
                    fix="give another --out, or remove that folder",
                )
        else:
            self.folder.write_json(SWEEP, about)

    def trials(self) -> list[TuneTrial]:
        """The finished trials, by number."""
        names = (name for name in self.folder.files(TRIALS) if name.endswith(".json"))
        return [TuneTrial(**json.loads(self.folder.read(f"{TRIALS}/{name}"))) for name in names]

    def write(self, trial: TuneTrial) -> None:
        """Writes a finished trial; raises OutputError."""
        whole = asdict(trial) | {"values": [v for v in trial.values if math.isfinite(v)]}
        self.folder.write_json(f"{TRIALS}/{trial.number:05d}.json", whole)
