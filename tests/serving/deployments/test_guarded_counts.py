"""Trends and the counts that rank videos, guarded, over a whole service in this process."""

import asyncio
import time

from tests.serving.deployments.test_profiles import event, event_values
from tests.serving.deployments.test_trends import Service, shown_videos
from vrec.config.serve import ServeConfig
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.serving.observability.metrics import GUARD_EVENTS, InMemoryMetricsRecorder, metrics_recorder

CLICK, BUY = (VIDEO_COUNT_KEYS.index(f"event:{kind}") for kind in ("click", "purchase"))
DAY_US = 86_400_000_000


def config_of(folder, **guard):
    return ServeConfig.model_validate({"data": str(folder), "refresh_s": 0.05, "guard": guard})


def clicks(video, users, ago_us=0, kind="click"):
    now = time.time_ns() // 1000 - ago_us
    return [event(f"{kind}-{video}-{user}-{ago_us}", user, video, kind, at=now) for user in users]


def histories(videos, shoppers=40):
    """Return events of days ago by which shoppers have a history."""
    users = [f"u{n}" for n in range(shoppers)]
    return [
        row for n, video in enumerate(videos) for row in clicks(video, users, 3 * DAY_US - n * DAY_US // 4)
    ]


async def counts_of(service, video):
    _, rows = await service.profiles.node.video_counts([video])
    return rows[0]


async def until_counted(service, wanted, video):
    """Wait until the ranking's clicks of a video are so many."""
    found = None
    for _ in range(200):
        found = (await counts_of(service, video))[CLICK]
        if found == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(found)


def test_a_farm_moves_neither_trends_nor_ranking_until_others_vouch_for_it(tmp_path, shop_bundle):
    *videos, target = shown_videos(shop_bundle, 7)
    farm = [f"farm{n}" for n in range(80)]

    async def run():
        service = await Service(config_of(tmp_path, on=True)).start(shop_bundle)
        await service.api.apply(
            event_values(*histories(videos), *clicks(videos[0], [f"u{n}" for n in range(20)]))
        )
        await service.until([videos[0]])
        await service.api.apply(event_values(*clicks(target, farm)))
        await until_counted(service, 10, target)
        shoppers = {one.video_id: one.shoppers for one in (await service.profiles.node.trending("1h"))[0]}
        assert shoppers == {videos[0]: 20, target: 10}
        # Followers that have read counts before the guard had judged them get the right ones.
        _, names, rows = await service.profiles.node.video_counts_since(0)
        assert rows[names.index(target)][CLICK] == 10
        recorder = metrics_recorder()
        assert isinstance(recorder, InMemoryMetricsRecorder)
        assert recorder.sums[GUARD_EVENTS.name, "held"] >= 70
        await service.stop()

        # The guard's state is that of the log: a restart changes nothing.
        again = await Service(config_of(tmp_path, on=True)).start(shop_bundle)
        await until_counted(again, 10, target)
        await again.api.apply(event_values(*clicks(target, farm[:3], kind="purchase")))
        await until_counted(again, 80, target)
        assert (await counts_of(again, target))[BUY] == 3
        shoppers = {one.video_id: one.shoppers for one in (await again.profiles.node.trending("1h"))[0]}
        assert shoppers[target] == 80
        await again.stop()

    asyncio.run(run())


def test_purchases_by_pages_and_announced_newcomers(tmp_path, shop_bundle):
    *videos, sold, announced = shown_videos(shop_bundle, 8)
    farm, crowd = ([f"{name}{n}" for n in range(80)] for name in ("farm", "crowd"))
    table = tmp_path / "announced.csv"
    table.write_text(
        f"video_id,since,until,newcomers\n{announced},2020-01-01T00:00:00Z,2020-01-02T00:00:00Z,9\n"
    )

    async def run():
        given = {"on": True, "orders_surface": "orders", "announced": str(table), "reread_s": 1}
        service = await Service(config_of(tmp_path / "data", **given)).start(shop_bundle)
        await service.api.apply(
            event_values(*histories(videos, 60), *clicks(sold, farm), *clicks(announced, crowd))
        )
        await until_counted(service, 10, sold)
        await service.api.apply(event_values(*clicks(sold, farm[:5], kind="purchase")))
        assert (await counts_of(service, sold))[CLICK] == 10
        bought = [
            row | {"event_id": f"o{n}", "domain": "orders"}
            for n, row in enumerate(clicks(sold, farm[:5], kind="purchase"))
        ]
        await service.api.apply(event_values(*bought))
        await until_counted(service, 80, sold)
        assert (await counts_of(service, sold))[BUY] == 10
        await until_counted(service, 10, announced)
        table.write_text(
            f"video_id,since,until,newcomers\n{announced},2020-01-01T00:00:00Z,2120-01-02T00:00:00Z,50\n"
        )
        await until_counted(service, 60, announced)  # the log is counted again
        await service.stop()

    asyncio.run(run())


def test_without_a_guard_everything_counts(tmp_path, shop_bundle):
    *videos, target = shown_videos(shop_bundle, 7)

    async def run():
        service = await Service(config_of(tmp_path)).start(shop_bundle)
        await service.api.apply(
            event_values(*histories(videos), *clicks(target, [f"farm{n}" for n in range(80)]))
        )
        await service.until([target])
        await until_counted(service, 80, target)
        await service.stop()

    asyncio.run(run())


def test_a_quarantine_and_a_release_are_followed_while_the_service_runs(tmp_path, shop_bundle):
    one, two = shown_videos(shop_bundle, 2)
    table = tmp_path / "suspects.csv"
    table.write_text("user_id,weight\nbad0,0\nbad1,0\nbad2,0\n")
    bad = [f"bad{n}" for n in range(3)]

    def arm_users(figures):
        return sum(arm.users for arm in figures.arms)

    async def run():
        config = config_of(tmp_path / "data", quarantine=str(table), reread_s=1)
        service = await Service(config).start(shop_bundle)
        shown = [row | {"request_id": "r"} for row in clicks(one, [*bad, "u1", "u2"], kind="impression")]
        await service.api.apply(event_values(*shown, *clicks(one, bad), *clicks(two, ["u1", "u2"])))
        await service.api.apply(event_values(*clicks(one, ["bad0"], kind="purchase")))
        await service.until([two])
        await until_counted(service, 0, one)
        assert (await counts_of(service, one))[BUY] == 1
        assert arm_users(await service.profiles.node.arms()) == 2
        table.write_text("user_id,weight,released_at\nbad0,1,2026-05-01T00:00:00Z\nbad1,1,\nbad2,0,\n")
        await service.until([one, two])
        await until_counted(service, 2, one)
        for _ in range(100):
            if arm_users(await service.profiles.node.arms()) == 4:
                break
            await asyncio.sleep(0.05)
        assert arm_users(await service.profiles.node.arms()) == 4
        # A table that cannot be read changes nothing.
        table.write_text("nonsense\n")
        await asyncio.sleep(1.2)
        assert (await service.listed())[0] == [one, two]
        await service.stop()

    asyncio.run(run())
