"""Refusals of tenants beyond their limits are held back, as many as a process can hold."""

import asyncio

import pytest

from vrec.config.serve import TenantLimits
from vrec.serving.http.errors import HttpProblem
from vrec.serving.tenants.limits import HeldRefusals, TenantLimitsMiddleware

SCOPE = {"type": "http", "path": "/v1/recommend"}


async def is_held(refusal):
    """Whether a request waits, and the task that it is."""
    task = asyncio.create_task(refusal)
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done(), task


@pytest.mark.parametrize("limits", [{"burst": 1, "requests_per_second": 1e-3}, {"concurrent": 1}])
def test_a_refusal_is_held_unless_there_are_too_many(limits):
    async def scenario():
        running = asyncio.Event()

        async def app(scope, receive, send):
            running.set()
            await asyncio.sleep(3_600)

        held = HeldRefusals(seconds=3_600, most=2)
        limited = TenantLimitsMiddleware(app, TenantLimits(**limits), held)
        tasks = [asyncio.create_task(limited(SCOPE, None, None))]
        await running.wait()
        for wanted in (True, True, False):
            found, task = await is_held(limited(SCOPE, None, None))
            assert found == wanted
            tasks.append(task)
        with pytest.raises(HttpProblem) as error:
            await tasks[-1]
        assert error.value.status_code == 429
        tasks[1].cancel()  # who goes away makes room
        await asyncio.sleep(0)
        found, task = await is_held(limited(SCOPE, None, None))
        assert found
        for one in (*tasks, task):
            one.cancel()
        await asyncio.gather(*tasks, task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_held_refusal_comes_and_paths_without_limit_are_not_held():
    async def scenario():
        async def app(scope, receive, send):
            await send(scope["path"])

        limited = TenantLimitsMiddleware(
            app, TenantLimits(burst=1, requests_per_second=1e-3), HeldRefusals(seconds=0.01)
        )
        sent = []

        async def send(path):
            sent.append(path)

        await limited(SCOPE, None, send)
        with pytest.raises(HttpProblem, match="429"):
            await limited(SCOPE, None, send)
        await limited(SCOPE | {"path": "/healthz"}, None, send)
        assert sent == ["/v1/recommend", "/healthz"]

    asyncio.run(scenario())
