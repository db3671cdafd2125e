"""Python client of the vrec video recommender."""

from vrec_client.client import AsyncVrecClient, VrecClient
from vrec_client.errors import VrecError
from vrec_client.generated import models
from vrec_client.sender import EventSender, EventsNotSent, QueueFull

__all__ = [
    "AsyncVrecClient",
    "EventSender",
    "EventsNotSent",
    "QueueFull",
    "VrecClient",
    "VrecError",
    "models",
]
