"""Figures of arms over restarts, on both stores: those of the log, whoever counted before."""

import asyncio
import json
import time
from dataclasses import replace

import pytest

from tests.serving.deployments.test_profiles import apply, event
from vrec.config.serve import ServeConfig
from vrec.serving.deployments import profiles as module
from vrec.serving.deployments.profiles import ProfilesDeployment

DAY_US = 86_400_000_000
TWO = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "order": "popular"}]


@pytest.fixture
def config(store, tmp_path):
    values = {"data": str(tmp_path / "data"), "store": store, "refresh_s": 0.05, "arms": {"arms": TWO}}
    return ServeConfig.model_validate(values)


async def started(config, bundle):
    node = ProfilesDeployment(config)
    await node.reconfigure({"bundle": bundle.uri})
    return node


async def stopped(node):
    node._task.cancel()
    await asyncio.to_thread(node._store.close)


async def figures(node):
    """The statistics, when all events that are in the log by now have been counted."""
    end = await asyncio.to_thread(node._store.latest_cursor)
    for _ in range(400):
        if node._cursor >= end and (await node.arms()).complete:
            return await node.arms()
        await asyncio.sleep(0.05)
    raise AssertionError("the log is not counted")


def shown(number, user="u", video="video-01", **more):
    return event(f"s{number}", user, video, "impression", **({"request_id": f"r{number}"} | more))


def honest(at):
    """Events of 30 shoppers: one in three clicks, each watches 3 s, one in ten buys."""
    rows = []
    for n in range(30):
        same = {"request_id": f"r{n}", "at": at + n}
        rows.append(shown(n, f"u{n}", at=at + n))
        rows.append(event(f"w{n}", f"u{n}", "video-01", "watch", value=3.0, **same))
        rows += [event(f"c{n}", f"u{n}", "video-01", "click", **same)] if n % 3 == 0 else []
        rows += [event(f"p{n}", f"u{n}", "video-01", "purchase", value=9.0, **same)] if n % 10 == 0 else []
    return rows


def hostile(at):
    """Events that must move nothing, after the honest ones."""
    old, future = at - 300 * DAY_US, at + 300 * DAY_US
    rows = []
    for kind in ("click", "watch", "purchase"):
        more = {"video_id": "video-01", "kind": kind, "value": 1e9}
        rows += [
            event(f"x-{kind}-1", "u1", request_id="made-up", at=at + 90, **more),
            event(f"x-{kind}-2", "u1", request_id="r2", at=at + 90, **more),
            event(f"x-{kind}-3", "u1", request_id="r1", at=old, **more),
            event(f"x-{kind}-4", "u1", request_id="r1", at=future, **more),
            event(f"x-{kind}-5", "stranger", request_id="r1", at=at + 90, **more),
        ]
    return [*rows, shown("old", "u1", at=old), shown("future", "u1", at=future)]


def plain(statistics):
    """Statistics without what depends on the moment of asking: the series ends now."""
    return [replace(arm, minutes=()) for arm in statistics.arms]


def test_figures_are_the_same_after_a_restart_and_hostile_events_move_none(config, shop_bundle):
    async def run():
        node = await started(config, shop_bundle)
        at = time.time_ns() // 1000
        first = await figures(node)
        assert sum(arm.impressions for arm in first.arms) == 0
        await apply(node, *honest(at))
        before = await figures(node)
        assert sum(arm.impressions for arm in before.arms) == 30
        assert sum(arm.clicks for arm in before.arms) == 10
        assert sum(arm.watch_s for arm in before.arms) == pytest.approx(90.0)
        assert sum(arm.conversions for arm in before.arms) == 3
        assert all(arm.users for arm in before.arms)

        await apply(node, *hostile(at))
        await apply(node, *honest(at))
        await apply(node, *hostile(at))
        assert plain(await figures(node)) == plain(before)
        # The log has what was sent: a watch of a billion seconds.
        log, _ = await node.export(0, 1_000)
        assert max(value for value in log.column("value").to_pylist() if value is not None) == 1e9
        await stopped(node)

        again = await started(config, shop_bundle)
        after = await figures(again)
        assert plain(after) == plain(before)
        assert after.since == before.since
        await apply(again, *honest(at), shown("more", "u1", at=at + 200))
        more = await figures(again)
        assert sum(arm.impressions for arm in more.arms) == 31
        await stopped(again)

    asyncio.run(run())


def test_a_long_watch_counts_as_the_video_s_length_before_and_after_a_restart(config, shop_bundle):
    lengths = dict(
        zip(
            shop_bundle.parts.videos.column("video_id").to_pylist(),
            shop_bundle.parts.videos.column("duration_s").to_pylist(),
            strict=True,
        )
    )

    async def run():
        node = await started(config, shop_bundle)
        at = time.time_ns() // 1000
        watch = event("w", video_id="video-01", kind="watch", value=1e9, request_id="r1", at=at)
        await apply(node, shown(1, at=at), watch)
        before = await figures(node)
        assert sum(arm.watch_s for arm in before.arms) == pytest.approx(lengths["video-01"])
        await stopped(node)
        again = await started(config, shop_bundle)
        assert plain(await figures(again)) == plain(before)
        await stopped(again)

    asyncio.run(run())


def test_events_from_before_the_test_and_of_other_arms_do_not_count(config, shop_bundle, tmp_path):
    async def run():
        node = await started(config, shop_bundle)
        at = time.time_ns() // 1000
        await apply(node, *honest(at))
        first = await figures(node)
        await stopped(node)
        # Other shares are another experiment: it begins now, behind the events so far.
        arms = config.arms.model_copy(update={"salt": "another"})
        other = await started(config.model_copy(update={"arms": arms}), shop_bundle)
        nothing = await figures(other)
        assert sum(arm.impressions for arm in nothing.arms) == 0
        assert nothing.since > first.since
        await apply(other, shown("late", "u1", at=at), shown("now", "u1", at=time.time_ns() // 1000))
        assert sum(arm.impressions for arm in (await figures(other)).arms) == 1
        await stopped(other)

    asyncio.run(run())


def test_a_damaged_or_foreign_record_of_the_start_begins_the_test_now(config, shop_bundle, tmp_path):
    async def run():
        record = tmp_path / "data" / "experiment.json"
        for text in ("{", "[]", json.dumps({"since": 1})):
            record.parent.mkdir(exist_ok=True)
            record.write_text(text)
            node = await started(config, shop_bundle)
            assert (await figures(node)).since > time.time_ns() // 1000 - 60_000_000
            await stopped(node)
        # The store was replaced: the cursor is beyond its log.
        record.write_text(json.dumps(json.loads(record.read_text()) | {"cursor": 10**9, "since": 5}))
        node = await started(config, shop_bundle)
        assert (await figures(node)).since > 5
        await stopped(node)

    asyncio.run(run())


def test_a_log_longer_than_one_reply_is_counted_to_its_end(config, shop_bundle, monkeypatch):
    monkeypatch.setattr(module, "MAX_FOLLOWED_EVENTS", 7)
    monkeypatch.setattr(module, "COUNTED_AT_ONCE", 2)

    async def run():
        node = await started(config, shop_bundle)
        await apply(node, *honest(time.time_ns() // 1000))
        before = await figures(node)
        await stopped(node)
        again = await started(config, shop_bundle)
        assert not (await again.arms()).complete
        assert plain(await figures(again)) == plain(before)
        assert sum(arm.impressions for arm in before.arms) == 30
        await stopped(again)

    asyncio.run(run())
