"""Keys in pages: they act for the shopper that the shop's server signed, from the origins that it names."""

import hashlib
import hmac
import io
import json
import shutil
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.serving.http.client import call, call_json, form
from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.core.secrets import WatchedSecret
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.keys import create_key
from vrec.serving.http.shopper_tokens import ShopperTokens, sign_shopper

SECRET, OTHER = "s" * 40, "t" * 40
ORIGIN = "https://shop.example"


@pytest.fixture
def pages(made):
    """Return an app with a browser key and one for servers, and the headers of each."""
    secret, entry = create_key("page:browser")
    full, whole = create_key("server:read+events+manage")
    environment = {"VREC_API_KEYS": f"{entry},{whole}", "VREC_SHOPPER_SECRETS": f"{OTHER},{SECRET}"}
    budgets = {"page_cpu_ms_per_second": 1e6}  # the first calls of a process are slow
    app, _ = made(environment, security={"cors_origins": [ORIGIN]}, budgets=budgets)
    return app, {"x-api-key": secret}, {"x-api-key": full}


def token(user_id, secret=SECRET, seconds=3_600):
    return {"x-shopper-token": sign_shopper(user_id, secret, int(time.time()) + seconds)}


def event(user="ann", **more):
    shopper = {"session_id": user[8:]} if user.startswith("session:") else {"user_id": user}
    return {"event_id": f"e-{user}", "video_id": "mugs/1", "kind": "click"} | shopper | more


def test_a_page_asks_and_tells_for_its_shopper_alone(pages):
    app, page, server = pages
    for user, shopper in (("ann", {"user_id": "ann"}), ("session:5f", {"session_id": "5f"})):
        signed = page | token(user)
        assert call_json(app, "POST", "/v1/recommend", shopper | {"k": 3}, signed).status == 200
        slots = shopper | {"slots": [{"name": "a"}]}
        assert call_json(app, "POST", "/v1/recommend:slots", slots, signed).status == 200
        assert call_json(app, "POST", "/v1/recommend:slots", slots, page | token("eve")).status == 403
        assert call_json(app, "POST", "/v1/events", event(user), signed).status == 202
        assert call_json(app, "POST", "/v1/events", {"events": [event(user)]}, signed).json["repeated"] == 1
        # A secret that is on its way out still counts.
        assert call_json(app, "POST", "/v1/recommend", shopper, page | token(user, OTHER)).status == 200
    # Whoever has another key needs no token, and may act for anybody.
    assert call_json(app, "POST", "/v1/recommend", {"user_id": "ann"}, server).status == 200


def test_a_page_sends_no_events_of_an_account_not_even_of_its_own_shopper(pages):
    app, page, server = pages
    given = {"other_user_id": "acc-1", "consent": True}
    assert call_json(app, "PUT", "/v1/links/social/ann", given, server).status == 201
    linked = event(domain="social", linked=True)
    assert call_json(app, "POST", "/v1/events", linked, page | token("ann")).status == 403
    unknown = event("bob", domain="social", linked=True)
    assert call_json(app, "POST", "/v1/events", unknown, page | token("ann")).status == 403
    assert call(app, "GET", "/v1/linked-domains?user_id=ann", headers=page | token("ann")).status == 403
    assert call_json(app, "POST", "/v1/events", linked, server).json["new"] == 1


@pytest.mark.parametrize(
    ("headers", "status", "why"),
    [
        ({}, 401, "needs a signed shopper"),
        ({"x-shopper-token": "12.ab"}, 401, "is not SECONDS.HMAC"),
        (token("ann", seconds=-1), 401, "has expired"),
        (token("bob"), 403, "not signed for the shopper"),
        (token("session:ann"), 403, "not signed for the shopper"),
        (token("ann", "u" * 40), 403, "not signed for the shopper"),
    ],
)
def test_what_is_not_signed_is_refused_with_the_reason(pages, headers, status, why):
    app, page, _ = pages
    for path, body in (("/v1/recommend", {"user_id": "ann"}), ("/v1/events", event())):
        reply = call_json(app, "POST", path, body, page | headers)
        assert reply.status == status
        assert why in reply.json["detail"]
        assert "x-shopper-token" in reply.json["detail"].lower()


