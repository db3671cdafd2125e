"""Protocols of the parts of the service behind HTTP, from the shop's rules to its A/B test."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import pyarrow as pa

from vrec.bundle.summary import BundleSummary
from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.core.errors import VrecError
from vrec.privacy.consent.table import Answers, ConsentAnswer, Purpose
from vrec.profiles.links import AccountLink
from vrec.profiles.stores.codec import EventRow
from vrec.serving.ab_test.log import PresentExperiment
from vrec.serving.batches.folder import BatchState
from vrec.serving.bundle_moves import BundleMove
from vrec.serving.conversation.hand_overs import HandOver
from vrec.serving.conversation.messages import ConversationTurn, ShopperMessage
from vrec.serving.conversation.record import Conversation
from vrec.serving.creators.entries import CreatorEntry, CreatorList, CreatorPage
from vrec.serving.creators.lists import CreatorKind
from vrec.serving.deployments.held import ShopperReceipt
from vrec.serving.messages import AuditEntry, ListResult, RecommendQuery, RequestFilters
from vrec.serving.moments.messages import MomentExample, MomentQuery, MomentResult
from vrec.serving.rules.book import RuleBook, RuleChange, RuleVersion, ShopRule
from vrec.serving.streams.content.messages import ContentState
from vrec.serving.streams.states import StreamBeat, StreamDetails, StreamState
from vrec.serving.trends.searches import PopularSearch
from vrec.serving.trends.windows import TrendWindow

RuleExpectation = frozenset[int] | Literal["any", "absent"]
"""Versions of which a rule must have one to be changed; absent if it must not exist."""


class RulesBackend(Protocol):
    """Rules of the shop behind HTTP. Any call may raise BackendUnavailable, TimeoutError or StoreError."""

    async def book(self) -> RuleBook:
        """Return all rules, with every change acknowledged before."""
        ...

    async def change(self, change: RuleChange, expected: RuleExpectation) -> RuleVersion:
        """Put or remove a rule durably; raises UnknownRule, RuleConflict or RuleLimit."""
        ...

    async def history(self, rule_id: str) -> list[RuleVersion]:
        """Return all changes of a rule, the last first; none for a rule that never was."""
        ...

    async def preview(
        self, queries: Sequence[RecommendQuery], rule_id: str, rule: ShopRule | None
    ) -> list[tuple[ListResult, ListResult]]:
        """Return the lists of requests as they are, and with a rule put or removed, without any trace."""
        ...


class AuditBackend(Protocol):
    """Durable audit log. Any call may raise BackendUnavailable, TimeoutError or StoreError."""

    async def append(self, entry: AuditEntry) -> None:
        """Add an entry durably."""
        ...

    async def page(self, before: int | None, limit: int) -> list[tuple[int, AuditEntry]]:
        """Return the last at most `limit` entries before a number (None: of all), the last first."""
        ...


class TrendsBackend(Protocol):
    """Trends behind HTTP. Any call may raise BackendUnavailable."""

    async def videos(
        self, window: TrendWindow, k: int, filters: RequestFilters, at: int
    ) -> tuple[ListResult, bool]:
        """Return at most `k` trending videos at a time (µs since 1970), the highest score first.

        Also returns whether all events are counted, which is false for a while after a restart.
        """
        ...


class LearnedSearchesBackend(Protocol):
    """Searches that count as interest."""

    def learn(self, text: str, user_key: str, request_id: str) -> None:
        """Begin to store the event of a shopper's search, if the settings want that."""
        ...


class SearchesBackend(Protocol):
    """Popular searches."""

    def count(self, text: str, user_key: str, at: int) -> None:
        """Count a search of a shopper at a time in µs since 1970; it is stored a little later."""
        ...

    async def popular(self, window: TrendWindow, k: int, at: int) -> Sequence[PopularSearch]:
        """Return at most `k` popular searches of a window up to `at`, of most shoppers first."""
        ...


