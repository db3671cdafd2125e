"""Body and response of `/v1/experiment`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.config import serve
from vrec.config.serve import ARM_PATTERN, ExperimentArmConfig
from vrec.serving.ab_test.log import PresentExperiment
from vrec.serving.http.schemas.requests import PLAIN_PATTERN, RequestModel
from vrec.serving.http.schemas.responses import ResponseModel

MAX_ARMS = 10
"""Maximum number of arms."""
ArmName = Annotated[str, StringConstraints(pattern=ARM_PATTERN)]
ArmOrder = TypeAliasType("ArmOrder", serve.ArmOrder)


class ExperimentArm(RequestModel):
    """Arm of the A/B test."""

    name: ArmName
    """Name in responses and statistics."""
    share: float = Field(gt=0, le=1)
    """Share of the shoppers."""
    order: ArmOrder = "ranked"
    """Order of the lists: by the ranker, or by popularity as a baseline."""

    def to_config(self) -> ExperimentArmConfig:
        """Return the arm as in the settings."""
        return ExperimentArmConfig(name=self.name, share=self.share, order=self.order)


class ExperimentRequest(RequestModel):
    """Body of `PUT /v1/experiment`."""

    salt: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=PLAIN_PATTERN)]
    """Text behind the assignment: another one assigns all shoppers anew, the same one leaves those in an arm
    whose place among the shares stays."""
    arms: Annotated[list[ExperimentArm], Field(min_length=1, max_length=MAX_ARMS)]
    """Arms, whose shares add up to 1; figures of the others are compared with those of the first."""

    @model_validator(mode="after")
    def _check_arms(self) -> Self:
        if problem := arms_problem(self.arms):
            raise PydanticCustomError("arms", problem)
        return self


def arms_problem(arms: Sequence[ExperimentArm]) -> Any:
    """Return why arms make no A/B test; None if they do."""
    total = sum(arm.share for arm in arms)
    if abs(total - 1) > 1e-6:
        return f"the shares of the arms add up to {total:g}, want 1"
    if len({arm.name for arm in arms}) < len(arms):
        return "two arms have one name"
    return None


class ExperimentResponse(ResponseModel):
    """A/B test in force."""

    salt: str
    arms: list[ExperimentArm]
    is_running: bool
    """Whether there is more than one arm."""
    source: str
    """`settings` for that of `serve.arms`, `change` for one that was put in force since."""
    changed_at: datetime | None
    """Time of the change; null for the settings."""
    changed_by: str | None
    """Name of the API key that made the change; null for the settings, and without keys."""
    version: str
    """Version, which is also the `ETag`."""


def experiment_content(present: PresentExperiment) -> dict[str, Any]:
    """Return an ExperimentResponse as a dict."""
    change = present.change
    return {
        "salt": present.config.salt,
        "arms": [arm.model_dump() for arm in present.config.arms],
        "is_running": len(present.config.arms) > 1,
        "source": "settings" if change is None else "change",
        "changed_at": None if change is None else datetime.fromtimestamp(change.at / 1e6, UTC),
        "changed_by": None if change is None else change.by,
        "version": present.version,
    }