def test_events_of_two_shoppers_need_two_requests(pages):
    app, page, server = pages
    both = {"events": [event("ann"), event("bob")]}
    assert call_json(app, "POST", "/v1/events", both, page | token("ann")).status == 403
    # None of them is stored.
    assert call_json(app, "POST", "/v1/events", both, server).json["new"] == 2


def test_a_page_sends_no_events_of_the_surface_of_the_shop_s_server(made):
    secret, entry = create_key("page:browser")
    full, whole = create_key("server:events")
    environment = {"VREC_API_KEYS": f"{entry},{whole}", "VREC_SHOPPER_SECRETS": SECRET}
    app, _ = made(environment, guard={"orders_surface": "orders"})
    page, server = {"x-api-key": secret} | token("ann"), {"x-api-key": full}
    order = event(kind="purchase", value=9.5, surface="orders")
    both = {"events": [event(surface="feed") | {"event_id": "e2"}, order]}
    for body in (order, both):
        reply = call_json(app, "POST", "/v1/events", body, page)
        assert reply.status == 403
        assert "the surface orders: that is for the shop's server" in reply.json["detail"]
    # A purchase of another surface is stored, whoever sends it.
    assert call_json(app, "POST", "/v1/events", order | {"surface": "feed"}, page).json["new"] == 1
    assert call_json(app, "POST", "/v1/events", order | {"event_id": "e3"}, server).json["new"] == 1


def test_a_browser_key_talks_for_its_shopper_alone(pages):
    app, page, _ = pages
    ann, bob = page | token("ann"), page | token("bob")
    body = {"user_id": "ann", "message": "mugs"}
    assert call_json(app, "POST", "/v1/assistant", body, ann).status == 200
    assert call_json(app, "POST", "/v1/assistant", body, page).status == 401
    assert call_json(app, "POST", "/v1/assistant", body, bob).status == 403
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    content, kind = form([("user_id", "ann")], file.getvalue())
    for headers, status in ((ann, 200), (page, 401), (bob, 403)):
        assert call(app, "POST", "/v1/assistant:by-file", content, headers | kind).status == status
    for method, status in (("GET", 200), ("DELETE", 204)):
        assert call(app, method, "/v1/assistant/ann", headers=bob).status == 403
        assert call(app, method, "/v1/assistant/ann", headers=ann).status == status


def test_a_browser_key_opens_nothing_else(pages):
    app, page, _ = pages
    document = call(app, "GET", "/openapi.json").json
    tried = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["operationId"] in (
                "recommend",
                "recommend_slots",
                "add_events",
                "converse",
                "converse_by_file",
                "get_conversation",
                "forget_conversation",
            ) or not operation.get("security"):
                continue
            filled = path
            for parameter in ("video_id", "user_id", "rule_id"):
                filled = filled.replace("{" + parameter + "}", "x")
            reply = call_json(app, method.upper(), filled, {}, page | token("ann"))
            assert reply.status == 403, (method, path, reply.body)
            tried += 1
    assert tried > 15


@given(user=st.text(), other=st.text(), expires=st.integers(1, 10**11), later=st.integers(1, 10**6))
@settings(max_examples=80)
def test_a_token_is_valid_for_its_shopper_and_time_alone(user, other, expires, later):
    tokens = ShopperTokens(WatchedSecret("S", {"S": SECRET}))
    signed = sign_shopper(user, SECRET, expires)
    tokens.check(signed, [user], expires - 1)
    if other != user:
        with pytest.raises(HttpProblem) as refused:
            tokens.check(signed, [user, other], expires - 1)
        assert refused.value.status_code == 403
    changed = signed[:-1] + ("0" if signed[-1] != "0" else "1")
    for wrong in (signed.replace(f"{expires}.", f"{expires + later}."), changed):
        if wrong != signed:
            with pytest.raises(HttpProblem):
                tokens.check(wrong, [user], expires - 1)
    with pytest.raises(HttpProblem) as late:
        tokens.check(signed, [user], expires)
    assert late.value.status_code == 401


