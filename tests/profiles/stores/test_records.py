"""Logs of records in both kinds of stores, against a list."""

import sqlite3
import threading
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, SqlitePlace
from vrec.core.state_protocols import RecordLog

NAMES = iter(range(1_000_000))
APPENDS = st.lists(
    st.tuples(st.sampled_from([None, -2, -1, 0, 1]), st.sampled_from([None, 1, 3])), max_size=12
)


@given(appends=APPENDS, bound=st.integers(0, 14), limit=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_a_log_is_a_numbered_list_that_forgets_its_beginning(store, appends, bound, limit):
    log, kept, last = f"log-{next(NAMES)}", [], 0
    for step, (offset, most) in enumerate(appends):
        record = b"\0%d" % step
        expected = None if offset is None else max(0, last + offset)
        number = store.append_record(log, record, expected=expected, most=most)
        if expected is not None and expected != last:
            assert number is None
            continue
        last += 1
        assert number == last
        kept.append((last, record))
        if most is not None:
            kept = kept[-most:]
    after = [pair for pair in kept if pair[0] > bound]
    # Redis removes one old record an append: a smaller `most` than before leaves some more.
    assert [pair for pair in store.records_after(log, bound, 99) if pair in kept] == after
    if all(most is None for _, most in appends):
        assert store.records_after(log, bound, limit) == after[:limit]
        before = [pair for pair in reversed(kept) if pair[0] < bound]
        assert store.records_before(log, bound, limit) == before[:limit]
        assert store.records_before(log, None, limit) == kept[::-1][:limit]


def test_a_log_with_a_maximum_keeps_its_last_records(store):
    for number in range(1, 31):
        assert store.append_record("short", b"%d" % number, most=10) == number
    kept = [(number, b"%d" % number) for number in range(21, 31)]
    assert store.records_after("short", 0, 100) == kept
    assert store.records_before("short", None, 4) == kept[:-5:-1]
    assert store.records_before("short", 22, 4) == kept[:1]


def test_of_writers_that_expect_the_same_number_one_wins(store):
    won, lock = [], threading.Lock()

    def write(name):
        for step in range(20):
            while True:
                last = store.records_before("raced", None, 1)
                number = store.append_record(
                    "raced", f"{name} {step}".encode(), expected=last[0][0] if last else 0
                )
                if number is not None:
                    break
            with lock:
                won.append(number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(1, 81))
    records = [record for _, record in store.records_after("raced", 0, 100)]
    assert len(set(records)) == 80
    assert [one for one in records if one.startswith(b"a")] == [b"a %d" % n for n in range(20)]


def test_records_outlive_the_process_and_events(store, place):
    assert isinstance(store, RecordLog)
    store.append_record("kept", b"one")
    if isinstance(place, RedisPlace):
        with closing(place.open()) as again:
            assert again.append_record("kept", b"one") == 1  # sent again after a broken connection
            assert again.records_after("kept", 0, 9) == [(1, b"one")]


def test_a_file_from_before_the_logs_gets_them(tmp_path):
    place = SqlitePlace(tmp_path)
    with closing(place.open()) as opened:
        opened.append_record("rules", b"one")
    with closing(sqlite3.connect(place.config.path)) as file:
        file.execute("DROP TABLE records")
    with closing(place.open()) as opened:
        assert opened.records_after("rules", 0, 9) == []
        assert opened.append_record("rules", b"one") == 1
    with closing(place.open()) as opened:
        assert opened.records_after("rules", 0, 9) == [(1, b"one")]
