"""Calls about shoppers and their events, which the HTTP deployment passes on to the store's deployment."""

from collections.abc import Sequence

import pyarrow as pa

from vrec.profiles.profile import Profile
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.learned_searches import LearnedSearches
from vrec.serving.deployments.replies import await_reply

ERASE_TIMEOUT_S = 60.0
"""Seconds that a call may take that reads or changes more than one shopper's latest events."""


class ShopperCalls:
    """Part of a ServingBackend, which describes the methods."""

    learned_searches: LearnedSearches

    def __init__(self, profiles: ProfilesHandle, timeout_s: float) -> None:
        """Build it over the deployment of the store, and the seconds that a short call may take."""
        self._profiles, self._timeout_s = profiles, timeout_s

    async def profile(self, user_id: str) -> Profile | None:
        """See ServingBackend."""
        return await await_reply(self._profiles.get.remote(user_id), self._timeout_s)

    async def erase(self, user_id: str) -> int:
        """See ServingBackend. What the shopper has searched is written first, so that it is erased too."""
        await self.learned_searches.settle()
        return await await_reply(self._profiles.erase.remote(user_id), ERASE_TIMEOUT_S)

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """See ServingBackend."""
        return await await_reply(self._profiles.export_consented.remote(after, limit), ERASE_TIMEOUT_S)

    async def remove_event(self, event_id: str) -> bool:
        """See ServingBackend."""
        return await await_reply(self._profiles.remove_event.remote(event_id), ERASE_TIMEOUT_S)

    async def join(self, session: str, user_id: str) -> int:
        """See ServingBackend. What the session has searched is written first, so that it comes along."""
        await self.learned_searches.settle()
        return await await_reply(self._profiles.join.remote(session, user_id), ERASE_TIMEOUT_S)

    async def rekey(self, pairs: Sequence[tuple[str, str]]) -> int:
        """See ServingBackend."""
        return await await_reply(self._profiles.rekey.remote(list(pairs)), ERASE_TIMEOUT_S)

    async def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """See ServingBackend."""
        call = self._profiles.events_of.remote(user_id, before, limit)
        return await await_reply(call, self._timeout_s)
