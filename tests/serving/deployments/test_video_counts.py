"""Counts of videos for several replicas, which follow at different paces."""

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.deployments.test_profiles import event, events
from vrec.profiles.stores.sqlite.config import SqliteConfig
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.serving.deployments import video_counts as module
from vrec.serving.deployments.video_counts import VideoCounts

VIDEOS = [f"v{n}" for n in range(5)]
CLICK = VIDEO_COUNT_KEYS.index("event:click")


class NotedStore:
    """A store that notes which videos' profiles are read."""

    def __init__(self, store):
        self._store, self.read = store, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def get(self, kind, ids):
        self.read += ids
        return self._store.get(kind, ids)


def run_with_store(work):
    with tempfile.TemporaryDirectory() as folder:
        config = SqliteConfig(path=str(Path(folder) / "store.db"))
        with closing(SqliteStore(config, lambda _: {}, ProfilesConfig())) as opened:
            asyncio.run(work(NotedStore(opened)))


STEPS = st.lists(st.one_of(st.sampled_from(VIDEOS), st.integers(0, 2)), max_size=60)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from([1, 2, 16]), st.sampled_from([2, 1000]))
def test_each_replica_has_the_store_s_counts_once_it_has_caught_up(steps, remembered, limit):
    async def work(store):
        counts, cursors = VideoCounts(lambda: store), [0, 0, 0]
        known = [dict.fromkeys(VIDEOS, 0.0) for _ in cursors]

        async def ask(replica):
            cursors[replica], names, rows = await counts.since(cursors[replica])
            known[replica] |= dict(zip(names, rows[:, CLICK], strict=True))
            return names

        for number, step in enumerate(steps):
            if isinstance(step, str):
                store.apply(events(event(f"e{number}", video_id=step)))
            else:
                await ask(step)
        for replica in range(3):
            while await ask(replica):
                pass
            expected = {name: float(steps.count(name)) for name in VIDEOS}
            assert known[replica] == expected
            assert cursors[replica] == store.latest_cursor()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REMEMBERED_READS", remembered)
        patch.setattr(module, "MAX_FOLLOWED_EVENTS", limit)
        run_with_store(work)


def test_a_change_is_read_once_for_all_replicas():
    async def work(store):
        counts = VideoCounts(lambda: store)
        cursor, rows = await counts.of(VIDEOS)
        assert not rows.any()
        cursors = [cursor, cursor]
        for number in range(40):
            store.apply(events(event(f"e{number}", video_id=VIDEOS[number % 5])))
            store.read.clear()
            for replica in (0, 1):
                cursors[replica], names, rows = await counts.since(cursors[replica])
                assert names == [VIDEOS[number % 5]]
                np.testing.assert_array_equal(rows[:, CLICK], [number // 5 + 1])
            assert store.read == names

    run_with_store(work)
