"""Protocol of the service behind HTTP, with its errors."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import pyarrow as pa

from vrec.core.errors import ServeError, VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile
from vrec.profiles.stores.codec import EventRow
from vrec.serving.arm_days import ArmDay
from vrec.serving.catalog.listing import CatalogQuery
from vrec.serving.deployments.backends import (
    AuditBackend,
    BatchesBackend,
    BundlesBackend,
    ConsentsBackend,
    ConversationsBackend,
    CreatorsBackend,
    ExperimentBackend,
    LearnedSearchesBackend,
    LinksBackend,
    MomentsBackend,
    RecordsBackend,
    RulesBackend,
    SearchesBackend,
    StreamsBackend,
    TrendsBackend,
)
from vrec.serving.deployments.service_state import ServiceReadiness, ServiceState
from vrec.serving.experiments import ArmStatistics
from vrec.serving.health.hours import ModelHealth
from vrec.serving.messages import (
    CatalogEdit,
    CatalogEntry,
    CatalogPage,
    EmbeddedVideo,
    ListResult,
    RecommendQuery,
    RequestFilters,
    VideoUpsert,
)

Card = Mapping[str, Any]
"""A video's row of VIDEOS by column, plain Python values; `published_at` is an aware datetime."""


class UnknownVideo(VrecError):
    """Video id that is not in the catalog."""

    fix = "give the id of a video of the catalog, or add it by POST /v1/uploads"


class VideoIdTaken(VrecError):
    """Id of a new video that the catalog has already."""

    fix = "choose another id, or DELETE that video first"


class VideoChanged(VrecError):
    """Video that is not as the editor has seen it."""

    fix = "read the video again, and repeat the change"


class BackendUnavailable(ServeError):
    """Call that a deployment did not answer: it is restarting or overloaded."""

    fix = "send the request again in a few seconds"


