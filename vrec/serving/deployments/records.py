"""Records of shoppers, and their receipts, as one HTTP replica reads and erases them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.held import ShopperReceipt
from vrec.serving.deployments.replies import await_reply

RECORD_TIMEOUT_S = 60.0
"""Seconds that reading or erasing all of a shopper may take."""


class RecordOperations:
    """Records in the store of profiles; see RecordsBackend."""

    def __init__(
        self, profiles: ProfilesHandle, settle: Callable[[], Awaitable[None]], timeout_s: float
    ) -> None:
        """Build it over the deployment of the store, a function that writes what waits to be written, and the
        seconds that a short call may take."""
        self._profiles, self._settle, self._timeout_s = profiles, settle, timeout_s

    async def held(self, user_id: str) -> Mapping[str, Any]:
        """Return all of a shopper but the events; see RecordsBackend."""
        await self._settle()
        return await await_reply(self._profiles.held.remote(user_id), RECORD_TIMEOUT_S)

    async def erase(self, user_id: str, sha256: str | None) -> ShopperReceipt:
        """Erase a shopper; see RecordsBackend."""
        await self._settle()
        return await await_reply(self._profiles.erase_with_receipt.remote(user_id, sha256), RECORD_TIMEOUT_S)

    async def keep_receipt(self, what: str, counts: Mapping[str, int], sha256: str | None) -> ShopperReceipt:
        """Write a receipt down; see RecordsBackend."""
        return await await_reply(self._profiles.keep_receipt.remote(what, counts, sha256), self._timeout_s)

    async def receipts(self, before: int | None, limit: int) -> Sequence[ShopperReceipt]:
        """Return receipts; see RecordsBackend."""
        return await await_reply(self._profiles.receipts.remote(before, limit), self._timeout_s)
