"""Start of an A/B test in the log of events, which outlives the processes that count."""

import json
from dataclasses import asdict, dataclass

from vrec.config.serve import ExperimentConfig
from vrec.core.digest import digest
from vrec.core.tables import StorageFolder

EXPERIMENT = "experiment.json"
"""File in the data folder: the A/B test that runs, and where in the log it began."""


@dataclass(frozen=True, slots=True)
class ExperimentStart:
    """Place in the log of events from which an A/B test is counted."""

    experiment: str
    """Digest of salt, arms and shares: with others, another experiment begins."""
    since: int
    """µs since 1970; earlier events were not of this experiment."""
    cursor: int
    """Cursor of the store behind the last event before."""


def begin_experiment(data: str, config: ExperimentConfig, latest_cursor: int, now: int) -> ExperimentStart:
    """Return the start of the A/B test that runs, and record it if this is the first time it does.

    Args:
        data: The data folder of the service.
        config: The A/B test.
        latest_cursor: The store's cursor behind the newest event.
        now: µs since 1970.

    Raises:
        OutputError: The data folder cannot be written.
    """
    folder = StorageFolder(data)
    arms = [arm.model_dump() for arm in config.arms]
    own = ExperimentStart(digest({"salt": config.salt, "arms": arms}), now, latest_cursor)
    try:
        recorded = ExperimentStart(**json.loads(folder.read(EXPERIMENT)))
    except (FileNotFoundError, ValueError, TypeError):
        recorded = None
    # A cursor beyond the log is of another store.
    if recorded is not None and recorded.experiment == own.experiment and recorded.cursor <= latest_cursor:
        return recorded
    folder.write_json(EXPERIMENT, asdict(own))
    return own
