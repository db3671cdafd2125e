"""What the HTTP side asks of the nodes behind it, wherever they run, and the errors that are part of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from vrec.core.errors import ServeError, VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile
from vrec.serving.experiments import ArmStatistics
from vrec.serving.messages import CatalogChange, EmbeddedVideo, ListResult, RecommendQuery, RequestFilters

Card = Mapping[str, Any]
"""A video's row of VIDEOS by column, plain Python values; `published_at` is an aware datetime."""


class UnknownVideo(VrecError):
    """No video of this id is in the catalogue."""

    fix = "give the id of a video of the catalogue, or add it by POST /v1/videos"


class BackendUnavailable(ServeError):
    """A node did not take the call: it is being started again, or has more calls than it can take."""

    fix = "send the request again in a few seconds"


@dataclass(frozen=True, slots=True)
class ServiceReadiness:
    """Whether the service can answer, part by part."""

    bundle: str
    """The version of the bundle that answers."""
    parts: Mapping[str, str | None] = field(default_factory=dict)
    """By part, None where it is ready, else why it is not."""
    refused: str | None = None
    """Why the bundle that was asked for last is not the one that answers; None where it is."""

    @property
    def ready(self) -> bool:
        """Whether every part is ready; with another bundle than was asked for, it is."""
        return all(why is None for why in self.parts.values())


class ServingBackend(Protocol):
    """The graph behind HTTP. Any call may raise NodeAway or TimeoutError besides what it names.

    Each call sees to it that it ends: nobody else has a clock on it, which would hide from the graph that
    one of its parts does not answer.
    """

    async def recommend(self, ask: RecommendQuery) -> ListResult:
        """At most `ask.k` videos for a shopper, best first."""
        ...

    def fallback(self, ask: RecommendQuery) -> ListResult:
        """An answer from this process alone: popular videos that pass the filters, marked as degraded."""
        ...

    async def similar(self, video_id: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """At most `k` videos like a video, nearest first; raises UnknownVideo."""
        ...

    async def search(self, text: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """At most `k` videos for a text, best first; none where nothing fits."""
        ...

    async def cards(self, video_ids: Sequence[str]) -> Mapping[str, Card]:
        """The VIDEOS rows of those ids that are in the catalogue, changes acknowledged before included."""
        ...

    async def apply(self, events: pa.Table) -> ApplyResult:
        """What became of EVENTS, which are durable by then; raises StoreError where none is."""
        ...

    async def profile(self, user_id: str) -> Profile | None:
        """A shopper's profile with every event acknowledged before; None where there is no event."""
        ...

    async def erase(self, user_id: str) -> int:
        """How many events of a shopper were removed for good, the profile too; raises StoreError."""
        ...

    async def embed(self, path: str, title: str | None, tags: tuple[str, ...]) -> EmbeddedVideo:
        """What a video holds, decoded in a process that can be killed; raises VideoError.

        `path` is a path or URI that all nodes reach.
        """
        ...

    async def change(self, change: CatalogChange) -> None:
        """Returns when the catalogue's change is durable; it shows within `refresh_s`.

        A row without vectors keeps those that the video has. Raises OutputError where it cannot be kept.
        """
        ...

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """At most `limit` EVENTS of the log behind a cursor, and the cursor behind them.

        Raises StoreError.
        """
        ...

    async def arms(self) -> ArmStatistics:
        """What each arm's shoppers saw and did."""
        ...

    async def ready(self) -> ServiceReadiness:
        """Which parts can answer at this moment; raises nothing."""
        ...
