"""Settings for reading events."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.events.config import EventReadConfig, EventShardsConfig, InterestConfig, Recommended
from vrec.robustness.gates.config import GatesConfig


class EventsConfig(BaseConfig):
    """Settings for reading events and weighing the interest that they show."""

    read: EventReadConfig = Field(default_factory=EventReadConfig)
    """Reading of event tables."""
    shards: EventShardsConfig = Field(default_factory=EventShardsConfig)
    """Tables of events in shards."""
    interest: InterestConfig = Field(default_factory=InterestConfig)
    """Interest that each kind of event shows, and its decay with time."""
    gates: GatesConfig = Field(default_factory=GatesConfig)
    """Checks of the data, by `vrec check` and before fits and bundles."""
    consent_default: Literal["given", "refused"] = "given"
    """Consent to fits of a shopper who is not in the table of `--consent`."""
    of: Recommended = "video"
    """What is recommended: `video`, or `creator`, by which `vrec fit` and `vrec evaluate` take the creators
    of VIDEOS in the place of their videos."""
    quarantine: str | None = None
    """Path or URI of a table of `vrec robustness suspects`, or of any `user_id` and `weight`: events of
    shoppers of weight 0 are left out by every command that fits or counts. Their own lists are not
    touched."""
