"""Turns at ranking: one at a time, and nobody waits for two calls of one other tenant."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.serving.tenants.turns import SETTLED_AFTER, FairTurns, ranking_turns

CALLS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.booleans()), max_size=30)
"""Calls: their tenant, the rounds of the event loop before they come, and whether they are given up."""


async def rounds(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def play(calls):
    """Make the calls; the turns as (tenant, number) and, by call, the turns there had been when it came."""
    turns, taken, came, running = FairTurns(), [], {}, []

    async def call(number, tenant, after):
        await rounds(after)
        came[number] = len(taken)
        async with turns.turn(tenant):
            assert not running
            running.append(number)
            taken.append((tenant, number))
            running.remove(number)

    async with turns.turn("a"):  # so that there is more than one tenant from the beginning
        pass
    async with turns.turn("b"):
        pass
    tasks = [asyncio.create_task(call(n, tenant, after)) for n, (tenant, after, _) in enumerate(calls)]
    for task, (_, after, gives_up) in zip(tasks, calls, strict=True):
        if gives_up:
            await rounds(after % 7)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with turns.turn("a"):  # nothing is stuck
        pass
    return taken, came


@settings(max_examples=150, deadline=None)
@given(CALLS)
def test_all_have_a_turn_and_wait_for_one_call_of_each_other_tenant_at_most(calls):
    taken, came = asyncio.run(play(calls))
    served = {number for _, number in taken}
    assert len(served) == len(taken)
    assert served >= {n for n, (_, _, gives_up) in enumerate(calls) if not gives_up}
    for place, (tenant, number) in enumerate(taken):
        before = [name for name, _ in taken[came[number] : place]]
        if tenant not in before:  # the first of its tenant that waits
            assert all(before.count(name) == 1 for name in set(before)), (tenant, before)
    for tenant in "abc":  # calls of one tenant go in the order in which they came
        own = [number for name, number in taken if name == tenant]
        assert [came[n] for n in own] == sorted(came[n] for n in own)


def test_a_call_that_comes_while_many_wait_is_next():
    async def scenario():
        taken, turns = [], FairTurns()

        async def call(tenant):
            async with turns.turn(tenant):
                taken.append(tenant)
                if len(taken) == 2:
                    others.append(asyncio.create_task(call("quiet")))

        others = []
        async with turns.turn("noisy"), turns.turn("quiet"):
            pass
        await asyncio.gather(*(call("noisy") for _ in range(9)))
        await asyncio.gather(*others)
        assert taken == ["noisy"] * 2 + ["quiet"] + ["noisy"] * 7

    asyncio.run(scenario())


def test_calls_of_one_tenant_wait_for_nothing():
    async def scenario():
        turns, begun = ranking_turns(), []
        assert turns is ranking_turns()
        for number in range(3):
            coroutine = turns.turn("").__aenter__()
            try:  # the first step is the last
                coroutine.send(None)
            except StopIteration:
                begun.append(number)
        assert begun == [0, 1, 2]
        assert SETTLED_AFTER > 1

    asyncio.run(scenario())
