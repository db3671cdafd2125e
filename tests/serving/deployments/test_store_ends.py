"""Ends of the logs of many stores, and who shares the look at them."""

import asyncio
from contextlib import ExitStack, closing

import pytest

from tests.contracts.store_places import RedisPlace, SqlitePlace
from tests.serving.deployments.test_profiles import event, events
from vrec.core.errors import StoreError
from vrec.serving.deployments.store_ends import SharedEnds, StoreEnds, read_ends
from vrec.serving.rules.book import RULES_LOG
from vrec.serving.trends.follower import announce_erasure


@pytest.fixture(params=["sqlite", "redis"])
def stores(request, tmp_path, request_server):
    """Three stores of one kind by name; those of Redis are on one server."""
    with ExitStack() as stack:
        opened = {}
        for name in "abc":
            (tmp_path / name).mkdir()
            kind = request.param
            place = SqlitePlace(tmp_path / name) if kind == "sqlite" else RedisPlace(request_server)
            opened[name] = stack.enter_context(closing(place.open()))
        yield opened


@pytest.fixture
def request_server(request):
    return request.getfixturevalue("server") if "redis" in request.node.name else None


def test_every_kind_of_change_moves_the_ends_of_its_store_alone(stores):
    known = read_ends(stores)
    assert known == dict.fromkeys("abc", StoreEnds(0, 0, 0, 0))

    def moved(name):
        nonlocal known
        before, known = known, read_ends(stores)
        assert {other: known[other] for other in "abc" if other != name} == {
            other: before[other] for other in "abc" if other != name
        }
        assert known[name].events == stores[name].latest_cursor()
        return [
            field
            for field in StoreEnds._fields
            if getattr(known[name], field) != getattr(before[name], field)
        ]

    stores["a"].apply(events(event("1"), event("2", user_id="session:s")))
    assert moved("a") == ["events"]
    stores["b"].append_record(RULES_LOG, b"rule")
    assert moved("b") == ["rules"]
    stores["a"].remove("1")
    assert moved("a") == ["events"]
    for _ in range(2):
        announce_erasure(stores["c"])
        assert moved("c") == ["erasures"]
    assert moved("a") == []


def test_a_store_that_is_closed_hides_no_other(stores):
    stores["b"].close()
    found = read_ends({name: stores[name] for name in "bac"})
    assert found["a"] == found["c"] == StoreEnds(0, 0, 0, 0)


def test_those_who_ask_at_the_same_time_share_a_look_and_a_failed_one_is_tried_again():
    calls, fails = [], [True, False]

    async def fetch():
        calls.append(len(calls))
        await asyncio.sleep(0)
        if fails[len(calls) - 1]:
            raise StoreError("away")
        return {"a": StoreEnds(len(calls), 0, 0, 0)}

    async def run():
        ends = SharedEnds(fetch, 0.0, 5.0)
        a, b = ends.reader("a"), ends.reader("b")
        failed = await asyncio.gather(a(), b(), return_exceptions=True)
        assert all(isinstance(one, StoreError) for one in failed)
        assert await asyncio.gather(a(), b(), a()) == [StoreEnds(2, 0, 0, 0), None, StoreEnds(2, 0, 0, 0)]
        kept = SharedEnds(fetch, 60.0, 5.0)
        fails.append(False)
        assert [await kept.reader("a")() for _ in range(3)] == [StoreEnds(3, 0, 0, 0)] * 3

    asyncio.run(run())
    assert len(calls) == 3
