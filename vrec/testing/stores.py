"""Contract of `vrec.core.protocols.ProfileStore`, as checks that raise AssertionError.

A check takes a place, whose `open()` opens a store that is empty at first and durable after.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Protocol

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.errors import EventsError, SchemaError, StoreError
from vrec.core.protocols import ProfileStore
from vrec.core.schema import EVENTS
from vrec.core.types import ApplyResult
from vrec.testing.store_profiles import (
    assert_near,
    catalog,
    changed,
    ids_of,
    log_of,
    of_user,
    stored,
    wanted,
    world,
)


class StorePlace(Protocol):
    """A place where stores are kept, such as a database file or a server's key prefix."""

    def open(self) -> ProfileStore:
        """Open the store of this place, with the contract's video metadata and `CONFIG`."""
        ...


def check_identity(place: StorePlace) -> None:
    """Implement the protocol and report no fault."""
    with closing(place.open()) as store:
        assert isinstance(store, ProfileStore)
        assert store.check() is None


def check_profiles_are_the_fold(place: StorePlace) -> None:
    """To the last bit, after every batch, read or not in between, and after opening again."""
    events, want = world()[0], wanted(world()[0])
    with closing(place.open()) as store:
        for start in range(0, events.num_rows, 90):
            store.apply(events.slice(start, 90))
            if start % 4 == 0:
                so_far = wanted(events.slice(0, start + 90))
                assert stored(store, want) == so_far
        assert stored(store, want) == want
    with closing(place.open()) as store:
        assert stored(store, want) == want


def check_any_batching_and_order(place: StorePlace) -> None:
    """Reach the same profiles for any batching, order and repetition."""
    events = world()[0].slice(0, 500)
    rng = np.random.default_rng(5)
    with closing(place.open()) as store:
        order = np.concatenate([rng.permutation(500), rng.permutation(500)[:200]])
        edges = np.sort(rng.integers(0, 700, 9)).tolist()
        for start, end in zip([0, *edges], [*edges, 700], strict=True):
            store.apply(events.take(pa.array(order[start:end])))
        assert_near(stored(store, wanted(world()[0])), wanted(events))


def check_repeated_count_once(place: StorePlace) -> None:
    """Count an event once, however often it is sent."""
    events = world()[0].slice(0, 120)
    half, twice = events.slice(0, 60), pa.concat_tables([events.slice(60), events.slice(60)])
    with closing(place.open()) as store:
        assert store.apply(half) == ApplyResult(60, 0)
        assert store.apply(half) == ApplyResult(0, 60)
        assert store.apply(twice) == ApplyResult(60, 60)
        assert store.apply(events.take(pa.array(np.arange(120)[::-1]))) == ApplyResult(0, 120)
        assert stored(store, wanted(events)) == wanted(events)
    with closing(place.open()) as store:
        assert store.apply(events) == ApplyResult(0, 120)
        assert stored(store, wanted(events)) == wanted(events)
        assert log_of(store).equals(events)


def check_first_of_an_id_stays(place: StorePlace) -> None:
    """Keep the first event of an id."""
    events = world()[0].slice(0, 40)
    other = changed(events, kind="purchase", value=9.0, user_id="someone-else")
    with closing(place.open()) as store:
        store.apply(events)
        assert store.apply(other) == ApplyResult(0, 40)
        assert log_of(store).equals(events)
        assert store.get("user", ["someone-else"]) == {}
        assert stored(store, wanted(events)) == wanted(events)


def check_older_never_overwrites_newer(place: StorePlace) -> None:
    """Keep the newest state when events arrive late."""
    events = world()[0]
    user = events.column("user_id")[0].as_py()
    mine = of_user(events, user)
    with closing(place.open()) as store:
        for row in range(mine.num_rows - 1, -1, -1):
            store.apply(mine.slice(row, 1))
            found = store.get("user", [user])[user]
            assert found.seen[-1][1] == ids_of(mine)[-1]
            if "taste_at" in found.counts:
                assert found.counts["taste_at"] == max(i.at for i in found.history)
        assert_near(stored(store, wanted(mine)), wanted(mine))


def check_misses_are_absent(place: StorePlace) -> None:
    """Omit unknown ids from the result."""
    events = world()[0].slice(0, 30)
    user, video = events.column("user_id")[0].as_py(), events.column("video_id")[0].as_py()
    idle = next(name for name in catalog() if name not in events.column("video_id").to_pylist())
    with closing(place.open()) as store:
        assert store.get("user", [user]) == {}
        store.apply(events)
        assert store.get("user", ["nobody", user, video, user]) == {user: wanted(events)["user", user]}
        assert set(store.get("video", [video, user, idle])) == {video}
        assert store.get("video", []) == {}


