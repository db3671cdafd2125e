"""Starts of A/B tests in the log of events, which outlives the processes that count."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vrec.config.serve import ExperimentConfig
from vrec.core.tables import StorageFolder
from vrec.serving.ab_test.log import assignment_digest
from vrec.serving.arm_days import DAY_US, MAX_DAYS

EXPERIMENT = "experiment.json"
"""File in the data folder: the A/B test that runs, those before it, and where in the log they began."""
MAX_EARLIER = 3
"""Number of A/B tests before the present one whose figures by day are kept."""


@dataclass(frozen=True, slots=True)
class ExperimentStart:
    """Place in the log of events from which an A/B test is counted."""

    experiment: str
    """Digest of salt, arms and shares: with others, another experiment begins."""
    since: int
    """µs since 1970; earlier events were not of this experiment."""
    cursor: int
    """Cursor of the store behind the last event before."""
    salt: str = ""
    arms: tuple[Mapping[str, Any], ...] = ()
    """Values of its arms; without any it cannot be counted again once it is over."""
    earlier: tuple["ExperimentStart", ...] = ()
    """Starts of the A/B tests before, ascending."""


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
    arms = tuple(arm.model_dump() for arm in config.arms)
    own = ExperimentStart(assignment_digest(config), now, latest_cursor, config.salt, arms)
    try:
        recorded = _start(json.loads(folder.read(EXPERIMENT)))
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        recorded = None
    # A cursor beyond the log is of another store.
    if recorded is not None and recorded.cursor <= latest_cursor:
        if recorded.experiment == own.experiment:
            return replace(recorded, salt=own.salt, arms=own.arms)
        before = [*recorded.earlier, replace(recorded, earlier=())]
        ends = [one.since for one in before[1:]] + [now]
        kept = [
            one for one, end in zip(before, ends, strict=True) if one.arms and end > now - MAX_DAYS * DAY_US
        ]
        own = replace(own, earlier=tuple(kept[-MAX_EARLIER:]))
    folder.write_json(EXPERIMENT, asdict(own))
    return own


def _start(values: Mapping[str, Any]) -> ExperimentStart:
    earlier = tuple(_start(one) for one in values.get("earlier", ()))
    since, cursor = int(values["since"]), int(values["cursor"])
    salt, arms = str(values.get("salt", "")), tuple(values.get("arms", ()))
    return ExperimentStart(str(values["experiment"]), since, cursor, salt, arms, earlier)
