"""Settings for reading events."""

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.events.config import EventReadConfig, InterestConfig


class EventsConfig(BaseConfig):
    """Settings for reading events and weighing the interest that they show."""

    read: EventReadConfig = Field(default_factory=EventReadConfig)
    """Reading of event tables."""
    interest: InterestConfig = Field(default_factory=InterestConfig)
    """Interest that each kind of event shows, and its decay with time."""