def check_acknowledged_is_seen_at_once(place: StorePlace) -> None:
    """Show an acknowledged event in the next read."""
    events = world()[0].slice(0, 80)
    user, video = "shopper", events.column("video_id")[0].as_py()
    with closing(place.open()) as store:
        for row in range(80):
            store.apply(changed(events.slice(row, 1), user_id=user, video_id=video))
            assert len(log_of(store)) == row + 1
            for found in (store.get("user", [user])[user], store.get("video", [video])[video]):
                assert sum(n for key, n in found.counts.items() if key.startswith("event:")) == row + 1


def check_bad_rows_change_nothing(place: StorePlace) -> None:
    """Refuse a batch with a bad row as a whole."""
    events = world()[0].slice(0, 20)
    kinds, values = events.column("kind").to_pylist(), events.column("value").to_pylist()
    bad = (
        changed(events, kind=[*kinds[:-1], "gaze"]),
        changed(events, value=[*values[:-1], -1.0]),
        changed(events, value=[float("nan"), *values[1:]]),
        events.drop_columns(["user_id"]),
    )
    with closing(place.open()) as store:
        for table in bad:
            with pytest.raises((EventsError, SchemaError)):
                store.apply(table)
            with pytest.raises((EventsError, SchemaError)):
                store.submit(table)
        assert log_of(store).num_rows == 0
        assert stored(store, wanted(events)) == {}
        assert store.apply(events) == ApplyResult(20, 0)


def check_export_gives_the_log_as_it_came(place: StorePlace) -> None:
    """Export the events page by page in the order of arrival."""
    whole = world()[0]
    events = whole.slice(0, 100).take(pa.array(np.random.default_rng(1).permutation(100)))
    events = changed(events, position=[None, 0, 3, -1, 32767] * 20, propensity=[0.1, None] * 50)
    with closing(place.open()) as store:
        assert store.export() == (EVENTS.arrow().empty_table(), 0)
        store.apply(events.slice(0, 77))
        pages, cursor = [], 0
        while (found := store.export(cursor, 7))[0].num_rows:
            assert found[0].num_rows <= 7
            assert found[1] > cursor
            pages.append(found[0])
            cursor = found[1]
        assert found[1] == cursor
        assert pa.concat_tables(pages).equals(events.slice(0, 77))
        store.apply(events)
        rest, end = store.export(cursor)
        assert rest.equals(events.slice(77))
        assert rest.schema.equals(EVENTS.arrow())
    with closing(place.open()) as store:
        assert store.export(end) == (EVENTS.arrow().empty_table(), end)
        assert log_of(store).equals(events)


def check_cursor_separates_later_events(place: StorePlace) -> None:
    """Return a cursor after which only later events are exported."""
    events = world()[0].slice(0, 60)
    with closing(place.open()) as store:
        assert store.latest_cursor() == 0
        store.apply(events.slice(0, 40))
        end = store.latest_cursor()
        assert store.export(end)[0].num_rows == 0
        store.apply(events.slice(20))
        assert ids_of(store.export(end)[0]) == ids_of(events.slice(40))
    with closing(place.open()) as store:
        assert store.latest_cursor() == store.export()[1]


def check_export_under_writers(place: StorePlace) -> None:
    """Export every event once while others write."""
    events, writers = world()[0].slice(0, 600), 4
    done, seen = threading.Event(), []
    with closing(place.open()) as store:

        def write(writer: int) -> int:
            part = events.take(pa.array(np.arange(writer, 600, writers)))
            return sum(store.apply(part.slice(start, 3)).new for start in range(0, 150, 3))

        def read() -> None:
            cursor = 0
            while True:
                last = done.is_set()
                found, cursor = store.export(cursor, 50)
                seen.extend(ids_of(found))
                if last and not found.num_rows:
                    return

        with ThreadPoolExecutor(writers + 1) as pool:
            reader = pool.submit(read)
            counts = list(pool.map(write, range(writers)))
            done.set()
            reader.result()
        assert sum(counts) == 600
        assert sorted(seen) == sorted(ids_of(events))
        assert seen == ids_of(log_of(store))
        assert_near(stored(store, wanted(events)), wanted(events))


def check_same_events_from_many_threads(place: StorePlace) -> None:
    """Count an event once when threads send it at the same time."""
    events = world()[0].slice(0, 200)
    with closing(place.open()) as store, ThreadPoolExecutor(6) as pool:
        parts = [events.slice(start, 20) for start in range(0, 200, 20) for _ in range(6)]
        results = list(pool.map(store.apply, parts))
        assert sum(r.new for r in results) == 200
        assert sum(r.repeated for r in results) == 1000
        assert sorted(ids_of(log_of(store))) == sorted(ids_of(events))
        assert_near(stored(store, wanted(events)), wanted(events))


