"""Changes of a shop's A/B test, in a log of the store: the last one is in force, over restarts too."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgpack
from pydantic import ValidationError

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.core.digest import digest
from vrec.core.errors import VrecError

logger = logging.getLogger("ray.serve")

EXPERIMENT_LOG = "experiment"
"""Log of the store that has the changes."""
FORMAT = 1
"""Version of the records; those of others are left out."""


class ExperimentChanged(VrecError):
    """Change of an A/B test that is not as its editor believes."""

    fix = "read GET /v1/experiment again, and send the change with its ETag in If-Match"


@dataclass(frozen=True, slots=True)
class ExperimentChange:
    """Change of the A/B test: other arms than those of the settings, or these again."""

    settings: str
    """`assignment_digest` of the settings at the time: with others, the settings are in force again."""
    salt: str | None
    """Salt; None for that of the settings."""
    arms: tuple[ExperimentArmConfig, ...] | None
    """Arms; None for those of the settings."""
    by: str | None
    """Name of the API key; None without keys, and for the settings."""
    at: int
    """µs since 1970."""
    request_id: str | None
    """Request that made it; None for the settings."""


@dataclass(frozen=True, slots=True)
class PresentExperiment:
    """A/B test in force."""

    config: ExperimentConfig
    number: int = 0
    """Number of the last change in the log; 0 if there was none."""
    change: ExperimentChange | None = None
    """Change that made it; None for that of the settings."""

    @property
    def version(self) -> str:
        """Text that differs after every change."""
        return f"{self.number}-{assignment_digest(self.config)}"


def assignment_digest(config: ExperimentConfig) -> str:
    """Return a digest of salt and arms: with others, another A/B test begins."""
    return digest({"salt": config.salt, "arms": [arm.model_dump() for arm in config.arms]})


def present_experiment(settings: ExperimentConfig, last: Sequence[tuple[int, bytes]]) -> PresentExperiment:
    """Return the A/B test in force: that of the settings or of the last change, whichever changed later.

    Args:
        settings: The settings of the service.
        last: Number and content of the last record of the log, if there is one.
    """
    if not last:
        return PresentExperiment(settings)
    number, record = last[-1]
    change = unpack_experiment(number, record)
    if change is None or change.arms is None or change.salt is None:
        return PresentExperiment(settings, number)
    if change.settings != assignment_digest(settings):
        return PresentExperiment(settings, number)
    config = settings.model_copy(update={"salt": change.salt, "arms": change.arms})
    return PresentExperiment(config, number, change)


def settings_take_over(settings: ExperimentConfig, last: Sequence[tuple[int, bytes]]) -> bool:
    """Return whether the settings have changed since the last record, which therefore holds no longer.

    It is to be recorded: else the change would hold again once the settings are as they were before.
    """
    change = unpack_experiment(*last[-1]) if last else None
    return change is not None and change.settings != assignment_digest(settings)


def pack_experiment(change: ExperimentChange) -> bytes:
    """Encode a change as a record."""
    values: dict[str, Any] = asdict(change)
    values["arms"] = None if change.arms is None else [arm.model_dump() for arm in change.arms]
    packed = msgpack.packb((FORMAT, values))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_experiment(number: int, record: bytes) -> ExperimentChange | None:
    """Decode a record; None, with an error in the service's log, if it is none of this version."""
    try:
        form, values = msgpack.unpackb(record)
        if form != FORMAT:
            raise ValueError(f"its format is {form}, want {FORMAT}")
        arms = values.pop("arms")
        sound = None if arms is None else tuple(ExperimentArmConfig.model_validate(arm) for arm in arms)
        return ExperimentChange(arms=sound, **values)
    except (ValueError, TypeError, KeyError, ValidationError, msgpack.UnpackException) as error:
        why = str(error)[:300]
        logger.error("a change of the A/B test cannot be read", extra={"number": number, "why": why})
        return None
