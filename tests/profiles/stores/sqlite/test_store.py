"""The store in a file: group commit, disks that fail, other programs at it, what is left of the erased."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections import deque
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.contracts.store_places import SqlitePlace
from vrec.core.errors import StoreError
from vrec.core.schema import EVENT_KINDS
from vrec.core.types import ApplyResult
from vrec.events.config import EventKind
from vrec.profiles.stores.sqlite.jobs import PendingAppend, WriterTask
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.stores.sqlite.tables import store_errors
from vrec.testing.store_profiles import CONFIG, changed, facts, ids_of, log_of, of_user, stored, wanted, world

EVENTS = world()[0]


@pytest.fixture
def place(tmp_path):
    return SqlitePlace(tmp_path)


def said(store):
    """What the store says to SQLite from now on."""
    found = []
    store._file._db.set_trace_callback(found.append)
    return found


def test_callers_that_wait_share_a_commit(tmp_path):
    place = SqlitePlace(tmp_path, fold_after=1000)  # a profile that is stored has a commit of its own
    with closing(place.open()) as store:
        statements = said(store)
        # While another program holds the database, the first call waits for it and the others for the first.
        held = sqlite3.connect(place.config.path, isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        first = store.submit(EVENTS.slice(0, 1))
        others = [store.submit(EVENTS.slice(row, 1)) for row in range(1, 200)]
        held.execute("ROLLBACK")
        held.close()
        assert first.result(30) == ApplyResult(1, 0)
        assert {future.result(30) for future in others} == {ApplyResult(1, 0)}
        # One where the writer got to run only when all were there.
        assert sum("COMMIT" in s for s in statements) in (1, 2)
        assert log_of(store).equals(EVENTS.slice(0, 200))


def test_of_many_profiles_only_the_events_since_they_were_stored_are_read(place):
    """Not all that a popular video ever had: a scan of the index by number, for many at once as for one."""
    with closing(place.open()) as store:
        store.apply(EVENTS.slice(0, 50))
        statements = []
        store._reader._db.set_trace_callback(statements.append)
        videos = sorted(set(EVENTS.slice(0, 50)["video_id"].to_pylist()))
        assert len(store.get("video", videos)) == len(videos) > 1
        asked = [s for s in statements if " events " in s]
        store._reader._db.set_trace_callback(None)
        plans = [row[3] for s in asked for row in store._reader._db.execute(f"EXPLAIN QUERY PLAN {s}")]
        found = [step for step in plans if step.startswith(("SEARCH events", "SCAN events"))]
        assert len(found) == 1
        assert found[0].endswith("(video_id=? AND number>?)")


def test_purchases_are_on_the_disk_itself(place):
    with closing(place.open()) as store:
        statements = said(store)
        for kind in ("click", "purchase", "like"):
            store.apply(changed(EVENTS.slice(0, 1), kind=kind, event_id=kind))
        levels = [s.split("= ")[1] for s in statements if "synchronous" in s]
        assert levels == ["NORMAL", "FULL", "NORMAL"]


def test_every_kind_of_event_may_be_named():
    assert get_args(EventKind) == EVENT_KINDS


def test_another_store_on_the_same_file_is_refused(place):
    with closing(place.open()) as store:
        with pytest.raises(StoreError, match="open in another store") as caught:
            place.open()
        assert "Redis" in caught.value.fix
        code = (
            "import sys; from vrec.profiles.stores.factory import *\n"
            "from vrec.profiles.update import ProfilesConfig\n"
            "try: open_store(SqliteConfig(path=sys.argv[1]), lambda ids: {}, ProfilesConfig())\n"
            "except Exception as error: print(type(error).__name__, error)"
        )
        found = subprocess.run(
            [sys.executable, "-c", code, place.config.path], capture_output=True, text=True, check=True
        )
        assert found.stdout.startswith("StoreError")
        assert "open in another store" in found.stdout
        assert store.apply(EVENTS.slice(0, 5)) == ApplyResult(5, 0)
    place.open().close()


def test_other_programs_read_while_it_writes(place):
    with closing(place.open()) as store:
        store.apply(EVENTS.slice(0, 5))
        with closing(sqlite3.connect(place.config.path)) as other:
            assert other.execute("SELECT count(*) FROM events").fetchone() == (5,)
            store.apply(EVENTS.slice(5, 5))
            assert other.execute("SELECT count(*) FROM events").fetchone() == (10,)


def test_a_locked_database_is_told_and_works_again(tmp_path):
    place = SqlitePlace(tmp_path, busy_timeout_s=0.05)
    with closing(place.open()) as store, closing(sqlite3.connect(place.config.path)) as other:
        store.apply(EVENTS.slice(0, 5))
        other.execute("BEGIN IMMEDIATE")
        for call in (lambda: store.apply(EVENTS.slice(5, 5)), store.check, lambda: store.erase("nobody")):
            with pytest.raises(StoreError, match="locked") as caught:
                call()
            assert "send the events again" in caught.value.fix
        assert stored(store, wanted(EVENTS)) == wanted(EVENTS.slice(0, 5))
        other.execute("ROLLBACK")
        assert store.apply(EVENTS.slice(0, 10)) == ApplyResult(5, 5)
        assert stored(store, wanted(EVENTS)) == wanted(EVENTS.slice(0, 10))


DISK_FULL = """
import resource, signal, sys
from vrec.testing.stores import *
from tests.contracts.store_places import SqlitePlace
from dataclasses import replace
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit is an error
store, events = SqlitePlace(Path(sys.argv[1]), fold_after=4).open(), world()[0]
kept, refused, row = 0, 0, 0
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
while refused < 3:
    part = changed(events.slice(row % 1000, 50), event_id=[str(row + i) for i in range(50)])
    try:
        kept += store.apply(part).new
        row += 50
    except StoreError as error:
        assert "disk" in error.fix, error.fix
        refused += 1