@pytest.mark.parametrize("user", ["ann", "session:5f", "café/ü 1.2"])
def test_the_lines_of_the_documentation_sign_what_is_accepted(user):
    expires = 2_000_000_000
    signature = hmac.new(SECRET.encode(), f"{expires}.{user}".encode(), hashlib.sha256).hexdigest()
    assert f"{expires}.{signature}" == sign_shopper(user, SECRET, expires)
    if node := shutil.which("node"):
        script = (
            "const [secret, user, expires] = process.argv.slice(1);"
            'const signature = require("node:crypto").createHmac("sha256", secret)'
            '.update(`${expires}.${user}`).digest("hex");console.log(`${expires}.${signature}`)'
        )
        done = subprocess.run(
            [node, "-e", script, SECRET, user, str(expires)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == sign_shopper(user, SECRET, expires)


def test_browser_keys_need_a_secret_that_is_long_enough(made):
    _, entry = create_key("page:browser")
    for environment in ({}, {"VREC_SHOPPER_SECRETS": "short"}):
        with pytest.raises(ServeError, match="VREC_SHOPPER_SECRETS"):
            made({"VREC_API_KEYS": entry, **environment})
    with pytest.raises(ServeError, match="browser alone"):
        create_key("page:browser+events")


def test_pages_of_named_origins_are_let_in_to_two_operations(pages):
    app, page, server = pages
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    names = "content-type,x-api-key,x-shopper-token"
    for path in ("/v1/recommend", "/v1/events"):
        reply = call(app, "OPTIONS", path, headers=asked | {"access-control-request-headers": names})
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "access-control-allow-credentials" not in reply.headers
        assert call(app, "OPTIONS", path, headers=asked | {"origin": "https://evil.example"}).status == 400
    signed = page | token("ann") | {"origin": ORIGIN}
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "ann"}, signed)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, ORIGIN)
    # A page can read why it was refused.
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "ann"}, page | {"origin": ORIGIN})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (401, ORIGIN)
    for origin in ("https://evil.example", ORIGIN + ".evil.example", "http://shop.example", "null"):
        reply = call_json(app, "POST", "/v1/recommend", {"user_id": "ann"}, signed | {"origin": origin})
        assert (reply.status, reply.json["type"]) == (403, "urn:vrec:problem:other-origin")
        assert "access-control-allow-origin" not in reply.headers
    reply = call_json(app, "POST", "/v1/search", {"text": "mug"}, server | {"origin": ORIGIN})
    assert (reply.status, reply.json["type"]) == (403, "urn:vrec:problem:other-origin")
    assert "access-control-allow-origin" not in call(app, "GET", "/v1/videos", headers=server | asked).headers


def test_without_origins_no_page_is_let_in(made):
    app, _ = made()
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    reply = call(app, "OPTIONS", "/v1/recommend", headers=asked)
    assert (reply.status, "access-control-allow-origin" in reply.headers) == (405, False)
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "ann"}, {"origin": ORIGIN})
    assert (reply.status, reply.json["type"]) == (403, "urn:vrec:problem:other-origin")


@pytest.mark.parametrize(
    "origin", ["*", "shop.example", "https://shop.example/", "https://Shop.example", "null"]
)
def test_an_origin_that_no_browser_sends_is_refused_in_the_settings(origin):
    with pytest.raises(ValueError, match="cors_origins"):
        ServeConfig.model_validate({"security": {"cors_origins": [origin]}})


def test_shoppers_of_one_page_have_limits_of_their_own(made):
    secret, entry = create_key("page:browser")
    app, _ = made(
        {"VREC_API_KEYS": entry, "VREC_SHOPPER_SECRETS": SECRET},
        security={"requests_per_second": 1, "burst": 2},
    )

    def ask(client):
        body, headers = json.dumps({"user_id": "ann"}).encode(), {"content-type": "application/json"}
        sent = headers | {"x-api-key": secret} | token("ann")
        return call(app, "POST", "/v1/recommend", body, sent, client=client).status

    assert [ask("203.0.113.1") for _ in range(3)] == [200, 200, 429]
    assert ask("203.0.113.2") == 200
