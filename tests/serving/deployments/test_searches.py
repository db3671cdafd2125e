"""Popular searches over both stores: shared by replicas, kept over restarts, cut from shoppers by erasure."""

import asyncio
import time

import pytest

from tests.serving.direct import Direct
from vrec.config.serve import ServeConfig
from vrec.serving.deployments import searches as module
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.searches import SearchOperations
from vrec.serving.trends.searches import PERIODS_LOG, SEARCHES_LOG, hash_shopper, unpack_searches

DAY_US = 86_400_000_000


@pytest.fixture
def config(store, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHOWN_FOR_S", 0)
    values = {"data": str(tmp_path / "data"), "store": store, "searches": {"min_shoppers": 3}}
    return ServeConfig.model_validate(values)


def in_service(config, bundle, run):
    """Run a function of the profiles node and two replicas."""

    async def start():
        profiles = Direct(ProfilesDeployment(config))
        await profiles.node.reconfigure({"bundle": bundle.uri})
        replicas = [SearchOperations(profiles, config.searches, 5.0) for _ in range(2)]
        try:
            return await run(profiles.node, *replicas)
        finally:
            profiles.node._task.cancel()
            await asyncio.gather(profiles.node._task, return_exceptions=True)
            await asyncio.to_thread(profiles.node._store.close)

    return asyncio.run(start())


def search(replica, text, users, at):
    for n in users:
        replica.count(text, f"u{n}", at)


def test_replicas_count_together_and_again_after_a_restart(config, shop_bundle):
    now = time.time_ns() // 1000

    async def begin(node, one, two):
        search(one, "Red  mug", range(3), now)
        search(two, "red mug", range(2, 5), now)  # u2 again
        search(two, "hat", [0, 0, 0, 1], now)  # two persons are too few
        await one.write()
        await two.write()
        return [await replica.popular("24h", 10, now) for replica in (one, two)]

    async def go_on(node, one, two):
        search(one, "hat", [2], now)
        await one.close()  # writes what waits
        return await two.popular("24h", 10, now), await two.popular("24h", 1, now)

    assert in_service(config, shop_bundle, begin) == [[("red mug", 5)]] * 2
    assert in_service(config, shop_bundle, go_on) == ([("red mug", 5), ("hat", 3)], [("red mug", 5)])


def test_persons_of_several_days_do_not_make_a_crowd(config, shop_bundle):
    now = time.time_ns() // 1000

    async def run(node, one, two):
        for day in range(3):
            search(one, "my own address", [7], now + day * DAY_US)
            await one.write()
            search(two, "hat", range(3), now + day * DAY_US)
            await two.write()
        return await one.popular("7d", 10, now + 2 * DAY_US)

    # Three shoppers, counted on each of three days.
    assert in_service(config, shop_bundle, run) == [("hat", 9)]


def test_nobody_can_tell_the_hash_of_a_shopper_who_was_erased(config, shop_bundle):
    now = time.time_ns() // 1000

    async def run(node, one, two):
        search(one, "hat", range(3), now)
        await one.write()
        number, key = await one._period(now)
        (record,) = [record for _, record in node._store.records_after(SEARCHES_LOG, 0, 10)]
        hashes = {sent.shopper for sent in unpack_searches(record)}
        assert hash_shopper(key, "u1") in hashes
        await node.erase("u1")
        after, new_key = await one._period(now)
        kept = node._store.records_after(PERIODS_LOG, 0, 10)
        assert after != number
        assert [key in record for _, record in kept] == [False]
        assert hash_shopper(new_key, "u1") not in hashes
        # Shown as before, and one shopper is no crowd by searching before and after.
        search(two, "mug", [5, 6], now)
        await two.write()
        await node.erase("u9")
        search(two, "mug", [5, 6], now)
        await two.write()
        return await two.popular("24h", 10, now)

    assert in_service(config, shop_bundle, run) == [("hat", 3)]


def test_what_cannot_be_written_waits(config, shop_bundle, monkeypatch):
    now = time.time_ns() // 1000

    async def run(node, one, two):
        store = node._store
        monkeypatch.setattr(node, "_opened", None)
        search(one, "hat", range(3), now)
        with pytest.raises(RuntimeError):
            await one.write()
        monkeypatch.setattr(node, "_opened", store)
        await one.write()
        await one.write()
        return await two.popular("1h", 10, now)

    assert in_service(config, shop_bundle, run) == [("hat", 3)]


def test_a_replica_that_stops_stores_what_waits(config, shop_bundle):
    now = time.time_ns() // 1000

    async def run(node, one, two):
        api = ApiDeployment(config, Direct(None), Direct(node), None)
        search(api.searches, "hat", range(3), now)
        await api.reconfigure({"draining": True})
        return await two.popular("1h", 10, now)

    assert in_service(config, shop_bundle, run) == [("hat", 3)]
