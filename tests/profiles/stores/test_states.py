"""Tables of states in both kinds of stores, against a dictionary."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, SqlitePlace
from vrec.core.state_protocols import StateTable
from vrec.testing.store_profiles import world

NAMES = iter(range(1_000_000))
KEYS = ("a", "Ä/ö 1", "session:x", "*")
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "drop"]),
        st.sampled_from(KEYS),
        st.binary(max_size=3),
        st.sampled_from(["any", "right", "none", "wrong"]),
    ),
    max_size=25,
)


@given(changes=CHANGES, together=st.integers(1, 4), bound=st.integers(0, 20), limit=st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_a_table_has_the_last_state_of_each_key_and_its_changes_in_order(
    store, changes, together, bound, limit
):
    table, model, last, puts, wanted = f"table-{next(NAMES)}", {}, 0, [], []

    def put_all():
        assert store.put_states(table, puts) == wanted
        puts.clear()
        wanted.clear()

    for action, key, state, expectation in changes:
        version, present = model.get(key, (0, None))
        expected = {"any": None, "right": version, "none": 0, "wrong": version + 7}[expectation]
        if action == "drop":
            put_all()
            expected = version if expected is None else expected
            assert store.drop_state(table, key, expected) == (key in model and expected == version)
            if expected == version:
                model.pop(key, None)
            continue
        puts.append((key, state, expected))
        if present == state:
            wanted.append(version)
        elif expected in (None, version):
            last += 1
            wanted.append(last)
            model[key] = (last, state)
        else:
            wanted.append(None)
        if len(puts) == together:
            put_all()
    put_all()
    assert store.last_version(table) == last
    assert store.states(table, [*KEYS, *KEYS, "other"]) == model
    assert store.states(table, []) == {}
    after = sorted((version, key, state) for key, (version, state) in model.items() if version > bound)
    assert store.states_after(table, bound, limit) == after[:limit]
    assert store.states_after(table, last, 9) == []


def test_of_writers_that_expect_the_same_version_one_wins_and_a_follower_misses_nothing(store):
    table, seen, stop = f"table-{next(NAMES)}", {}, threading.Event()

    def put(name, step):
        version, _ = store.states(table, ["k"]).get("k", (0, b""))
        return store.put_state(table, "k", f"{name}{step}".encode(), expected=version) is not None

    def write(name):
        for step in range(25):
            while not put(name, step):
                pass
            store.put_state(table, name, b"%d" % step)

    def follow(cursor=0, found=()):
        while found or not stop.is_set():
            found = store.states_after(table, cursor, 3)
            assert [version for version, _, _ in found] == sorted({version for version, _, _ in found})
            seen.update((key, state) for _, key, state in found)
            cursor = found[-1][0] if found else cursor
        return cursor

    with ThreadPoolExecutor(5) as threads:
        following = threads.submit(follow)
        for written in [threads.submit(write, name) for name in "abcd"]:
            written.result()
        stop.set()
        last = following.result()
    seen.update((key, state) for _, key, state in store.states_after(table, last, 9))
    now = store.states(table, ["k", *"abcd"])
    assert seen == {key: state for key, (_, state) in now.items()}
    assert {now[name][1] for name in "abcd"} == {b"24"}
    assert max(version for version, _ in now.values()) == 200


def test_states_outlive_the_store_and_the_erasure_of_shoppers(store, place):
    assert isinstance(store, StateTable)
    events = world()[0].slice(0, 60)
    user = events.column("user_id")[0].as_py()
    store.apply(events)
    first = store.put_state("kept", user, b"one")
    assert store.put_state("kept", user, b"one", expected=first + 9) == first  # sent again
    assert store.erase(user) > 0
    assert store.states("kept", [user]) == {user: (first, b"one")}
    if isinstance(place, RedisPlace):
        with closing(place.open()) as again:
            assert again.states_after("kept", 0, 9) == [(first, user, b"one")]


def test_a_file_from_before_the_tables_gets_them_and_versions_never_go_down(tmp_path):
    place = SqlitePlace(tmp_path)
    with closing(place.open()) as opened:
        opened.put_state("t", "k", b"one")
    with closing(sqlite3.connect(place.config.path)) as file:
        file.execute("DROP TABLE states")
        file.execute("DROP TABLE state_versions")
    for turn in (1, 2, 3):
        with closing(place.open()) as opened:
            assert opened.put_state("t", "k", b"%d" % turn) == turn
            assert opened.drop_state("t", "k", turn)


@pytest.mark.parametrize(("table", "traces"), [("links", 1), ("stream_vectors", 0)])
def test_only_what_shoppers_consented_to_is_removed_with_its_traces(tmp_path, table, traces):
    place = SqlitePlace(tmp_path)
    with closing(place.open()) as opened:
        version = opened.put_state(table, "k", b"one")
        assert opened.drop_state(table, "k", version)
    with closing(sqlite3.connect(place.config.path)) as file:
        assert file.execute("SELECT value FROM marks WHERE name = 'traces'").fetchone() == (traces,)