class StreamsBackend(Protocol):
    """Live streams behind HTTP. Any call may raise BackendUnavailable, TimeoutError or StoreError."""

    async def put(self, stream_id: str, details: StreamDetails) -> tuple[StreamState, bool]:
        """Start a stream, or update a live one; its state, and whether it started. Raises StreamTaken."""
        ...

    async def beat(self, stream_id: str, beat: StreamBeat) -> StreamState:
        """Record a sign of life, and return the state; raises UnknownStream or StreamOver."""
        ...

    async def beat_all(self, beats: Mapping[str, StreamBeat]) -> dict[str, StreamState | VrecError]:
        """Record signs of life of many streams, and return the state or error of `beat` of each."""
        ...

    async def end(self, stream_id: str) -> StreamState:
        """End a stream, and return its state; raises UnknownStream."""
        ...

    async def get(self, stream_id: str) -> StreamState:
        """Return a stream, live or over; raises UnknownStream."""
        ...

    async def content(self, state: StreamState) -> ContentState | None:
        """Return what became of the content of a stream since its start; None if it was not followed."""
        ...

    async def live(self) -> Sequence[StreamState]:
        """Return all streams that are live now, by id, with every change acknowledged before."""
        ...

    async def states(self, stream_ids: Sequence[str]) -> Mapping[str, StreamState]:
        """Return the present states of streams by id, in one read."""
        ...

    def possible(self, video_ids: Sequence[str]) -> list[str]:
        """Return those videos that may be streams: streams of the catalog, and videos that it lacks, among
        which may be a stream that another replica has just started. Raises BackendUnavailable."""
        ...

    def ends_at(self, state: StreamState) -> int | None:
        """Return the time (µs since 1970) since which a stream is over; None if it is live."""
        ...


class ConsentsBackend(Protocol):
    """Consents of shoppers. Calls may raise BackendUnavailable, TimeoutError or StoreError."""

    @property
    def default(self) -> bool:
        """Consent of a shopper who has not answered."""
        ...

    async def of(self, user_id: str) -> Mapping[Purpose, ConsentAnswer]:
        """Return a shopper's answers; those of a joined session are its account's."""
        ...

    async def put(self, user_id: str, answers: Answers) -> Mapping[Purpose, ConsentAnswer]:
        """Put a shopper's answers durably, and return all; they are in effect for the next request."""
        ...

    async def after(
        self, version: int, limit: int
    ) -> tuple[list[tuple[str, dict[Purpose, ConsentAnswer]]], int]:
        """Return the answers of at most `limit` shoppers after a number, and the next number, 0 at the
        end."""
        ...


class RecordsBackend(Protocol):
    """Records of shoppers. Calls may raise BackendUnavailable, TimeoutError or StoreError."""

    async def held(self, user_id: str) -> Mapping[str, Any]:
        """Return all that is kept of a shopper but the events, as JSON values by part."""
        ...

    async def erase(self, user_id: str, sha256: str | None) -> ShopperReceipt:
        """Erase all that is kept of a shopper, and return the receipt, which gets a digest."""
        ...

    async def keep_receipt(self, what: str, counts: Mapping[str, int], sha256: str | None) -> ShopperReceipt:
        """Write a receipt down, and return it."""
        ...

    async def receipts(self, before: int | None, limit: int) -> Sequence[ShopperReceipt]:
        """Return the last receipts before a number, the latest first."""
        ...


class LinksBackend(Protocol):
    """Links of shoppers to accounts in other domains. Calls may raise BackendUnavailable or StoreError."""

    async def put(self, link: AccountLink) -> tuple[AccountLink, bool]:
        """Make a link hold durably; return the one that holds, and whether it is new.

        Raises:
            LinkTaken: The account is another shopper's, or the shopper has another one there.
            ConsentMissing: The shopper does not consent to links.
        """
        ...

    async def revoke(self, user_id: str, domain: str, at: int) -> AccountLink:
        """End a link durably at a time (µs since 1970), and return it; raises UnknownLink."""
        ...

    async def of(self, user_id: str) -> list[AccountLink]:
        """Return a shopper's links, revoked ones too, by domain."""
        ...

    async def after(self, version: int, limit: int) -> tuple[list[AccountLink], int]:
        """Return at most `limit` links of all shoppers after a number, and the next number, 0 at the end."""
        ...

    async def account_of(self, user_id: str, domain: str) -> str | None:
        """Return the id, in events and profiles, of the account in a domain to which a link of the shopper
        holds; None without one."""
        ...

    def counts(self, domain: str) -> bool:
        """Return whether the bundle in service has a weight for a domain, so that its events count."""
        ...

    def unused(self, rows: Sequence[EventRow]) -> int:
        """Return the number of events of other domains that no list can use.

        The bundle has no weight for their domain, or their video is known to neither it nor the catalog.
        """
        ...


class CreatorsBackend(Protocol):
    """Creators and streamers behind HTTP. Any call may raise BackendUnavailable or TimeoutError."""

    async def recommend(self, query: RecommendQuery, kind: CreatorKind) -> CreatorList:
        """Return at most `query.k` creators whom a shopper may want to follow, best first.

        `query.filters` are those of the creators' videos, and `exclude` in them has ids of creators. If the
        profiles do not answer, the shopper counts as unknown and the list is marked as degraded.
        """
        ...

    async def get(self, creator_id: str) -> tuple[CreatorEntry, Mapping[str, float]]:
        """Return a creator, and sums of what shoppers did with it or its videos; raises UnknownCreator."""
        ...

    async def page(self, after: str, limit: int, kind: CreatorKind) -> CreatorPage:
        """Return at most `limit` creators after an id, by ascending id."""
        ...


