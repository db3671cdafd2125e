"""Calls about single shoppers to a store, which its deployment passes on: as far as they consent."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.privacy.consent.table import Answers, ConsentAnswer, ConsentMissing, ConsentTable, Purpose
from vrec.profiles.consented import read_consented, without_consent
from vrec.profiles.links import AccountLink, LinkTable
from vrec.profiles.profile import Profile
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.deployments.held import (
    HeldRecords,
    ShopperReceipt,
    counts_of,
    keep_receipt,
    receipts_before,
)
from vrec.serving.deployments.retention import EventCleaner
from vrec.serving.deployments.table_calls import TableCalls
from vrec.serving.trends.follower import announce_erasure
from vrec.serving.trends.searches import end_search_period

UNKEPT = -1
"""Version of a conversation that is not kept, since the shopper does not consent to that."""


class StoredShoppers(TableCalls):
    """Part of the profiles deployment."""

    def __init__(self, config: ServeConfig) -> None:
        """Build it for a store that is opened later."""
        super().__init__(config.assistant)
        self._config, self._default = config, config.consent.is_given
        self._retention = EventCleaner(lambda: self._store, config.retention)
        # Profiles of SQLite are in memory or a short read away; Redis is read in a thread.
        self._direct = isinstance(config.store, SqliteConfig)

    async def get(self, user_id: str) -> Profile | None:
        """Return a user's profile with every event acknowledged before; None without events."""
        if self._direct:
            return self._store.get("user", [user_id]).get(user_id)
        return (await asyncio.to_thread(self._store.get, "user", [user_id])).get(user_id)

    async def shopper(self, user_id: str) -> Profile | None:
        """Return a user's profile with those of linked accounts, as far as the user consents.

        None without events, and without the purpose `personalise`.
        """
        bundle, store = self._bundle, self._store
        assert bundle is not None  # the store is opened after it
        half_life = bundle.profiles.user.interest.half_life_days

        def read() -> Profile | None:
            args = store, user_id, bundle.history_factors, half_life
            return read_consented(*args, default=self._default)

        return read() if self._direct else await asyncio.to_thread(read)

    async def consents(self, user_id: str) -> dict[Purpose, ConsentAnswer]:
        """Return a shopper's answers; see ConsentTable."""
        return await asyncio.to_thread(ConsentTable(self._store).of, user_id)

    async def consents_after(
        self, version: int, limit: int
    ) -> tuple[list[tuple[str, dict[Purpose, ConsentAnswer]]], int]:
        """Return the next shoppers' answers, and the number for the next call, 0 at the end."""
        return await asyncio.to_thread(ConsentTable(self._store).after, version, limit)

    async def put_consents(self, user_id: str, answers: Answers) -> dict[Purpose, ConsentAnswer]:
        """Put a shopper's answers, and return all.

        A refusal of `link` revokes the links that hold, and one of `personalise` removes the conversation.
        """
        put = await asyncio.to_thread(ConsentTable(self._store).put, user_id, answers)
        if "link" in answers and not answers["link"].given:
            await asyncio.to_thread(LinkTable(self._store).revoke_all, user_id, answers["link"].at)
        if "personalise" in answers and not answers["personalise"].given:
            await asyncio.to_thread(self._conversations.forget, user_id)
        return put

    async def without_consent(self, user_ids: Sequence[str], purpose: Purpose) -> set[str]:
        """Return those among some shoppers who do not consent to a purpose."""
        return await asyncio.to_thread(self._without_consent, user_ids, purpose)

    async def conversation(self, user_id: str) -> tuple[int, bytes]:
        """Return the version and record of a conversation; version UNKEPT if none may be kept."""
        if await asyncio.to_thread(self._without_consent, [user_id], "personalise"):
            return UNKEPT, b""
        return await super().conversation(user_id)

    async def link(self, link: AccountLink) -> tuple[AccountLink, bool]:
        """Make a link hold, and return it and whether it is new; raises LinkTaken or ConsentMissing."""
        await self._check_linking(link.user_id)
        added = await asyncio.to_thread(LinkTable(self._store).add, link)
        try:
            # The shopper may have refused in between, and then this link was not revoked.
            await self._check_linking(link.user_id)
        except ConsentMissing:
            await self.unlink(link.user_id, link.other_domain, link.consented_at)
            raise
        return added

    async def unlink(self, user_id: str, domain: str, at: int) -> AccountLink:
        """Revoke a shopper's link to a domain, and return it; raises UnknownLink."""
        return await asyncio.to_thread(LinkTable(self._store).revoke, user_id, domain, at)

    async def links_of(self, user_id: str) -> list[AccountLink]:
        """Return a shopper's links, revoked ones too."""
        return await asyncio.to_thread(LinkTable(self._store).of, user_id)

    async def links_after(self, version: int, limit: int) -> tuple[list[AccountLink], int]:
        """Return the next links of all shoppers, and the number for the next call, 0 at the end."""
        return await asyncio.to_thread(LinkTable(self._store).after, version, limit)

    async def export_consented(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """Return at most `limit` EVENTS after a cursor as `export` does, of those who consent to `train`.

        Events that may not be kept any longer are left out. No events are returned at the end of the log
        alone.
        """
        while True:
            events, cursor = await self.export(after, limit)
            if not events.num_rows:
                return events, cursor
            events = self._retention.keep(events)
            users = events.column("user_id")
            refused = await self.without_consent(users.unique().to_pylist(), "train")
            if refused:
                events = events.filter(pc.invert(pc.is_in(users, value_set=pa.array(sorted(refused)))))
            if events.num_rows:
                return events, cursor
            after = cursor

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """Return at most `limit` EVENTS of the log after a cursor, and the cursor after them.

        For a cursor past the end of the log, such as one of a log that was lost, it is the end: so whoever
        goes on with it gets all later events.
        """
        table, cursor = await asyncio.to_thread(self._store.export, after, limit)
        if cursor == after and after:
            cursor = min(after, await asyncio.to_thread(self._store.latest_cursor))
        return table, cursor

    async def held(self, user_id: str) -> dict[str, Any]:
        """Return all that is kept of a shopper but the events; see HeldRecords."""
        return await asyncio.to_thread(self._held.of, user_id)

    async def keep_receipt(self, what: str, counts: Mapping[str, int], sha256: str | None) -> ShopperReceipt:
        """Write a receipt down, and return it."""
        return await asyncio.to_thread(keep_receipt, self._store, what, counts, sha256)

    async def receipts(self, before: int | None, limit: int) -> list[ShopperReceipt]:
        """Return the last receipts before a number, the latest first."""
        return await asyncio.to_thread(receipts_before, self._store, before, limit)

    async def erase(self, user_id: str) -> int:
        """Delete all that is kept of a user, and return the number of events."""
        return (await self.erase_with_receipt(user_id, None)).counts["events"]

    async def erase_with_receipt(self, user_id: str, sha256: str | None) -> ShopperReceipt:
        """Delete all that is kept of a user, and return the receipt, with a digest that it gets."""
        counts = counts_of(await self.held(user_id))
        # First, since the erasure overwrites what was deleted before it.
        await asyncio.to_thread(end_search_period, self._store)
        await asyncio.to_thread(LinkTable(self._store).forget, user_id)
        await asyncio.to_thread(self._conversations.forget, user_id)
        await asyncio.to_thread(self._hand_overs.forget, user_id)
        await asyncio.to_thread(ConsentTable(self._store).forget, user_id)
        erased = await asyncio.to_thread(self._store.erase, user_id)
        await asyncio.to_thread(announce_erasure, self._store)
        return await self.keep_receipt("erasure", counts | {"events": erased}, sha256)

    async def remove_event(self, event_id: str) -> bool:
        """Remove an event, and return whether it was there; raises UnknownEvent."""
        return await asyncio.to_thread(self._store.remove, event_id)

    async def join(self, session: str, user_id: str) -> int:
        """Make a session's events, consents, conversation and hand-overs a user's, and return the number of
        events.

        Raises:
            SessionTaken: The session is another account's.
        """
        consents = ConsentTable(self._store)
        await asyncio.to_thread(consents.prepare_join, session, user_id)
        moved = await asyncio.to_thread(self._store.join, session, user_id)
        await asyncio.to_thread(consents.join, session, user_id)
        await asyncio.to_thread(self._conversations.join, session, user_id)
        await asyncio.to_thread(self._hand_overs.join, session, user_id)
        return moved

    async def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last EVENTS before a cursor, the latest first, and the next cursor."""
        return await asyncio.to_thread(self._store.events_of, user_id, before, limit)

    @property
    def _held(self) -> HeldRecords:
        return HeldRecords(self._store, self._conversations, self._hand_overs)

    @property
    def _bundle(self) -> BundleCatalog | None:
        raise NotImplementedError

    async def _check_linking(self, user_id: str) -> None:
        if await self.without_consent([user_id], "link"):
            raise ConsentMissing(f"{user_id} does not consent to links with accounts in other domains")

    def _without_consent(self, user_ids: Sequence[str], purpose: Purpose) -> set[str]:
        return without_consent(self._store, user_ids, purpose, default=self._default)

    async def _without_refused(
        self, events: pa.Table, sizes: Sequence[int]
    ) -> tuple[pa.Table, list[int], list[int]]:
        """Return the EVENTS of several calls that may be kept, and how many of each call are and are not."""
        users = events.column("user_id")
        args = users.unique().to_pylist(), "personalise"
        # One read of a local file takes less time than a change of threads.
        refused = self._without_consent(*args) if self._direct else await self.without_consent(*args)
        if not refused:
            return events, list(sizes), [0] * len(sizes)
        keeps = np.asarray([name not in refused for name in users.to_pylist()])
        ends = np.cumsum([0, *sizes])
        kept = [int(keeps[start:end].sum()) for start, end in itertools.pairwise(ends)]
        left = [size - n for size, n in zip(sizes, kept, strict=True)]
        return events.filter(pa.array(keeps)), kept, left


def with_refused(
    results: Sequence[ApplyResult | VrecError], refused: Sequence[int]
) -> list[ApplyResult | VrecError]:
    """Return the results of calls with the numbers of events that were not kept."""
    return [
        result if isinstance(result, VrecError) else ApplyResult(result.new, result.repeated, count)
        for result, count in zip(results, refused, strict=True)
    ]
