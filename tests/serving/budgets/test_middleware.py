"""Requests that give way: lists first, then all but events; bodies that come too slowly."""

import asyncio
from contextlib import ExitStack

from vrec.config.budgets import BudgetsConfig
from vrec.serving.budgets.bodies import BodyLimits
from vrec.serving.budgets.cpu import charge_cpu
from vrec.serving.budgets.load import RunningRequests, cheap_reason
from vrec.serving.budgets.middleware import BudgetMiddleware
from vrec.serving.http.errors import HttpProblem
from vrec.serving.observability.metrics import InMemoryMetricsRecorder

PAGES = {"10.0.0.1"}
LIST, EVENTS, OTHER = "/v1/recommend", "/v1/events", "/v1/search"


class App:
    """Application whose requests cost as much as their bodies say, and wait while `open` is not set."""

    def __init__(self, **settings):
        self.seen, self.told, self.open = [], InMemoryMetricsRecorder(), asyncio.Event()
        self.open.set()
        config = BudgetsConfig(**settings)
        self.middleware = BudgetMiddleware(self.answer, config, lambda: self.told)

    async def answer(self, scope, receive, send):
        cheap, body = cheap_reason(), b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.seen.append((scope["path"], cheap))
        await self.open.wait()
        charge_cpu(0.0 if cheap else float(body or 0))

    async def call(self, path, cost=0.0, caller="key a", receive=None):
        """Return "popular" or "ranked" for what was answered, or the problem."""
        scope = {
            "type": "http",
            "path": path,
            "method": "POST",
            "state": {"caller": caller, "is_page": caller in PAGES},
        }

        async def whole():
            return {"type": "http.request", "body": str(cost).encode(), "more_body": False}

        try:
            await self.middleware(scope, receive or whole, None)
        except HttpProblem as problem:
            return problem
        return self.seen[-1][1]


def test_a_caller_beyond_its_budget_gets_popular_lists_then_refusals_and_sends_events_all_the_while():
    async def run():
        app = App(cpu_ms_per_second=1.0, cpu_burst_s=100.0)
        assert await app.call(LIST, cost=90) is None
        assert await app.call(LIST, cost=30) is None
        assert await app.call(LIST) == "budget"
        assert await app.call(OTHER, cost=150) is None
        refused = await app.call(LIST)
        assert (refused.status_code, refused.name) == (429, "cpu-budget")
        assert 0 < int(refused.headers["Retry-After"]) <= 120
        assert (await app.call(OTHER)).name == "cpu-budget"
        assert await app.call(EVENTS, cost=500) is None
        assert await app.call("/healthz") is None
        assert await app.call(LIST, caller="key b") is None
        assert app.told.sums["vrec_shed", "popular", "budget"] == 1
        assert app.told.sums["vrec_shed", "refused", "budget"] == 2
        assert app.told.sums["vrec_cpu_seconds", "other"] >= 0.77

    asyncio.run(run())


def test_an_address_of_pages_has_a_budget_of_its_own():
    async def run():
        app = App(cpu_ms_per_second=1e6, page_cpu_ms_per_second=1.0, cpu_burst_s=100.0)
        for caller in ("10.0.0.1", "key a"):
            await app.call(LIST, cost=120, caller=caller)
        assert await app.call(LIST, caller="10.0.0.1") == "budget"
        assert await app.call(LIST) is None

    asyncio.run(run())


def test_a_tenant_s_requests_share_its_budget():
    async def run():
        app = App()
        app.middleware = BudgetMiddleware(app.answer, BudgetsConfig(cpu_burst_s=2.0), lambda: app.told, 50.0)
        await app.call(LIST, cost=120, caller="key a")
        assert await app.call(LIST, caller="key b") == "budget"

    asyncio.run(run())