with pytest.raises(StoreError, match="disk"):
    for _ in range(100):  # each takes a little of what is left
        store.check()
log = log_of(store)
assert len(log) == kept == row, (len(log), kept, row)
assert_near(stored(store, wanted(log)), wanted(log))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.apply(part) == ApplyResult(50, 0)
store.check()
log = log_of(store)
assert_near(stored(store, wanted(log)), wanted(log))
store.close()
print("well")
"""


@pytest.mark.slow
def test_a_full_disk_is_told_keeps_nothing_by_halves_and_works_again(tmp_path):
    root = Path(__file__).resolve().parents[4]
    found = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "well\n", found.stderr


@pytest.mark.parametrize("path", ["/proc/none/store.db", "/dev/null/store.db", "."])
def test_a_path_that_cannot_be_is_refused(path):
    with pytest.raises(StoreError) as caught:
        SqliteStore(SqliteConfig(path=path), facts, CONFIG)
    assert "path" in caught.value.fix or "writable" in caught.value.fix


def test_files_of_something_else_are_refused_and_stay_as_they_are(tmp_path):
    text, database = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("not a database, but long enough to be read as if it were one" * 20)
    with closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE mine (x)")
    for path, word in ((text, "not a database"), (database, "not a store")):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=word):
            SqliteStore(SqliteConfig(path=str(path)), facts, CONFIG)
        assert path.read_bytes() == before
        path.unlink()
        SqliteStore(SqliteConfig(path=str(path)), facts, CONFIG).close()


def test_nothing_of_the_erased_is_left_in_the_files(tmp_path):
    place, user = SqlitePlace(tmp_path, fold_after=2), "a-shopper-to-be-forgotten"
    mine = changed(
        of_user(EVENTS, EVENTS.column("user_id")[0].as_py()), user_id=user, request_id="secret-request"
    )
    with closing(place.open()) as store:
        store.apply(mine)
        store.apply(of_user(EVENTS, EVENTS.column("user_id")[0].as_py(), keep=False))
        files = [path for path in tmp_path.iterdir() if path.suffix != ".db-shm"]
        assert any(user.encode() in path.read_bytes() for path in files)
        store.erase(user)
        for path in tmp_path.iterdir():
            assert user.encode() not in path.read_bytes()
            assert b"secret-request" not in path.read_bytes()


def test_a_caller_that_goes_away_leaves_its_events_to_be_kept(place):
    async def gone(store):
        waiting = asyncio.wrap_future(store.submit(EVENTS.slice(0, 5)))
        waiting.cancel()
        return await asyncio.wrap_future(store.submit(EVENTS.slice(5, 5)))

    with closing(place.open()) as store:
        assert asyncio.run(gone(store)) == ApplyResult(5, 0)
        assert log_of(store).num_rows == 10


def test_readers_see_every_acknowledged_event_while_others_write(tmp_path):
    """More profiles than are held in memory, so that they come and go: a count may never fall or lack one."""
    place = SqlitePlace(tmp_path, hot_profiles=3, fold_after=3)
    users = [f"u{i}" for i in range(6)]
    counts, wrong, done = dict.fromkeys(users, 0), [], threading.Event()

    def write(store, user):
        for turn in range(60):
            store.apply(changed(EVENTS.slice(turn, 1), user_id=user, event_id=f"{user}-{turn}"))
            counts[user] += 1

    def read(store):
        while not done.is_set():
            for user in users:
                least = counts[user]
                found = store.get("user", [user]).get(user)
                events = sum(n for key, n in found.counts.items() if key.startswith("event:")) if found else 0
                if not least <= events <= counts[user] + 1:
                    wrong.append((user, least, events))

    with closing(place.open()) as store:
        readers = [threading.Thread(target=read, args=(store,)) for _ in range(2)]
        writers = [threading.Thread(target=write, args=(store, user)) for user in users]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert wrong == []
        assert store.get("user", users).keys() == set(users)


def test_another_encoder_is_told_and_no_event_is_lost(place):
    with closing(place.open()) as store:
        store.apply(EVENTS.slice(0, 300))
        user = next(name for name, p in store.get("user", ids_of_users()).items() if p.vector is not None)

    def longer(ids):
        return {name: replace(found, vector=np.ones(9, np.float32)) for name, found in facts(ids).items()}

    with closing(SqliteStore(place.config, longer, CONFIG)) as store:
        buys = changed(EVENTS.slice(0, 1), user_id=user, kind="purchase", event_id="new")
        assert store.apply(buys) == ApplyResult(1, 0)
        with pytest.raises(StoreError, match="two encoders"):
            store.get("user", [user])
        assert ids_of(log_of(store))[-1] == "new"


def ids_of_users():
    return sorted(set(EVENTS.column("user_id").to_pylist()))


def test_a_catalogue_that_fails_costs_no_event(place):
    broken = threading.Event()

    def failing(ids):
        if broken.is_set():
            raise RuntimeError("no catalogue")
        return facts(ids)

    with closing(SqliteStore(place.config, failing, CONFIG)) as store:
        store.apply(EVENTS.slice(0, 100))
        assert stored(store, wanted(EVENTS)) == wanted(EVENTS.slice(0, 100))
        broken.set()
        assert store.apply(EVENTS.slice(100, 300)) == ApplyResult(300, 0)
        with pytest.raises(RuntimeError):
            store.get("user", ids_of_users())
        with pytest.raises(RuntimeError):
            store.erase(ids_of_users()[0])
        broken.clear()
        assert store.apply(EVENTS.slice(0, 401)) == ApplyResult(1, 400)
        assert stored(store, wanted(EVENTS)) == wanted(EVENTS.slice(0, 401))


def test_profiles_are_stored_after_as_many_events_as_the_setting_says(tmp_path):
    place = SqlitePlace(tmp_path, fold_after=3)
    with closing(place.open()) as store, closing(sqlite3.connect(place.config.path)) as other:
        for turn, want in ((1, []), (2, []), (3, [("u", 3)]), (4, [("u", 3)])):
            row = changed(EVENTS.slice(turn, 1), user_id="u", event_id=f"e{turn}", video_id=f"v{turn}")
            store.apply(row)
            store.check()  # behind what the writer does after a commit
            assert other.execute("SELECT entity_id, upto FROM profiles").fetchall() == want


def test_as_many_profiles_stay_in_memory_as_the_setting_says(tmp_path):
    with closing(SqlitePlace(tmp_path, hot_profiles=2).open()) as store:
        for name in "abc":
            store.apply(changed(EVENTS.slice(0, 1), user_id=name, event_id=name))
            store.get("user", [name])
        assert [store._hot.get(("user", name)) is not None for name in "abc"] == [False, True, True]


def test_a_commit_takes_waiting_calls_until_it_has_as_many_events_as_the_setting_says(tmp_path):
    with closing(SqlitePlace(tmp_path, group_events=5).open()) as store:
        waiting = deque(PendingAppend([()] * size, [], [size]) for size in (2, 2, 2, 2))
        assert [len(call.rows) for call in store._group(waiting)] == [2, 2, 2]
        assert len(waiting) == 1
        waiting.appendleft(WriterTask(lambda: None))
        assert store._group(waiting) == []
        assert len(waiting) == 2


def test_many_ids_are_read_however_few_have_events(tmp_path):
    with closing(SqlitePlace(tmp_path).open()) as store:
        store.apply(changed(EVENTS.slice(0, 1), user_id="last", event_id="e"))
        assert set(store.get("user", [*(f"u{n}" for n in range(1200)), "last"])) == {"last"}


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (sqlite3.OperationalError("database is locked"), "let it finish"),
        (sqlite3.OperationalError("database or disk is full"), "make room on the disk"),
        (sqlite3.OperationalError("disk I/O error"), "make room on the disk or fix it"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "writable for this user"),
        (sqlite3.OperationalError("unable to open database file"), "folder exists"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "open the store again"),
        (sqlite3.DatabaseError("file is not a database"), "give another path"),
        (sqlite3.DatabaseError("database disk image is malformed"), "sqlite3 FILE .recover"),
        (sqlite3.DatabaseError("something else"), StoreError.fix),
        (PermissionError(13, "denied"), "a path that can be written"),
    ],
)
def test_every_error_of_the_file_has_its_fix(error, fix):
    with pytest.raises(StoreError, match=r"store\.db: ") as caught, store_errors(Path("store.db")):
        raise error
    assert fix in caught.value.fix
