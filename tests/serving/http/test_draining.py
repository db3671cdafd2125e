"""Requests while the service stops: those that run end, new ones are refused."""

import asyncio
import json

import pytest
from starlette.middleware import Middleware

from tests.serving.http.client import acall, call
from vrec.serving.http.draining import DrainMiddleware, RequestGate


def request(middleware, path="/v1/recommend"):
    """A task of a request, and the messages that it sends."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "state": {"request_id": "r1"}}
    return asyncio.ensure_future(middleware(scope, receive, send)), sent


class SlowApp:
    """Application whose requests end, or fail, when told to."""

    def __init__(self):
        self.ends, self.begun, self.error = asyncio.Event(), 0, None

    async def __call__(self, scope, receive, send):
        self.begun += 1
        await self.ends.wait()
        if self.error:
            raise self.error
        await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize("error", [None, RuntimeError("broke")])
def test_running_requests_end_and_new_ones_are_refused(error):
    async def run():
        app, gate = SlowApp(), RequestGate()
        app.error = error
        middleware = DrainMiddleware(app, gate)
        running = [request(middleware) for _ in range(3)]
        await asyncio.sleep(0)
        draining = asyncio.ensure_future(gate.drain(60))
        await asyncio.sleep(0)
        task, sent = request(middleware)
        await task
        assert sent[0]["status"] == 503
        headers = dict(sent[0]["headers"])
        assert (headers[b"connection"], headers[b"retry-after"]) == (b"close", b"1")
        assert json.loads(sent[1]["body"])["request_id"] == "r1"
        assert (app.begun, gate.running, draining.done()) == (3, 3, False)
        app.ends.set()
        results = await asyncio.gather(*(task for task, _ in running), return_exceptions=True)
        assert results == [error] * 3
        assert await draining
        assert [sent[0]["status"] for _, sent in running if sent] == ([] if error else [200] * 3)

    asyncio.run(run())


def test_the_process_says_that_it_lives_to_the_end_and_a_request_that_hangs_is_not_awaited_for_ever():
    async def run():
        app, gate = SlowApp(), RequestGate()
        middleware = DrainMiddleware(app, gate)
        hanging, _ = request(middleware)
        await asyncio.sleep(0)
        assert not await gate.drain(0.01)
        app.ends.set()
        alive, sent = request(middleware, "/healthz")
        await alive
        assert sent[0]["status"] == 200
        await hanging

    asyncio.run(run())


def test_without_requests_nothing_is_awaited():
    async def run():
        assert await RequestGate().drain(0)

    asyncio.run(run())


def test_an_answer_that_comes_as_events_is_sent_to_its_end(made):
    app, shop = made()
    gate = RequestGate()
    app.user_middleware.append(Middleware(DrainMiddleware, gate=gate))
    begun, goes_on, converse = asyncio.Event(), asyncio.Event(), shop.converse

    async def slowly(query, after):
        begun.set()
        await goes_on.wait()
        return await converse(query, after)

    async def say(message_id):
        body = json.dumps({"user_id": "ann", "message": "mugs", "message_id": message_id}).encode()
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        return await acall(app, "POST", "/v1/assistant", body, headers)

    async def run():
        shop.converse = slowly
        answering = asyncio.create_task(say("m"))
        await begun.wait()
        draining = asyncio.create_task(gate.drain(60))
        await asyncio.sleep(0.05)
        refused = await say("n")
        assert not draining.done()
        goes_on.set()
        return await answering, await draining, refused

    answer, is_idle, refused = asyncio.run(run())
    assert (answer.status, is_idle, refused.status) == (200, True, 503)
    names = [line.removeprefix("event: ") for line in answer.body.decode().splitlines() if "event: " in line]
    assert names[-2:] == ["cards", "done"]
    assert refused.json["type"] == "urn:vrec:problem:stopping"
    assert len(call(app, "GET", "/healthz").body) > 0