def check_erased_is_gone_and_stays_away(place: StorePlace) -> None:
    """Erase a shopper for good, and leave everything else."""
    events = world()[0].slice(0, 400)
    user = events.column("user_id")[0].as_py()
    mine, others = of_user(events, user), of_user(events, user, keep=False)
    want = wanted(events)
    with closing(place.open()) as store:
        store.apply(events)
        assert store.erase(user) == mine.num_rows
        assert store.erase(user) == 0
        assert store.erase("nobody") == 0
    with closing(place.open()) as store:
        assert log_of(store).equals(others)
        assert store.get("user", [user]) == {}
        rest = {key: profile for key, profile in want.items() if key != ("user", user)}
        assert stored(store, rest) == rest
        assert store.apply(mine) == ApplyResult(0, mine.num_rows)
        assert store.get("user", [user]) == {}
        fresh = changed(mine.slice(0, 1), event_id="fresh")
        assert store.apply(fresh) == ApplyResult(1, 0)
        assert store.get("user", [user])[user] == wanted(fresh)["user", user]
        assert ids_of(log_of(store)) == [*ids_of(others), "fresh"]
        store.apply(changed(fresh, event_id="alone", video_id="alone"))
        seen = store.get("video", ["alone", "unseen"])
        store.erase(user)
        assert store.get("video", ["alone", "unseen"]) == seen != {}


def check_odd_ids(place: StorePlace) -> None:
    """Accept any text as an id."""
    odd = ["", "a:b", "tail:user:x", "*", "{x}", "é中", "\x00", "x" * 3000, "'; DROP TABLE events; --", "0"]
    events = world()[0].slice(0, 10)
    events = changed(events, user_id=odd, video_id=odd[::-1], request_id=odd, domain=odd)
    events = changed(events, event_id=odd)
    with closing(place.open()) as store:
        store.apply(events)
        assert store.apply(events) == ApplyResult(0, 10)
        assert log_of(store).equals(events)
        assert set(store.get("user", odd)) == set(store.get("video", odd)) == set(odd)
        assert [store.erase(name) for name in odd] == [1] * 10
        assert log_of(store).num_rows == 0


def check_futures(place: StorePlace) -> None:
    """Return futures from `submit` that resolve to counts."""
    events = world()[0].slice(0, 60)
    with closing(place.open()) as store:
        futures = [store.submit(events.slice(start, 5)) for start in range(0, 60, 5)]
        assert all(isinstance(future, Future) for future in futures)
        assert [future.result(30) for future in futures] == [ApplyResult(5, 0)] * 12
        assert store.submit(events.slice(0, 0)).result(30) == ApplyResult(0, 0)
        assert sorted(ids_of(log_of(store))) == sorted(ids_of(events))


def check_calls_together(place: StorePlace) -> None:
    """Answer each call of `submit_all` for its own events, whether they were new or not; refuse bad rows."""
    events = world()[0].slice(0, 30)
    again = pa.concat_tables([events.slice(0, 4), events.slice(2, 6), events.slice(0, 0), events.slice(8, 1)])
    with closing(place.open()) as store:
        calls = store.submit_all(again, [4, 6, 0, 1])
        assert isinstance(calls, Future)
        counts = [(4, 0), (4, 2), (0, 0), (1, 0)]
        assert calls.result(30) == [ApplyResult(*pair) for pair in counts]
        assert store.submit_all(events.slice(0, 0), []).result(30) == []
        with pytest.raises(EventsError):
            store.submit_all(changed(events.slice(20, 2), kind=["click", "stare"]), [1, 1])
        assert sorted(ids_of(log_of(store))) == sorted(ids_of(events.slice(0, 9)))
        assert stored(store, wanted(events.slice(0, 9))) == wanted(events.slice(0, 9))


def check_closed_is_refused(place: StorePlace) -> None:
    """Finish waiting writes on close, then refuse every call."""
    events = world()[0].slice(0, 5)
    store = place.open()
    waiting, user = store.submit(events), events.column("user_id")[0].as_py()
    assert waiting.result(30) == ApplyResult(5, 0)
    assert set(store.get("user", [user])) == {user}
    waiting = store.submit(changed(events, event_id=list("abcde")))
    store.close()
    store.close()
    assert waiting.result(0) == ApplyResult(5, 0)
    calls = (
        lambda: store.apply(events),
        lambda: store.submit(events),
        lambda: store.submit_all(events, [5]),
        lambda: store.get("user", [user]),
        lambda: store.erase(user),
        store.check,
        store.export,
        store.latest_cursor,
    )
    for call in calls:
        with pytest.raises(StoreError):
            call()


CHECKS: list[Callable[[StorePlace], None]] = [
    check for name, check in list(globals().items()) if name.startswith("check_")
]
