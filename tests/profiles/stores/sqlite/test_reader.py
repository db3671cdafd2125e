"""A reader beside a SQLite store gives what the store gives, at once, and can change nothing."""

import sqlite3
from contextlib import closing

import pytest

from tests.contracts.store_places import SqlitePlace
from vrec.core.errors import StoreError
from vrec.profiles.stores.sqlite.reader import SqliteProfileReader
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.testing.store_profiles import CONFIG, facts, world


def reader_of(place):
    return SqliteProfileReader(place.config, facts, CONFIG)


def test_a_reader_sees_every_acknowledged_event_at_once(tmp_path):
    events, place = world()[0].slice(0, 400), SqlitePlace(tmp_path)
    users = sorted(set(events.column("user_id").to_pylist()))
    videos = sorted(set(events.column("video_id").to_pylist()))
    with closing(place.open()) as store, closing(reader_of(place)) as reader:
        assert reader.get("user", users) == {}
        for start in range(0, 400, 37):
            store.apply(events.slice(start, 37))
            assert reader.get("user", users) == store.get("user", users)
            assert reader.get("video", videos) == store.get("video", videos)
        store.erase(users[0])
        assert users[0] not in reader.get("user", users)
    with closing(reader_of(place)) as reader:
        assert len(reader.get("user", users)) == len(users) - 1


def test_a_reader_cannot_write(tmp_path):
    place = SqlitePlace(tmp_path)
    with closing(place.open()), closing(reader_of(place)) as reader, pytest.raises(sqlite3.OperationalError):
        reader._file.probe()


def test_a_reader_makes_no_store(tmp_path):
    config = SqliteConfig(path=str(tmp_path / "none.db"))
    with pytest.raises(StoreError, match=r"none\.db"):
        SqliteProfileReader(config, facts, CONFIG)
    assert not (tmp_path / "none.db").exists()
