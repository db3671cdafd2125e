"""The copy of a service's log."""

import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.rows import day
from vrec.core.schema import EVENTS
from vrec.core.tables import StorageFolder
from vrec.loop.errors import LoopError
from vrec.loop.event_log import LOG, EventLog

NUMBERS = itertools.count()
PAGE = 3


class Killed(BaseException):
    """End of a process."""


def events(numbers) -> pa.Table:
    rows = [
        {
            "event_id": f"e{n}",
            "user_id": "u",
            "video_id": "v",
            "kind": "click",
            "domain": "feed",
            "at": day(n),
        }
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS.arrow())


class Service:
    """A log whose cursors grow, and in which events can be erased."""

    def __init__(self):
        self.numbers: list[int] = []
        self.added = 0
        self.left: int | None = None

    def add(self, count: int) -> None:
        self.numbers += range(self.added + 1, self.added + 1 + count)
        self.added += count

    def export(self, after: int):
        if self.left is not None:
            if not self.left:
                raise Killed
            self.left -= 1
        found = [n for n in self.numbers if n > after][:PAGE]
        return events(found), found[-1] if found else after


def names(table: pa.Table) -> list[str]:
    return table.column("event_id").to_pylist()


def a_log(now=lambda: 0.0) -> EventLog:
    return EventLog(StorageFolder(f"memory://shop/log-{next(NUMBERS)}"), now)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.one_of(st.none(), st.integers(0, 4))), min_size=1, max_size=6)
)
def test_a_copy_has_every_event_once_however_often_the_export_was_killed(nights):
    service, log = Service(), a_log()
    for count, kill in nights:
        service.add(count)
        service.left = kill
        try:
            log.update(service.export, 7)
        except Killed:
            continue
    service.left = None
    assert names(log.read(log.update(service.export, 7))) == [f"e{n}" for n in service.numbers]


def test_a_position_reads_the_same_events_after_more_came():
    service, log = Service(), a_log()
    service.add(5)
    position = log.update(service.export, 7)
    service.add(4)
    later = log.update(service.export, 7)
    assert len(names(log.read(position))) == 5
    assert len(names(log.read(later))) == 9


def test_what_was_erased_is_gone_from_the_copy_once_it_is_exported_again():
    now = [0.0]
    service, log = Service(), a_log(lambda: now[0])
    service.add(7)
    log.update(service.export, 7)
    service.numbers.remove(2)
    now[0] = 6 * 86_400.0
    assert "e2" in names(log.read(log.update(service.export, 7)))
    now[0] = 8 * 86_400.0
    # Killed on the way, the copy before is still there.
    service.left = 1
    with pytest.raises(Killed):
        log.update(service.export, 7)
    service.left = None
    position = log.update(service.export, 7)
    assert names(log.read(position)) == [f"e{n}" for n in service.numbers]
    assert position.copy == "000002"
    assert log._copies() == ["000002"]


def test_a_gap_in_the_files_is_an_error():
    service, log = Service(), a_log()
    service.add(7)
    position = log.update(service.export, 7)
    folder = log._folder
    folder.remove(f"{LOG}/{position.copy}/{folder.files(f'{LOG}/{position.copy}')[0]}")
    with pytest.raises(LoopError, match="does not follow"):
        log.update(service.export, 7)