class BatchesBackend(Protocol):
    """Batches behind HTTP. Any call may raise OutputError or SourceError."""

    async def start(self, query: RecommendQuery, user_ids: Sequence[str] | None) -> BatchState:
        """Start a batch; raises TooManyBatches.

        Args:
            query: Request of the lists; its ids, time and order are set for each.
            user_ids: Shoppers; None for all with an account and events.
        """
        ...

    async def state(self, batch_id: str) -> BatchState:
        """Return the state of a batch; raises UnknownBatch."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Cancel a batch, or remove its result; raises UnknownBatch."""
        ...

    async def result(self, batch_id: str) -> tuple[pa.NativeFile, int]:
        """Return the result's stream and size in bytes; raises UnknownBatch or BatchNotDone."""
        ...


class BundlesBackend(Protocol):
    """Bundles that the shop may be moved to. Any call may raise ServeError or OutputError."""

    async def summaries(self) -> Sequence[BundleSummary]:
        """Return the bundles in the folder `serve.bundles`, the newest first; none without a folder."""
        ...

    async def problem(self) -> str | None:
        """Return the reason why there is no such folder; None if it exists."""
        ...

    async def last_move(self) -> BundleMove | None:
        """Return the move that runs, or the one that ended last; None if there was none."""
        ...

    async def move(self, name: str) -> BundleMove:
        """Start the move to a bundle of that folder.

        Raises:
            UnknownBundle: There is none of this name, or no such folder.
            UnreadableBundle: The folder of this name has no readable bundle.
            MoveRuns: Another move runs.
            CannotMove: The service does not run in a way that lets it move.
        """
        ...


class ExperimentBackend(Protocol):
    """A/B test of the shop behind HTTP. Calls may raise BackendUnavailable, TimeoutError or StoreError."""

    @property
    def config(self) -> ExperimentConfig:
        """A/B test by which answers assign shoppers to arms."""
        ...

    def arm_of(self, user_id: str) -> ExperimentArmConfig:
        """Return a shopper's arm in that A/B test."""
        ...

    async def present(self) -> PresentExperiment:
        """Return the A/B test in force, with every change acknowledged before."""
        ...

    async def change(
        self,
        salt: str,
        arms: Sequence[ExperimentArmConfig],
        expected: str | None,
        *,
        by: str | None,
        request_id: str,
    ) -> PresentExperiment:
        """Put another A/B test in force durably; all answers of this backend have it from now on.

        Args:
            salt: Its salt.
            arms: Its arms, whose shares add up to 1.
            expected: Version that the one before must have; None for any.
            by: Name of the API key.
            request_id: Request that makes the change.

        Raises:
            ExperimentChanged: The one before has another version.
        """
        ...


class MomentsBackend(Protocol):
    """Moments of videos. Any call may raise BackendUnavailable or TimeoutError."""

    async def find(self, query: MomentQuery) -> MomentResult:
        """Return moments, best first; raises MomentsMissing or UnknownVideo."""
        ...

    async def embed(self, content: bytes) -> MomentExample:
        """Embed a picture or a short clip to search by; raises VideoError."""
        ...


class ConversationsBackend(Protocol):
    """Conversations with the assistant. Any call may raise BackendUnavailable, TimeoutError or StoreError."""

    async def answer(
        self, user_id: str, message: ShopperMessage, account: str | None = None
    ) -> ConversationTurn:
        """Answer a message of a shopper, and return when the conversation with it is durable.

        A message that is sent again gets the answer that it got before.

        Args:
            user_id: The shopper, as conversations are kept.
            message: The message.
            account: Id by which the shop's orders tool knows the shopper, for this answer alone; None for
                `user_id`.
        """
        ...

    async def get(self, user_id: str) -> Conversation | None:
        """Return a shopper's conversation; None if there is none."""
        ...

    async def forget(self, user_id: str) -> bool:
        """Remove a shopper's conversation, and return whether there was one."""
        ...

    async def hand_overs(self, after: int, limit: int) -> tuple[list[HandOver], int]:
        """Return the next conversations that a person takes over, by their last change, and the version of
        the last of them.

        Args:
            after: Version behind which to begin; 0 at first.
            limit: Maximum number.
        """
        ...