class ServingBackend(Protocol):
    """Service behind HTTP. Any call may raise BackendUnavailable or TimeoutError besides what it names.

    Each call limits its own time. The caller sets no timeout, which would hide from the service that one of
    its deployments does not answer.
    """

    @property
    def audit(self) -> AuditBackend:
        """Audit log of the calls of the scope `manage`."""
        ...

    @property
    def rules(self) -> RulesBackend:
        """Rules of the shop."""
        ...

    @property
    def trends(self) -> TrendsBackend:
        """Trending videos."""
        ...

    @property
    def searches(self) -> SearchesBackend:
        """Popular searches."""
        ...

    @property
    def learned_searches(self) -> LearnedSearchesBackend:
        """Searches that count as interest."""
        ...

    @property
    def streams(self) -> StreamsBackend:
        """Live streams."""
        ...

    @property
    def consents(self) -> ConsentsBackend:
        """Consents of shoppers."""
        ...

    @property
    def records(self) -> RecordsBackend:
        """Records of shoppers, and their receipts."""
        ...

    @property
    def links(self) -> LinksBackend:
        """Links of shoppers to accounts in other domains."""
        ...

    @property
    def creators(self) -> CreatorsBackend:
        """Creators and streamers."""
        ...

    @property
    def moments(self) -> MomentsBackend:
        """Moments of videos."""
        ...

    @property
    def conversations(self) -> ConversationsBackend:
        """Conversations with the assistant."""
        ...

    @property
    def batches(self) -> BatchesBackend:
        """Batches of lists for many shoppers."""
        ...

    @property
    def bundles(self) -> BundlesBackend:
        """Bundles that the shop may be moved to."""
        ...

    @property
    def experiment(self) -> ExperimentBackend:
        """A/B test of the shop."""
        ...

    async def recommend(self, query: RecommendQuery) -> ListResult:
        """Return at most `query.k` videos for a shopper, best first."""
        ...

    def fallback(self, query: RecommendQuery, why: str = "ranking") -> ListResult:
        """Return popular videos that pass the filters, degraded by `why`, without another process."""
        ...

    async def similar(self, video_id: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """Return at most `k` videos similar to one, nearest first; raises UnknownVideo."""
        ...

    async def search(self, text: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """Return at most `k` videos for a text, best first; popular ones if nothing matches."""
        ...

    async def cards(self, video_ids: Sequence[str]) -> Mapping[str, Card]:
        """Return the VIDEOS rows of the known ids, with all changes acknowledged before."""
        ...

    async def videos(self, query: CatalogQuery, at: int) -> CatalogPage:
        """Return a page of the catalog at a time `at` in µs since 1970."""
        ...

    async def video(self, video_id: str, at: int) -> CatalogEntry:
        """Return a video of the catalog at a time `at` in µs since 1970; raises UnknownVideo."""
        ...

    async def apply(self, rows: Sequence[EventRow]) -> ApplyResult:
        """Apply rows of EVENTS and return when they are durable; raises StoreError if none is."""
        ...

    async def profile(self, user_id: str) -> Profile | None:
        """Return a shopper's profile with every event acknowledged before; None without events."""
        ...

    async def erase(self, user_id: str) -> int:
        """Delete a shopper's events and profile and return the number of events; raises StoreError."""
        ...

    async def remove_event(self, event_id: str) -> bool:
        """Remove an event as if never sent, and return whether it was there; raises UnknownEvent."""
        ...

    async def join(self, session: str, user_id: str) -> int:
        """Make a session's events a user's, and return their number; raises SessionTaken.

        `session` is its user id in events, which begins with SESSION_PREFIX.
        """
        ...

    async def rekey(self, pairs: Sequence[tuple[str, str]]) -> int:
        """Move shoppers to other ids with all that is kept of them, and return how many there were.

        Args:
            pairs: Present and new id of each, as they are kept. Moving one again changes nothing.
        """
        ...

    async def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last EVENTS before a cursor, the latest first, and the next cursor."""
        ...

    async def embed(self, path: str, title: str | None, tags: tuple[str, ...]) -> EmbeddedVideo:
        """Embed a video, decoding it in a process that can be killed.

        Args:
            path: A path or URI that every node reaches.
            title: Title of the video, if any.
            tags: Tags of the video.

        Raises:
            VideoError: The video cannot be decoded or embedded.
        """
        ...

    async def change(self, edit: CatalogEdit, expected: str | None = None) -> Card | None:
        """Write an edit of the catalog durably, and return the video as it is then; None after its removal.

        All answers of this backend have the edit from now on, those of other replicas within `refresh_s`. Of
        two edits of one field the one acknowledged later counts.

        Args:
            edit: The edit.
            expected: `card_version` that the video must have before; None for any.

        Raises:
            VideoIdTaken: The video to add is in the catalog.
            UnknownVideo: The video to update or remove is not.
            VideoChanged: The video has another version.
            SchemaError: A field is not a column of VIDEOS, or its value is of another type.
            OutputError: The edit cannot be written.
        """
        ...

    async def upsert(
        self, upserts: Sequence[VideoUpsert], *, more: bool = False
    ) -> list[Literal["add", "update"] | VrecError]:
        """Update videos, or add those that the catalog lacks, durably together and in their order.

        Args:
            upserts: The videos.
            more: Whether others of the same request follow, before which no answer needs to have these.

        Returns:
            What was done with each, or the reason why an unknown video cannot be added.

        Raises:
            OutputError: The edits cannot be written; nothing has changed.
        """
        ...

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """Return at most `limit` EVENTS after a cursor of shoppers who consent to `train`, and the cursor
        after them; none at the end of the log alone.

        Raises StoreError.
        """
        ...

    async def arms(self) -> ArmStatistics:
        """Return the statistics of each arm."""
        ...

    async def arm_days(self, days: int) -> Sequence[ArmDay]:
        """Return the figures of each arm of the A/B test on the last `days` days with events, ascending."""
        ...

    async def model_health(self) -> ModelHealth:
        """Return the health of the model as of the last hour that was compared."""
        ...

    async def service_state(self) -> ServiceState:
        """Return the bundle in service and the replicas."""
        ...

    async def ready(self) -> ServiceReadiness:
        """Return which parts can answer now; never raises."""
        ...
