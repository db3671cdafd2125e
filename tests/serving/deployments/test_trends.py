"""Trends of the service over both stores: as events arrive, after restarts, removals and erasures."""

import asyncio
import time

import pytest

from tests.serving.catalog.journals import updated
from tests.serving.deployments.test_profiles import event, event_values
from tests.serving.direct import UnrankedService
from vrec.config.serve import ServeConfig
from vrec.serving.messages import RequestFilters
from vrec.serving.rules.book import RuleChange, ShopRule


@pytest.fixture
def config(store, tmp_path):
    values = {"data": str(tmp_path / "data"), "store": store, "refresh_s": 0.05}
    return ServeConfig.model_validate(values)


class Service(UnrankedService):
    """Says what is listed."""

    async def listed(self, window="1h", k=10, **filters):
        found, complete = await self.api.trends.videos(
            window, k, RequestFilters(**filters), time.time_ns() // 1000
        )
        return [item.video_id for item in found.items], complete

    async def until(self, wanted, **more):
        """Wait until the list is this one."""
        for _ in range(200):
            found = await self.listed(**more)
            if found == (wanted, True):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(found)


def choices(video, users, kind="click", ago_us=0, start=0):
    now = time.time_ns() // 1000 - ago_us
    return [event(f"{kind}-{video}-{n}", f"u{n}", video, kind, at=now) for n in range(start, start + users)]


def shown_videos(bundle, number):
    rows = bundle.parts.videos.to_pylist()
    return [row["video_id"] for row in rows if row["available"]][:number]


def test_a_list_follows_the_log_over_restarts_removals_reversals_and_erasures(config, shop_bundle):
    one, two, three = shown_videos(shop_bundle, 3)

    async def run():
        service = await Service(config).start(shop_bundle)
        assert (await service.listed())[0] == []
        await service.api.apply(event_values(*choices(one, 6), *choices(two, 5), *choices(three, 4, "like")))
        await service.until([one, two, three])
        # A shopper who sends the most events moves nothing.
        loud = [event(f"loud{n}", "u0", three, "click", at=time.time_ns() // 1000) for n in range(300)]
        await service.api.apply(event_values(*loud))
        await service.until([one, two, three])
        await service.api.apply(event_values(*choices(three, 3, "unlike", start=1)))
        # Of the four shoppers one is left, who is too few.
        await service.until([one, two])
        await service.stop()

        again = await Service(config).start(shop_bundle)
        await again.until([one, two])
        for n in range(2):
            assert await again.api.remove_event(f"click-{one}-{n}")
        await again.until([two, one])
        for user in ("u0", "u2", "u3", "u4"):
            await again.api.erase(user)
        # u1 and u5 chose the first, of which one event is removed; u1 alone is left of the second.
        await again.until([])
        await again.stop()

    asyncio.run(run())


def test_each_process_hears_of_an_erasure_and_none_counts_an_event_twice(server, tmp_path, shop_bundle):
    store = {"kind": "redis", "url_variable": server.variable, "prefix": f"{tmp_path.name}-two"}
    config = ServeConfig.model_validate({"data": str(tmp_path), "store": store, "refresh_s": 0.05})
    (one,) = shown_videos(shop_bundle, 1)

    async def run():
        first = await Service(config).start(shop_bundle)
        second = await Service(config).start(shop_bundle)
        await first.api.apply(event_values(*choices(one, 1)))
        await second.api.apply(event_values(*choices(one, 1, "like", start=1)))
        for service in (first, second):
            await service.until([one])
        await second.api.erase("u1")
        for service in (first, second):
            await service.until([])
        for service in (first, second):
            await service.stop()

    asyncio.run(run())


def test_filters_rules_and_the_state_of_videos_hold(tmp_path, shop_bundle):
    config = ServeConfig.model_validate({"data": str(tmp_path), "refresh_s": 0.05})
    videos = {row["video_id"]: row for row in shop_bundle.parts.videos.to_pylist()}
    names = shown_videos(shop_bundle, 12)

    async def run():
        service = await Service(config).start(shop_bundle)
        rows = [row for n, name in enumerate(names) for row in choices(name, 20 - n)]
        await service.api.apply(event_values(*rows, *choices("nowhere", 30)))
        await service.until(names, k=12)
        assert await service.listed(k=3) == (names[:3], True)
        category = videos[names[4]]["category"]
        wanted = [name for name in names if videos[name]["category"] == category]
        assert (await service.listed(k=12, categories=frozenset({category})))[0] == wanted
        assert (await service.listed(k=12, exclude=frozenset(names[:2])))[0] == names[2:]
        now = time.time_ns() // 1000
        await service.api.change(updated(names[0], available=False))
        await service.api.change(updated(names[1], expires_at=now - 1))
        rule = ShopRule("r", "ban", video_ids=(names[2],), surfaces=("trending",))
        await service.api.rules.change(RuleChange("r", rule, None, now, "q"), "absent")
        assert (await service.listed(k=12))[0] == names[3:]
        service.profiles.broken = TimeoutError()
        await asyncio.sleep(0.1)
        found, complete = await service.api.trends.videos("1h", 5, RequestFilters(), now)
        assert (found.degraded, complete, len(found.items)) == (("profiles",), False, 5)
        assert {item.source for item in found.items} == {"popular"}
        assert not {item.video_id for item in found.items} & set(names[:3])
        await service.stop()

    asyncio.run(run())
