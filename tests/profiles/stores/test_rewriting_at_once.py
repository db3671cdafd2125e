"""Events that are sent, removed and joined at the same time come to what they would one after the other."""

# ruff: noqa: F401, F811 (fixtures are imported)

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from tests.events.rows import day, events
from tests.profiles.stores.rewriting import Model
from tests.profiles.stores.test_erasure import KINDS, START_US, kept, traces
from tests.profiles.stores.test_rewriting import new_place
from vrec.core.errors import UnknownEvent
from vrec.core.schema import EVENTS
from vrec.testing.store_profiles import ids_of, log_of, of_user

PAIRED = ("like", "unlike", "purchase", "refund", "hide", "unhide", "dislike", "click", "watch")
COUNT, SENDERS = 240, 3


def clashing_events(seed):
    """Events of an account and its session with few videos, which reverse one another all the time."""
    rng = np.random.default_rng(seed)
    return events(
        *(
            {
                "event_id": f"e{n:03}",
                "user_id": ("u", "session:s", "w")[rng.integers(3)],
                "video_id": f"v{rng.integers(3)}",
                "kind": PAIRED[rng.integers(len(PAIRED))],
                "value": 2.0,
                "at": day(float(rng.integers(40)) / 4),
            }
            for n in range(COUNT)
        )
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_clashing_writers_come_to_what_one_writer_would(new_place, seed):
    table = clashing_events(seed)
    removed = [f"e{n:03}" for n in range(0, COUNT, 7)]
    with closing(new_place().open()) as store:

        def send(sender):
            for row in range(sender, COUNT, SENDERS):
                store.apply(table.slice(row, 1))

        def remove():
            for name in removed:
                while True:
                    try:
                        assert store.remove(name)
                        break
                    except UnknownEvent:
                        time.sleep(0.001)

        def join():
            while log_of(store).num_rows < COUNT // 3:
                time.sleep(0.001)
            store.join("session:s", "u")

        with ThreadPoolExecutor(SENDERS + 2) as pool:
            tasks = [*(pool.submit(send, n) for n in range(SENDERS)), pool.submit(remove), pool.submit(join)]
            for task in tasks:
                task.result()
        rows = {row["event_id"]: row for row in table.to_pylist()}
        arrived = ids_of(log_of(store))
        assert sorted(arrived) == sorted(set(rows) - set(removed))
        model = Model(table)
        model.log, model.owners = [rows[name] for name in arrived], {"session:s": "u"}
        model.check(store)


@pytest.mark.slow
def test_no_byte_of_sessions_and_removed_events_of_an_erased_account_is_left(kept):
    files, rng = kept(fold_after=8), np.random.default_rng(5)
    user, session, other = (f"{name}user-{rng.bytes(12).hex()}" for name in ("", "session:", ""))
    kinds = (*KINDS, "unlike", "refund")
    table = pa.Table.from_pylist(
        [
            {
                "event_id": f"event-{rng.bytes(12).hex()}", "user_id": (user, session, other)[n % 3],
                "video_id": f"video-{n % 4}", "kind": kinds[rng.integers(len(kinds))], "value": 2.0,
                "domain": "d", "at": START_US + n * 1_000_003 + int(rng.integers(1_000_000)),
            }
            for n in range(300)
        ],
        schema=EVENTS.arrow(),
    )  # fmt: skip
    mine = of_user(table, other, keep=False)
    with closing(files.place.open()) as store:
        store.apply(table.slice(0, 150))
        assert store.join(session, user) == 50
        store.apply(table.slice(150))
        gone = ids_of(mine)[::9]
        assert all(store.remove(name) for name in gone)
        assert store.erase(user) == mine.num_rows - len(gone)
        assert log_of(store).equals(of_user(table, other))
        assert store.get("user", [user, session]) == {}
        assert store.apply(mine).new == 0
        assert store.join(session, other) == 0, "an erased account's sessions are free"
        store.erase(other)
    files.settle()
    bare = session.removeprefix("session:")
    assert [*traces(files.folder, user, mine), *traces(files.folder, bare, mine)] == []
