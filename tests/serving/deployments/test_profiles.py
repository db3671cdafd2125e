"""The node that keeps profiles: what it promises, on the embedded store, without Ray."""

import asyncio
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.bundles import write_shop_bundle
from tests.serving.catalog.journals import added, removed, updated
from vrec.config.serve import ServeConfig
from vrec.core.errors import BundleError, EventsError
from vrec.core.schema import EVENTS
from vrec.core.types import ApplyResult
from vrec.profiles.stores.codec import rows_from_table
from vrec.profiles.user import taste_vector
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.serving.catalog.journal import CatalogJournal
from vrec.serving.deployments.profiles import ProfilesDeployment


def config_in(folder, **more):
    store = {"kind": "sqlite", "path": str(folder / "store.db")}
    return ServeConfig.model_validate(
        {"data": str(folder / "data"), "store": store, "refresh_s": 0.05} | more
    )


def event(event_id, user_id="u", video_id="v0", kind="click", at=1_000_000, **more):
    return {"event_id": event_id, "user_id": user_id, "video_id": video_id, "kind": kind, "domain": "d"} | {
        "at": at,
        **more,
    }


def events(*rows):
    return pa.Table.from_pylist(list(rows), schema=EVENTS.arrow())


def event_values(*rows):
    """Rows of EVENTS."""
    return rows_from_table(events(*rows))


async def apply(node, *rows):
    """What became of one call's events."""
    (done,) = await node.apply(events(*rows), [len(rows)])
    if isinstance(done, Exception):
        raise done
    return done


async def started(folder, bundle, **more):
    node = ProfilesDeployment(config_in(folder, **more))
    await node.reconfigure({"bundle": bundle.uri})
    return node


def test_a_cursor_past_the_end_misses_no_later_event(tmp_path, shop_bundle, store):
    async def run():
        node = await started(tmp_path, shop_bundle, store=store)
        await apply(node, event("a"), event("b"))
        _, end = await node.export(0, 10)
        assert await node.export(end + 1_000, 10) == (events(), end)
        assert await node.export(end, 10) == (events(), end)
        await apply(node, event("c"))
        table, after = await node.export(end, 10)
        assert (table.column("event_id").to_pylist(), after > end) == (["c"], True)

    asyncio.run(run())


def test_an_acknowledged_event_is_in_the_profile_and_counts_once(tmp_path, shop_bundle):
    async def run():
        node = await started(tmp_path, shop_bundle)
        assert await node.get("u") is None
        assert await apply(node, event("a"), event("b")) == ApplyResult(2, 0)
        assert await apply(node, event("b"), event("c")) == ApplyResult(1, 1)
        profile = await node.get("u")
        assert profile is not None
        assert profile.counts["event:click"] == 3
        with pytest.raises(EventsError):
            await apply(node, event("d", kind="stare"))
        assert await node.erase("u") == 3
        assert await node.get("u") is None

    asyncio.run(run())


def test_of_calls_that_come_together_each_has_its_own_answer(tmp_path, shop_bundle):
    async def run():
        node = await started(tmp_path, shop_bundle)
        rows = events(event("a"), event("b", kind="stare"), event("a"), event("c"))
        first, wrong, rest = await node.apply(rows, [1, 1, 2])
        assert (first, rest) == (ApplyResult(1, 0), ApplyResult(1, 1))
        assert isinstance(wrong, EventsError)
        assert (await node.get("u")).counts["event:click"] == 2

    asyncio.run(run())


def test_a_follower_is_given_every_video_with_new_events_and_its_counts(tmp_path, shop_bundle):
    async def run():
        node = await started(tmp_path, shop_bundle)
        await apply(node, event("a", video_id="x"))
        cursor, states = await node.video_counts(["x", "y"])
        click = VIDEO_COUNT_KEYS.index("event:click")
        assert states[:, click].tolist() == [1, 0]
        assert (await node.video_counts_since(cursor))[1] == []
        await apply(node, event("b", video_id="x"), event("c", video_id="z"))
        cursor, names, states = await node.video_counts_since(cursor)
        assert (names, states[:, click].tolist()) == (["x", "z"], [2, 1])
        cursor, names, states = await node.video_counts_since(cursor)
        assert (names, states.shape) == ([], (0, len(VIDEO_COUNT_KEYS)))

    asyncio.run(run())


