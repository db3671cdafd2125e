"""Service behind HTTP as it sees shoppers once a door is before it.

Here alone the ids, fields and texts of requests become what may be kept of them. Routes pass on what the
caller sent, and answer with it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from vrec.config.serve import ServeConfig
from vrec.core.types import ApplyResult
from vrec.privacy.door.door import Door
from vrec.profiles.profile import Profile
from vrec.profiles.stores.codec import EventRow
from vrec.serving.deployments.protocol import ServingBackend
from vrec.serving.door.parts import (
    BatchesAtDoor,
    ConsentsAtDoor,
    ConversationsAtDoor,
    CreatorsAtDoor,
    ExperimentAtDoor,
    LearnedSearchesAtDoor,
    LinksAtDoor,
    MomentsAtDoor,
    RecordsAtDoor,
    RulesAtDoor,
    SearchesAtDoor,
)
from vrec.serving.messages import ListResult, RecommendQuery, RequestFilters
from vrec.serving.tenants.context import DEFAULT_TENANT

MAX_MOVED = 200_000
"""Shoppers of whom a replica remembers during a rotation that they are moved, about 30 MB."""


def open_door(
    config: ServeConfig, tenant: str = DEFAULT_TENANT, environment: Mapping[str, str] | None = None
) -> Door | None:
    """Return the door of a tenant's shop; None where everything is kept as it was sent.

    Args:
        config: Settings of the service.
        tenant: The tenant.
        environment: The environment variables; None takes those of the process.

    Raises:
        PrivacyError: A key is missing, short or unreadable, or the old key is the new one.
    """
    if not config.privacy.is_on:
        return None
    return Door(config.privacy, tenant or config.privacy.tenant, environment)


def check_door(config: ServeConfig) -> None:
    """Raise PrivacyError if a key of pseudonyms of any shop is missing, short or unreadable."""
    for name in (DEFAULT_TENANT, *config.tenants):
        open_door(config.of_tenant(name) if name else config, name)


class BackendAtDoor:
    """ServingBackend over another one, which knows shoppers by their pseudonyms alone."""

    def __init__(self, backend: ServingBackend, door: Door) -> None:
        """Put a door before a backend."""
        self._backend, self._door = backend, door
        self._moved: OrderedDict[str, None] = OrderedDict()
        # Parts that name no shopper.
        self.audit, self.trends, self.streams = backend.audit, backend.trends, backend.streams
        self.bundles = backend.bundles
        self.cards, self.videos, self.video = backend.cards, backend.videos, backend.video
        self.similar, self.embed = backend.similar, backend.embed
        self.change, self.upsert = backend.change, backend.upsert
        self.export, self.arms, self.arm_days = backend.export, backend.arms, backend.arm_days
        self.service_state, self.ready = backend.service_state, backend.ready
        self.model_health = backend.model_health
        # Parts that do.
        self.rules = RulesAtDoor(backend.rules, self)
        self.searches = SearchesAtDoor(backend.searches, self)
        self.learned_searches = LearnedSearchesAtDoor(backend.learned_searches, self)
        self.consents = ConsentsAtDoor(backend.consents, self)
        self.records = RecordsAtDoor(backend.records, self)
        self.links = LinksAtDoor(backend.links, self)
        self.creators = CreatorsAtDoor(backend.creators, self)
        self.moments = MomentsAtDoor(backend.moments, self)
        self.conversations = ConversationsAtDoor(backend.conversations, self)
        self.batches = BatchesAtDoor(backend.batches, self)
        self.experiment = ExperimentAtDoor(backend.experiment, self)

    @property
    def door(self) -> Door:
        """The door."""
        return self._door

    async def enter(self, *user_ids: str) -> list[str]:
        """Return the ids of shoppers, sessions or accounts as they are kept; during a rotation those who are
        under the old key are moved first."""
        entered = [self._door.shopper(user_id) for user_id in user_ids]
        before = self._door.before
        if before is not None:
            old = dict(zip(map(self._door.before_key, user_ids), entered, strict=True))
            pairs = [(was, new) for was, new in old.items() if was != new and new not in self._moved]
            if pairs:
                await self._backend.rekey(pairs)
                for _, new in pairs:
                    self._moved[new] = None
                while len(self._moved) > MAX_MOVED:
                    self._moved.popitem(last=False)
        return entered

    async def query_at_door(self, query: RecommendQuery) -> RecommendQuery:
        """Return a request for a list as it may go on."""
        (user_id,) = await self.enter(query.user_id)
        return replace(query, user_id=user_id, age=self._door.age(query.age))

    async def recommend(self, query: RecommendQuery) -> ListResult:
        """See ServingBackend."""
        return await self._backend.recommend(await self.query_at_door(query))

    def fallback(self, query: RecommendQuery, why: str = "ranking") -> ListResult:
        """See ServingBackend."""
        entered = replace(query, user_id=self._door.shopper(query.user_id), age=self._door.age(query.age))
        return self._backend.fallback(entered, why)

    async def search(self, text: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """See ServingBackend."""
        return await self._backend.search(self._door.text(text), k, filters, at)

    async def apply(self, rows: Sequence[EventRow]) -> ApplyResult:
        """See ServingBackend."""
        if self._door.before is not None:
            await self.enter(*dict.fromkeys(row[1] for row in rows))
        return await self._backend.apply(self._door.rows(rows))

    async def profile(self, user_id: str) -> Profile | None:
        """See ServingBackend."""
        (entered,) = await self.enter(user_id)
        found = await self._backend.profile(entered)
        # The account of a joined session stays what it is kept as: the caller did not name it.
        named = found is not None and found.entity_id == entered
        return replace(found, entity_id=user_id) if found is not None and named else found

    async def erase(self, user_id: str) -> int:
        """See ServingBackend."""
        (entered,) = await self.enter(user_id)
        return await self._backend.erase(entered)

    async def remove_event(self, event_id: str) -> bool:
        """See ServingBackend."""
        return await self._backend.remove_event(self._door.event(event_id))

    async def join(self, session: str, user_id: str) -> int:
        """See ServingBackend."""
        entered = await self.enter(session, user_id)
        return await self._backend.join(*entered)

    async def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """See ServingBackend."""
        (entered,) = await self.enter(user_id)
        return await self._backend.events_of(entered, before, limit)

    async def rekey(self, pairs: Sequence[tuple[str, str]]) -> int:
        """See ServingBackend; the ids are those that are kept."""
        return await self._backend.rekey(pairs)

    async def enter_all(self, user_ids: Sequence[str]) -> list[str]:
        """Return the ids of many shoppers as they are kept, without holding up other requests."""
        if self._door.before is not None:
            return await self.enter(*user_ids)
        return await asyncio.to_thread(self._door.shoppers, user_ids)


def behind_door(backend: ServingBackend, door: Door | None) -> ServingBackend:
    """Return a backend with a door before it; without one, the backend itself."""
    return backend if door is None else BackendAtDoor(backend, door)
