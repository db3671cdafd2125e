"""Times for which events of each kind are kept."""

from collections.abc import Collection, Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.core.schema import EVENT_KINDS, OWN_KIND_PATTERN, REVERSED_BY

DAY_US = 86_400_000_000


class RetentionConfig(BaseConfig):
    """For how long events are kept."""

    days: dict[
        Annotated[str, Field(pattern=OWN_KIND_PATTERN)], Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ] = Field(default_factory=dict)
    """Days for which events of a kind are kept, such as `{impression: 90}`; others are kept until they are
    removed or erased. Events that reverse others, such as `unlike`, are kept as long as what they reverse."""
    events_per_look: int = Field(default=1_000, ge=1)
    """Maximum number of events of the log that are looked at in one go, several of which make a pass."""
    pause_s: float = Field(default=3_600.0, ge=0)
    """Seconds from the end of a pass through the log to the next one: how much later than said an event may
    go."""

    @model_validator(mode="after")
    def _check_reversing(self) -> Self:
        if wrong := sorted(self.days.keys() & REVERSED_BY.keys()):
            reversed_kinds = ", ".join(REVERSED_BY[wrong[0]])
            raise ValueError(
                f"days: {wrong[0]} is kept as long as {reversed_kinds}: leave it out, or what it reversed "
                "would count again"
            )
        return self

    def unknown_kinds(self, own_kinds: Collection[str]) -> list[str]:
        """Return the kinds that are neither vrec's nor the shop's own."""
        return sorted(self.days.keys() - {*EVENT_KINDS, *own_kinds})

    def cutoffs(self, now: int) -> Mapping[str, int]:
        """Return the time before which events of each kind are not kept, at a time; both µs since 1970."""
        days = dict(self.days)
        for kind, reversed_kinds in REVERSED_BY.items():
            if all(one in days for one in reversed_kinds):
                days[kind] = max(days[one] for one in reversed_kinds)
        return {kind: now - round(count * DAY_US) for kind, count in days.items()}