def test_a_video_that_came_by_a_change_moves_the_taste_and_one_removed_does_not(tmp_path, shop_bundle):
    vector = np.eye(1, 16, dtype=np.float32)
    encoder = shop_bundle.parts.fused.column("encoder")[0].as_py()

    async def run():
        node = await started(tmp_path, shop_bundle)
        journal = CatalogJournal(str(tmp_path / "data"))
        journal.append(added("new", {"fused": vector}, {"fused": encoder}))
        journal.append(added("other", {"fused": vector}, {"fused": "another"}))
        await asyncio.sleep(0.3)
        await apply(node, event("a", "u1", "new"), event("b", "u2", "other"), event("c", "u3", "none"))
        assert taste_vector(await node.get("u1")).tolist() == vector[0].tolist()
        assert taste_vector(await node.get("u2")) is None
        assert taste_vector(await node.get("u3")) is None
        # A new title keeps the vector; a removal takes it away.
        journal.append(updated("new", title="another"))
        await asyncio.sleep(0.3)
        await apply(node, event("d", "u4", "new"))
        assert taste_vector(await node.get("u4")).tolist() == vector[0].tolist()
        journal.append(removed("new"))
        await asyncio.sleep(0.3)
        await apply(node, event("e", "u5", "new"))
        assert taste_vector(await node.get("u5")) is None

    asyncio.run(run())


def test_arms_count_what_was_noted_since_the_start(tmp_path, shop_bundle):
    async def run():
        node = await started(tmp_path, shop_bundle)
        now = time.time_ns() // 1000
        await apply(node, event("a", kind="impression", at=now), event("b", at=now))
        await asyncio.sleep(0.3)
        (arm,) = (await node.arms()).arms
        assert (arm.impressions, arm.clicks) == (1, 1)

    asyncio.run(run())


@pytest.fixture
def broken(tmp_path, shop_bundle) -> Path:
    """A bundle without its manifest."""
    folder = tmp_path / "broken"
    shutil.copytree(shop_bundle.uri, folder)
    (folder / "manifest.json").unlink()
    return folder


def test_a_bundle_that_is_refused_leaves_the_one_before_in_service(tmp_path, shop_bundle, broken):
    async def run():
        node = await started(tmp_path, shop_bundle)
        await node.reconfigure({"bundle": str(broken)})
        assert await node.ready() == shop_bundle.version
        assert "broken" in (await node.refused() or "")
        await node.reconfigure({"bundle": shop_bundle.uri})
        assert await node.refused() is None

    asyncio.run(run())


def test_a_node_that_starts_with_a_broken_bundle_takes_the_last_good_one(tmp_path, shop_bundle, broken):
    async def run():
        with pytest.raises(BundleError, match="broken"):
            await ProfilesDeployment(config_in(tmp_path)).reconfigure({"bundle": str(broken)})
        (tmp_path / "data").mkdir()
        said = {"uri": shop_bundle.uri, "encoder": shop_bundle.parts.fused.column("encoder")[0].as_py()}
        (tmp_path / "data" / "served.json").write_text(json.dumps(said))
        node = ProfilesDeployment(config_in(tmp_path))
        await node.reconfigure({"bundle": str(broken)})
        assert await node.ready() == shop_bundle.version
        assert "broken" in (await node.refused() or "")

    asyncio.run(run())


def test_a_bundle_of_another_encoder_is_refused_where_there_are_profiles(tmp_path, shop_bundle):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "served.json").write_text(json.dumps({"encoder": "fused@another"}))

    async def run():
        with pytest.raises(BundleError, match="fused@another"):
            await started(tmp_path, shop_bundle)

    asyncio.run(run())


def test_write_shop_bundle_gives_two_versions_of_two_configs(tmp_path, shop_bundle):
    from vrec.bundle.write import BundleConfig

    other = write_shop_bundle(tmp_path / "other", BundleConfig(neighbours=10, popular=10))
    assert other.version != shop_bundle.version
