"""Shops in the memory of a ranking replica: which leave, when they close, and loads that fail."""

import asyncio

import pytest

from tests.serving.tenants.service import multiplexed
from vrec.core.errors import BundleError
from vrec.serving.tenants import warm as warm_module
from vrec.serving.tenants.context import current_tenant
from vrec.serving.tenants.warm import WarmShops


class Shop:
    """Shop that notes what is done with it."""

    def __init__(self, tenant, log):
        self.tenant, self.log = tenant, log

    async def reconfigure(self, user_config):
        self.log.append(("move", self.tenant, user_config["bundle"]))

    async def close(self):
        self.log.append(("close", self.tenant))


class Loader:
    """Loads shops, each as slowly and as badly as it is told."""

    def __init__(self):
        self.log, self.slow_s, self.broken = [], 0.0, set()

    async def __call__(self, tenant):
        await asyncio.sleep(self.slow_s)
        self.log.append(("load", tenant))
        assert current_tenant() == tenant
        if tenant in self.broken:
            raise BundleError(f"no bundle of {tenant}")
        return Shop(tenant, self.log)


async def visit(shops, *tenants):
    for tenant in tenants:
        async with shops.use(tenant) as shop:
            assert shop.tenant == tenant
        await settle()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def run(scenario, most=2):
    async def begin():
        loader = Loader()
        await scenario(WarmShops(loader, most, multiplexed), loader)

    asyncio.run(begin())


def test_the_one_used_least_recently_leaves_and_closes():
    async def scenario(shops, loader):
        await visit(shops, "a", "b", "a", "c", "a", "b")
        assert loader.log == [
            ("load", "a"), ("load", "b"), ("load", "c"), ("close", "b"), ("load", "b"), ("close", "c")
        ]  # fmt: skip

    run(scenario)


def test_a_shop_that_leaves_closes_after_its_last_call():
    async def scenario(shops, loader):
        async with shops.use("a"):
            await visit(shops, "b")
            assert loader.log == [("load", "a"), ("load", "b")]
        await settle()
        assert loader.log[-1] == ("close", "a")

    run(scenario, most=1)


def test_many_calls_share_a_load_which_goes_on_when_they_give_up():
    async def scenario(shops, loader):
        loader.slow_s = 0.1

        async def call():
            async with asyncio.timeout(0.02), shops.use("a"):
                pass

        outcomes = await asyncio.gather(*(call() for _ in range(5)), return_exceptions=True)
        assert [type(one) for one in outcomes] == [TimeoutError] * 5
        await asyncio.sleep(0.2)
        await visit(shops, "a")
        assert loader.log == [("load", "a")]

    run(scenario)


def test_a_load_that_fails_is_not_repeated_at_once_and_makes_nobody_leave_again(monkeypatch):
    async def scenario(shops, loader):
        loader.broken.add("bad")
        await visit(shops, "a", "b")
        for _ in range(3):
            with pytest.raises(BundleError, match="no bundle of bad"):
                await visit(shops, "bad")
        await settle()
        assert loader.log == [("load", "a"), ("load", "b"), ("load", "bad"), ("close", "a")]
        # Another bundle is tried at once.
        loader.broken.clear()
        await shops.move("bad", "better")
        await visit(shops, "bad")
        loader.broken.add("b2")
        monkeypatch.setattr(warm_module, "RETRY_S", 0.0)
        for _ in range(2):
            with pytest.raises(BundleError):
                await visit(shops, "b2")
        assert loader.log.count(("load", "b2")) == 2

    run(scenario)


def test_a_bundle_moves_where_it_is_and_a_shop_with_other_settings_is_loaded_anew():
    async def scenario(shops, loader):
        await shops.move("a", "x")
        await visit(shops, "a")
        await shops.move("a", "y")
        await shops.drop("a")
        await visit(shops, "a", "a")
        await shops.move("a", "z")
        assert loader.log == [
            ("load", "a"), ("move", "a", "y"), ("close", "a"), ("load", "a"), ("move", "a", "z")
        ]  # fmt: skip

    run(scenario)
