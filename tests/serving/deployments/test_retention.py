"""Events that are kept no longer: removed in bounded looks, and in no export meanwhile."""

import asyncio

import pytest

from tests.contracts.store_places import SqlitePlace
from tests.serving.deployments.test_held import Shoppers
from vrec.config.serve import ServeConfig
from vrec.privacy.retention import DAY_US, RetentionConfig
from vrec.profiles.stores.codec import table_from_rows
from vrec.serving.deployments.retention import EventCleaner

NOW = 20_000 * DAY_US


def event(number, kind, age_days):
    at = NOW - round(age_days * DAY_US)
    return (f"e{number}", "u", f"v{number % 5}", kind, None, None, None, None, "shop", at)


@pytest.fixture
def store(tmp_path):
    opened = SqlitePlace(tmp_path).open()
    yield opened
    opened.close()


def ids(table):
    return table.column("event_id").to_pylist()


def test_looks_are_bounded_and_passes_are_apart(store):
    now = [NOW]
    config = RetentionConfig(days={"impression": 90}, events_per_look=10, pause_s=60)
    cleaner = EventCleaner(lambda: store, config, now=lambda: now[0])
    rows = [event(n, "impression", 89 + n % 3) for n in range(25)] + [event(99, "click", 900)]
    store.apply(table_from_rows(rows))
    removed = [asyncio.run(cleaner.clean()) for _ in range(5)]
    assert removed == [3, 3, 2, 0, 0]
    assert len(ids(store.export()[0])) == 26 - sum(removed)
    now[0] += round(2.5 * DAY_US)
    assert sum(asyncio.run(cleaner.clean()) for _ in range(3)) == 25 - sum(removed)
    assert ids(store.export()[0]) == ["e99"]


def test_an_export_has_none_that_is_too_old_before_it_is_removed(store, monkeypatch):
    monkeypatch.setattr("vrec.serving.deployments.retention.wall_clock_us", lambda: NOW)
    store.apply(table_from_rows([event(n, "impression" if n < 8 else "like", 100) for n in range(9)]))
    shoppers = Shoppers(store)
    shoppers._retention = EventCleaner(
        lambda: store, RetentionConfig(days={"impression": 90}), now=lambda: NOW
    )
    events, cursor = asyncio.run(shoppers.export_consented(0, 3))
    assert ids(events) == ["e8"]
    assert asyncio.run(shoppers.export_consented(cursor, 3))[0].num_rows == 0
    assert len(ids(store.export()[0])) == 9


def test_kinds_that_do_not_exist_are_refused_and_own_ones_are_known():
    given = {"retention": {"days": {"save": 3}}}
    with pytest.raises(ValueError, match=r"serve\.retention\.days: there is no kind of event save"):
        ServeConfig.model_validate(given)
    own = {"own_kinds": {"save": {"counts_as": "positive", "weight": 2}}}
    assert ServeConfig.model_validate(given | own).retention.days == {"save": 3}
    with pytest.raises(ValueError, match="greater than 0"):
        ServeConfig.model_validate({"retention": {"days": {"click": 0}}})
