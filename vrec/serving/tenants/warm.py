"""Shops of tenants in the memory of a ranking replica, as many as fit."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.tenants.context import as_tenant

RETRY_S = 10.0
"""Seconds after which a shop that could not be loaded is tried again: each attempt makes one leave."""
Multiplexed = Callable[..., Any]
"""Type of `serve.multiplexed`."""


class LoadedShop:
    """Shop in memory, with the number of calls that run in it."""

    def __init__(self, shop: RankingDeployment) -> None:
        self.shop, self._calls, self._idle = shop, 0, asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def call(self) -> Iterator[RankingDeployment]:
        """Keep the shop open for a call."""
        self._calls += 1
        self._idle.clear()
        try:
            yield self.shop
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def close(self) -> None:
        """Close the shop once no call runs in it."""
        await self._idle.wait()
        await self.shop.close()


class WarmShop:
    """Place of a tenant among those that Serve keeps; empty after the tenant's settings have changed."""

    def __init__(self, loaded: LoadedShop, retire: Callable[["WarmShop"], None]) -> None:
        """Take the shop, and the function that Serve's thread calls when the place is wanted for another."""
        self.loaded: LoadedShop | None = loaded
        self._retire = retire

    def __del__(self) -> None:
        self._retire(self)


class WarmShops:
    """Shops by tenant, loaded when they are wanted, through Serve's multiplexing.

    A load goes on if the request that began it gives up: the next one finds the shop. One that fails is not
    tried again for RETRY_S.
    """

    def __init__(
        self, load: Callable[[str], Awaitable[RankingDeployment]], most: int, multiplexed: Multiplexed
    ) -> None:
        """Build it empty.

        Args:
            load: Function that loads a tenant's shop, or raises.
            most: Maximum number of shops.
            multiplexed: `serve.multiplexed`.
        """
        self._load = load
        self._places: dict[str, WarmShop] = {}
        self._loading: dict[str, asyncio.Task[LoadedShop]] = {}
        self._failed: dict[str, tuple[float, Exception]] = {}
        self._closing: set[asyncio.Task[None]] = set()

        async def load_place(tenant: str) -> WarmShop:
            loop = asyncio.get_running_loop()

            def retire(place: WarmShop) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and the process with it
                    loop.call_soon_threadsafe(self._leave, tenant, place)

            place = WarmShop(LoadedShop(await load(tenant)), retire)
            self._places[tenant] = place
            return place

        self.place_of = multiplexed(max_num_models_per_replica=most)(load_place)
        """Function that returns a tenant's place, which is then the one that was used last."""

    @asynccontextmanager
    async def use(self, tenant: str) -> AsyncIterator[RankingDeployment]:
        """Yield a tenant's shop for a call; raises what its load raised."""
        place = self._places.get(tenant)
        if place is not None and place.loaded is not None:
            await self.place_of(tenant)
            loaded = place.loaded
        else:
            loaded = await self._loaded(tenant)
        with loaded.call() as shop:
            yield shop

    async def move(self, tenant: str, uri: str) -> None:
        """Move a tenant's shop to a bundle if it is in memory."""
        self._failed.pop(tenant, None)
        place = self._places.get(tenant)
        if place is not None and place.loaded is not None:
            with place.loaded.call() as shop:
                await shop.reconfigure({"bundle": uri})

    async def drop(self, tenant: str) -> None:
        """Let go of a tenant's shop."""
        self._failed.pop(tenant, None)
        if (place := self._places.get(tenant)) is not None:
            self._empty(place)

    async def _loaded(self, tenant: str) -> LoadedShop:
        until, error = self._failed.get(tenant, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        task = self._loading.get(tenant)
        if task is None:
            with as_tenant(tenant):
                task = asyncio.get_running_loop().create_task(self._fetch(tenant))
            self._loading[tenant] = task
            task.add_done_callback(lambda _: self._loading.pop(tenant, None))
        return await asyncio.shield(task)

    async def _fetch(self, tenant: str) -> LoadedShop:
        try:
            place = await self.place_of(tenant)
            if place.loaded is None:
                place.loaded = LoadedShop(await self._load(tenant))
        except Exception as error:
            self._failed[tenant] = (time.monotonic() + RETRY_S, error)
            raise
        self._failed.pop(tenant, None)
        return place.loaded

    def _leave(self, tenant: str, place: WarmShop) -> None:
        if self._places.get(tenant) is place:
            del self._places[tenant]
        self._empty(place)

    def _empty(self, place: WarmShop) -> None:
        loaded, place.loaded = place.loaded, None
        if loaded is not None:
            task = asyncio.get_running_loop().create_task(loaded.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
