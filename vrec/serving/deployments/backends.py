"""Protocols of the parts of the service behind HTTP, from the shop's rules to its A/B test."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import pyarrow as pa

from vrec.bundle.summary import BundleSummary
from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.serving.ab_test.log import PresentExperiment
from vrec.serving.batches.folder import BatchState
from vrec.serving.bundle_moves import BundleMove
from vrec.serving.messages import AuditEntry, ListResult, RecommendQuery, RequestFilters
from vrec.serving.rules.book import RuleBook, RuleChange, RuleVersion, ShopRule
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

    async def end(self, stream_id: str) -> StreamState:
        """End a stream, and return its state; raises UnknownStream."""
        ...

    async def get(self, stream_id: str) -> StreamState:
        """Return a stream, live or over; raises UnknownStream."""
        ...

    async def live(self) -> Sequence[StreamState]:
        """Return all streams that are live now, by id, with every change acknowledged before."""
        ...

    async def states(self, stream_ids: Sequence[str]) -> Mapping[str, StreamState]:
        """Return the present states of streams by id, in one read."""
        ...

    def ends_at(self, state: StreamState) -> int | None:
        """Return the time (µs since 1970) since which a stream is over; None if it is live."""
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
