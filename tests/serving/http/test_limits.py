"""Rate, size and header rules of the middleware, by exact small cases."""

import asyncio

import pytest

from tests.serving.http.client import call, call_json, form
from vrec.config.serve import SecurityConfig
from vrec.core.errors import ServeError
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.keys import create_key, request_secret
from vrec.serving.http.middleware import FORM_OVERHEAD_BYTES, SecurityMiddleware
from vrec.serving.http.multipart import FIELD_BYTES
from vrec.serving.http.rates import RateLimiter


def admitted(limiter, caller="a", tries=30):
    """Requests that a caller may send at once, and the detail of the refusal."""
    for count in range(tries):
        try:
            limiter.count(caller)
        except HttpProblem as problem:
            return count, problem.detail
    return tries, ""


@pytest.mark.parametrize(
    ("rate", "burst", "requests", "seconds"),
    [(2, 4, 4, 2), (3, 10, 12, 4), (0.5, 1, 1, 2), (10, 1, 10, 1), (0.3, 1, 1, 4), (2.5, 5, 5, 2)],
)
def test_the_window_is_as_long_as_a_burst_takes_at_the_average(rate, burst, requests, seconds):
    limiter = RateLimiter(SecurityConfig(requests_per_second=rate, burst=burst))
    count, detail = admitted(limiter)
    assert count == requests
    assert f"more than {requests} requests in {seconds} s" in detail
    assert admitted(limiter, "b")[0] == requests


def test_health_checks_have_no_limit_and_do_not_count(made):
    app, _ = made(security={"requests_per_second": 1, "burst": 1})
    assert [call(app, "GET", path).status for path in ("/healthz", "/readyz") * 3] == [200] * 6
    assert [call(app, "GET", "/v1/arms").status for _ in range(2)] == [200, 429]


def test_a_key_and_an_address_are_counted_apart(made):
    secret, entry = create_key("a:read")
    app, _ = made({"VREC_API_KEYS": entry}, security={"requests_per_second": 1, "burst": 1})
    assert call(app, "GET", "/v1/arms").status == 401
    assert call(app, "GET", "/v1/arms").status == 429
    assert call(app, "GET", "/v1/arms", headers={"x-api-key": secret}).status == 200
    assert call(app, "GET", "/v1/arms", headers={"x-api-key": secret}).status == 429


@pytest.mark.parametrize(("size", "status"), [(1_000, 422), (1_001, 413)])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_body_may_be_as_long_as_the_limit(made, size, status, pieces):
    app, _ = made(security={"most_body_bytes": 1_000})
    body = b" " * size
    reply = call(app, "POST", "/v1/events", [body] if pieces else body, {"content-type": "application/json"})
    assert reply.status == status
    assert (reply.headers.get("connection") == "close") == (status == 413)


def test_only_an_upload_may_be_as_large_as_an_upload(made):
    app, _ = made(security={"most_body_bytes": 1_000, "most_upload_bytes": 10_000})
    body, headers = form([("creator_id", "a")], b"\0" * 5_000)
    assert call(app, "POST", "/v1/uploads", body, headers).json["type"].endswith("unusable-video")
    for method, path in (("POST", "/v1/events"), ("PATCH", "/v1/videos/a")):
        reply = call(app, method, path, body, headers)
        assert (reply.status, reply.left) == (415, 1)  # nothing of the body was read
    json_kind = {"content-type": "application/json"}
    assert call(app, "POST", "/v1/videos", body, json_kind).status == 413
    assert call(app, "PATCH", "/v1/videos/a", body, json_kind).status == 413
    large, headers = form([("creator_id", "a")], b"\0" * (10_001 + FORM_OVERHEAD_BYTES))
    reply = call(app, "POST", "/v1/uploads", large, headers)
    assert (reply.status, "10,000" in reply.json["detail"]) == (413, False)
    assert f"{10_000 + FORM_OVERHEAD_BYTES:,}" in reply.json["detail"]
    assert FORM_OVERHEAD_BYTES >= 2 * FIELD_BYTES


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({}, None),
        ({"x-api-key": "k"}, "k"),
        ({"authorization": "Bearer b", "x-api-key": "k"}, "b"),
        ({"authorization": "BEARER  b "}, "b"),
        ({"authorization": "Bearer ", "x-api-key": "k"}, "k"),
        ({"authorization": "Basic b", "x-api-key": "k"}, "k"),
        ({"authorization": "Basic b"}, None),
    ],
)
def test_a_secret_is_a_bearer_token_before_the_other_header(headers, secret):
    assert request_secret(headers) == secret


@pytest.mark.parametrize("spec", ["", "a", "a:", ":read", "a:all", "a:read+", "a:read:events", "a b:read"])
def test_a_key_is_not_created_from_a_wrong_name_or_scope(spec):
    with pytest.raises(ServeError, match="--new-key: entry 1 is not name:scopes:sha256"):
        create_key(spec)


def test_two_keys_of_one_name_and_scope_have_different_secrets():
    (one, first), (other, second) = create_key("a:read"), create_key("a:read")
    assert one != other
    assert first != second
    assert one.startswith("vrec_")
    assert len(one) >= 45


@pytest.mark.parametrize(
    ("origin", "method", "status"),
    [
        ("http://SHOP.test", "DELETE", 200),
        ("https://shop.test", "DELETE", 200),
        ("http://shop.test:81", "DELETE", 403),
        ("", "DELETE", 403),
        ("https://evil.test", "GET", 404),
        ("https://evil.test", "PATCH", 403),
    ],
)
def test_the_origin_s_host_must_be_the_service_s(made, origin, method, status):
    app, _ = made()
    assert call(app, method, "/v1/profiles/u", headers={"origin": origin}).status == status


def test_an_id_of_64_characters_is_kept_and_other_scopes_pass_through(made):
    app, _ = made()
    sent = "x" * 64
    assert call(app, "GET", "/healthz", headers={"x-request-id": sent}).headers["x-request-id"] == sent
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope)

    asyncio.run(SecurityMiddleware(inner, None, SecurityConfig())({"type": "lifespan"}, None, None))
    assert seen == [{"type": "lifespan"}]


def test_a_failure_after_the_response_started_is_raised_and_sends_no_second_one():
    sent = []

    async def inner(scope, receive, send):
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"SAMEORIGIN")]}
        )
        raise RuntimeError("half-way")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "client": None}
    with pytest.raises(RuntimeError, match="half-way"):
        asyncio.run(SecurityMiddleware(inner, None, SecurityConfig())(scope, None, send))
    assert [message["type"] for message in sent] == ["http.response.start"]
    names = [name.lower() for name, _ in sent[0]["headers"]]
    assert names.count(b"x-frame-options") == 1
    assert {b"x-request-id", b"x-content-type-options"} <= set(names)


def test_a_body_of_another_type_is_not_read(made):
    app, shop = made()
    event = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click"}
    for kind, status in (("application/json; charset=utf-8", 202), ("APPLICATION/JSON", 202),
                         ("application/jsonp", 415), ("text/json", 415)):  # fmt: skip
        assert call_json(app, "POST", "/v1/events", event, {"content-type": kind}).status == status, kind
    assert shop.store.export(0, 10)[0].num_rows == 1