def test_under_load_lists_give_way_first_those_of_the_heaviest_callers_and_events_never():
    async def run():
        app = App(lists_at_once=4, requests_at_once=8)
        app.open.clear()
        heavy = [asyncio.create_task(app.call(LIST, caller="heavy")) for _ in range(6)]
        await asyncio.sleep(0.01)
        light = asyncio.create_task(app.call(LIST, caller="light"))
        await asyncio.sleep(0.01)
        assert [cheap for _, cheap in app.seen] == [None] * 4 + ["load"] * 2 + [None]
        other = asyncio.create_task(app.call(OTHER))
        await asyncio.sleep(0.01)
        refused = await app.call(OTHER)
        assert (refused.status_code, refused.name) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "2"
        events = [asyncio.create_task(app.call(EVENTS)) for _ in range(20)]
        await asyncio.sleep(0.01)
        assert len(app.seen) == 8 + 20
        app.open.set()
        await asyncio.gather(*heavy, light, other, *events)
        assert await app.call(LIST) is None
        assert app.middleware._running.running == 0
        assert not app.middleware._running.lists

    asyncio.run(run())


def test_beyond_twice_the_lists_all_give_way():
    running = RunningRequests(4, 100)
    assert not running.gives_way("z")
    with ExitStack() as lists:
        for caller in "ab":
            lists.enter_context(running.run(caller, is_list=True))
        assert not running.gives_way("a")
        for caller in "ca":
            lists.enter_context(running.run(caller, is_list=True))
        assert running.gives_way("a")
        assert not running.gives_way("z")
        for _ in range(4):
            lists.enter_context(running.run("a", is_list=True))
        assert running.gives_way("z")
    assert running.running == 0


class Connection:
    """Body in parts, before each of which some seconds pass that nobody waits for."""

    def __init__(self, *parts, seconds=0.0):
        self.now, self._left, self._seconds = 0.0, list(parts), seconds

    async def receive(self):
        self.now += self._seconds
        await asyncio.sleep(0)
        if not self._left:
            return {"type": "http.disconnect"}
        part = self._left.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._left)}

    async def send_to(self, app, path=OTHER, **settings):
        """Send it to an app whose clock is this connection's."""
        app.middleware._bodies = BodyLimits(BudgetsConfig(**settings), lambda: self.now)
        return await app.call(path, receive=self.receive)


def test_a_body_that_comes_too_slowly_is_refused_and_one_with_many_bytes_has_more_time():
    async def run():
        app, limits = App(), {"body_s": 10, "slowest_bytes_per_second": 1_000}
        refused = await Connection(b"1", b"", b"", b"", seconds=4).send_to(app, **limits)
        assert (refused.status_code, refused.name) == (408, "slow-body")
        assert refused.headers["Connection"] == "close"
        assert await Connection(b"1", b"", b"", seconds=3).send_to(app, **limits) is None
        # 9,000 bytes have 9 s more.
        assert await Connection(b"0" * 9_000, b"0", b"0", b"0", seconds=4).send_to(app, **limits) is None
        # Events too: nothing of them has come.
        refused = await Connection(b"1", b"", b"", b"", seconds=4).send_to(app, EVENTS, **limits)
        assert refused.name == "slow-body"
        assert not app.middleware._bodies._coming

    asyncio.run(run())


def test_the_wait_for_the_end_of_a_connection_has_no_limit():
    async def run():
        connection = Connection(b"", seconds=100)
        receive = BodyLimits(BudgetsConfig(body_s=150), lambda: connection.now).of(connection.receive, "a")
        return [await receive(), await receive()]

    assert asyncio.run(run())[1] == {"type": "http.disconnect"}


def test_bodies_on_their_way_are_limited_by_caller():
    async def run():
        app, go_on = App(bodies_at_once=2), asyncio.Event()

        async def slow():
            parts = [{"type": "http.request", "body": b"0", "more_body": more} for more in (False, True)]

            async def receive():
                if len(parts) == 1:
                    await go_on.wait()
                return parts.pop()

            return await app.call(OTHER, receive=receive)

        bodies = [asyncio.create_task(slow()) for _ in range(2)]
        await asyncio.sleep(0.01)
        refused = await app.call(OTHER, receive=Connection(b"0", b"0").receive)
        assert (refused.status_code, refused.name) == (429, "too-many-bodies")
        assert await app.call(OTHER) is None
        assert await app.call(OTHER, caller="key b", receive=Connection(b"0", b"0").receive) is None
        go_on.set()
        assert await asyncio.gather(*bodies) == [None, None]
        assert await app.call(OTHER, receive=Connection(b"0", b"0").receive) is None

    asyncio.run(run())
