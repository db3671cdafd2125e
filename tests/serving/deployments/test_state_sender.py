"""States that requests put at the same time: few calls, each with its own outcome."""

import asyncio
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.store_places import SqlitePlace
from tests.serving.direct import Direct
from vrec.core.errors import StoreError
from vrec.serving.deployments.state_sender import StateSender


class Node:
    def __init__(self, store):
        self.store, self.calls, self.error = store, [], None

    async def put_states(self, table, puts):
        self.calls.append(len(puts))
        await asyncio.sleep(0.001)
        if self.error is not None:
            raise self.error
        return self.store.put_states(table, puts)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with closing(SqlitePlace(tmp_path_factory.mktemp("sender")).open()) as opened:
        yield opened


NAMES = iter(range(1_000_000))
PUTS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=1, max_size=12)


@given(rounds=st.lists(PUTS, min_size=1, max_size=3))
def test_of_those_that_expect_one_version_the_first_wins_however_they_are_sent(store, rounds):
    table, model = f"t{next(NAMES)}", {}
    sender = StateSender(Direct(Node(store)), table, 5, 0.002)

    async def run():
        for turn, puts in enumerate(rounds):
            before = dict(model)
            wanted, calls = [], []
            for place, (key, expects, patient) in enumerate(puts):
                version = before.get(key, 0) if expects else None
                calls.append(sender.put(key, b"%d-%d" % (turn, place), version, patient=patient))
                wins = version in (None, model.get(key, 0))
                if wins:
                    model[key] = max(model.values(), default=0) + 1
                wanted.append(model[key] if wins else None)
            assert await asyncio.gather(*calls) == wanted

    asyncio.run(run())
    assert {key: version for key, (version, _) in store.states(table, ["a", "b", "c"]).items()} == model


def test_patient_states_share_a_call_and_one_in_a_hurry_takes_them_along(store):
    node = Node(store)

    async def run():
        sender = StateSender(Direct(node), "shared", 5, 3600)
        assert await sender.put("alone", b"1", 0, patient=True) == 1  # nobody to wait for
        waiting = [asyncio.ensure_future(sender.put(f"k{n}", b"1", 0, patient=True)) for n in range(20)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        assert await sender.put("now", b"1", 0, patient=False) == 22
        assert await asyncio.gather(*waiting) == list(range(2, 22))

    asyncio.run(run())
    assert node.calls == [1, 21]


def test_each_sender_of_a_failed_call_gets_its_error_and_the_next_call_works(store):
    node = Node(store)

    async def run():
        sender = StateSender(Direct(node), "failed", 5, 0.01)
        node.error = StoreError("full")
        tasks = [sender.put(f"k{n}", b"1", 0, patient=False) for n in range(3)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, StoreError) for one in found)
        node.error = None
        assert await sender.put("k0", b"1", 0, patient=False) == 1

    asyncio.run(run())
