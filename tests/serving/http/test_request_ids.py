"""Request ids: only a harmless one is taken over."""

import asyncio
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.serving.http.client import call
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.http.request_ids import RequestIdGuard, proxy_middlewares

GOOD = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
# What a header can carry: any byte but those that end it.
BAD = st.one_of(
    st.text(st.characters(codec="latin-1", exclude_characters="\0\r\n"), min_size=1, max_size=300),
    st.from_regex(r"[A-Za-z0-9]{65,90}", fullmatch=True),
).filter(lambda text: not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text))
FREE = {"requests_per_second": 1e6, "burst": 1_000_000}


@pytest.fixture
def failing(made):
    """Return an app whose lists fail, which it logs, and its shop."""
    app, shop = made(security=FREE)
    shop.away = BackendUnavailable("gone")
    return app, shop


def is_new(request_id):
    return len(request_id) == 32 and set(request_id) <= set("0123456789abcdef")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(good=GOOD, bad=BAD)
@example(good="a", bad="")
@example(good="a" * 64, bad="a" * 65)
@example(good="a.b_c-d", bad="\x1b[31mred")
def test_an_id_is_taken_over_or_replaced(failing, caplog, good, bad):
    app, _ = failing
    for path in ("/healthz", "/nothing"):
        assert call(app, "GET", path, headers={"x-request-id": good}).headers["x-request-id"] == good
    caplog.clear()
    reply = call(app, "GET", "/v1/videos/mugs%2F1/similar", headers={"x-request-id": bad})
    assert reply.status == 503
    assert is_new(reply.headers["x-request-id"])
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    assert [record.request_id for record in caplog.records] == [reply.headers["x-request-id"]]


async def behind_a_guard(headers):
    """Return the ids that an application behind the guard sees, and those in its response."""
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.extend(value.decode() for name, value in scope["headers"] if name.lower() == b"x-request-id")
        own = [(b"X-Request-ID", b"of the application"), (b"x-request-id", b"another")]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b""})

    async def send(message):
        sent.extend(
            value.decode() for name, value in message.get("headers", []) if name.lower() == b"x-request-id"
        )

    (middleware,) = proxy_middlewares()
    assert middleware.cls is RequestIdGuard
    await middleware.cls(app)({"type": "http", "headers": headers}, None, send)
    return seen, sent


@pytest.mark.parametrize(
    "headers",
    [[], [(b"X-Request-ID", b"a"), (b"x-request-id", b"b")], [(b"x-request-id", b"\x1b[31mred")],
     [(b"X-REQUEST-ID", b"a" * 65)]],
)  # fmt: skip
def test_the_guard_of_serve_s_proxy_passes_one_new_id_and_answers_with_it(headers):
    seen, sent = asyncio.run(behind_a_guard([(b"host", b"shop"), *headers]))
    assert seen == sent
    assert len(seen) == 1
    assert is_new(seen[0])


def test_the_guard_of_serve_s_proxy_keeps_a_good_id():
    assert asyncio.run(behind_a_guard([(b"X-Request-Id", b"checkout-7")])) == (["checkout-7"], ["checkout-7"])
