"""Whose shop a request is for, and what a tenant cannot reach."""

import asyncio
import hashlib
import logging
import re

import pytest

from tests.serving.http.client import acall
from tests.serving.tenants.service import DEFAULT, key_entries, secret_of
from tests.serving.tenants.test_hosts import ASK, A, B, run
from vrec.core.errors import ServeError
from vrec.serving.http.keys import ApiKeyring, create_key
from vrec.serving.http.shopper_tokens import sign_shopper
from vrec.serving.observability.exposition import merge_expositions

PAGE = "https://a.example"
SECRETS = {DEFAULT: "0" * 32, A: "a" * 32}


@pytest.fixture
def keys(monkeypatch):
    page = hashlib.sha256(b"page").hexdigest()
    monkeypatch.setenv("VREC_API_KEYS", f"{key_entries(DEFAULT, A, B)},{A}/page:browser:{page}")
    monkeypatch.setenv("VREC_SHOPPER_SECRETS", f"{SECRETS[DEFAULT]},{A}:{SECRETS[A]}")


def both(bundle, **more):
    return {A: {"bundle": bundle.uri, **more}, B: {"bundle": bundle.uri}}


def test_a_console_and_its_videos_are_those_of_the_key_that_signed_in(tmp_path, shop_bundle, keys):
    video = shop_bundle.parts.videos.column("video_id")[0].as_py()

    async def scenario(service):
        await service.send(A, "PATCH", f"/v1/videos/{video}", {"title": "only in a"})
        page = await service.send(None, "GET", "/console/sign-in")
        cookie = page.headers["set-cookie"].partition(";")[0]
        token = re.search(rb'name="token" value="([^"]+)"', page.body)[1].decode()
        form = f"token={token}&key={secret_of(A).replace(' ', '+')}&next=/console".encode()
        kind = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}
        entered = await acall(service.app, "POST", "/console/sign-in", form, kind)
        assert entered.status == 303
        cookie = entered.headers["set-cookie"].partition(";")[0]
        shown = await service.send(
            None, "GET", f"/console/catalog/video?id={video}", headers={"cookie": cookie}
        )
        assert (shown.status, shown.headers["x-vrec-tenant"]) == (200, A)
        assert b"only in a" in shown.body
        assert f"/media/{video}?tenant={A}".encode() in shown.body
        # The key in the header opens no console, whoever it is of.
        assert (await service.send(B, "GET", f"/console/catalog/video?id={video}")).status == 303

    run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle))


def test_the_console_says_why_a_key_of_a_shop_that_is_gone_opens_nothing(tmp_path, shop_bundle, keys):
    async def scenario(service):
        page = await service.send(None, "GET", "/console/sign-in")
        cookie = page.headers["set-cookie"].partition(";")[0]
        token = re.search(rb'name="token" value="([^"]+)"', page.body)[1].decode()
        await service.declare(shop_bundle.uri, {B: {"bundle": shop_bundle.uri}})
        form = f"token={token}&key={secret_of(A).replace(' ', '+')}&next=/console".encode()
        kind = {"content-type": "application/x-www-form-urlencoded", "cookie": cookie}
        reply = await acall(service.app, "POST", "/console/sign-in", form, kind)
        for _ in range(2):
            assert reply.status == 303
            if "set-cookie" in reply.headers:
                cookie = reply.headers["set-cookie"].partition(";")[0]
            target = reply.headers["location"]
            reply = await service.send(None, "GET", target, headers={"cookie": cookie})
        assert reply.status == 200
        assert b"the shop of the key is not in this service" in reply.body

    run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle))


def test_a_file_is_that_of_the_tenant_in_its_address(tmp_path, shop_bundle, keys):
    roots = {name: tmp_path / (name or "main") for name in (DEFAULT, A)}

    async def scenario(service):
        for name, root in roots.items():
            (root / "v.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + (name or "main").encode() * 10)
            line = f'{{"video_id": "new", "creator_id": "c", "uri": "{root}/v.mp4"}}\n'.encode()
            kind = {"content-type": "application/x-ndjson", "x-api-key": secret_of(name)}
            added = await acall(service.app, "POST", "/v1/videos:bulk", line, kind)
            assert added.json["added"] == 1, added.body
        assert b"mainmain" in (await service.send(None, "GET", "/media/new")).body
        assert b"shop-ashop-a" in (await service.send(None, "GET", f"/media/new?tenant={A}")).body
        assert (await service.send(None, "GET", f"/media/new?tenant={B}")).status == 404
        assert b"mainmain" in (await service.send(None, "GET", "/media/new?tenant=unknown")).body

    for root in roots.values():
        root.mkdir()
    tenants = both(shop_bundle, media_roots=[str(roots[A])])
    run(tmp_path, shop_bundle.uri, scenario, tenants, security={"media_roots": [str(roots[DEFAULT])]})


def test_pages_of_one_tenant_are_no_pages_of_another(tmp_path, shop_bundle, keys):
    async def scenario(service):
        ask = {"origin": PAGE, "access-control-request-method": "POST"}
        allowed = await service.send(None, "OPTIONS", "/v1/recommend", headers=ask)
        assert allowed.headers["access-control-allow-origin"] == PAGE
        for tenant, expected in ((A, 200), (B, 403), (DEFAULT, 403)):
            reply = await service.send(tenant, "POST", "/v1/recommend", ASK, {"origin": PAGE})
            assert reply.status == expected
        expires = 4_000_000_000
        for name, status in ((A, 200), (DEFAULT, 403)):
            token = sign_shopper("ann", SECRETS[name], expires)
            page = {"x-api-key": "page", "x-shopper-token": token}
            reply = await service.send(None, "POST", "/v1/recommend", ASK, page)
            assert reply.status == status, reply.body

    run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle, cors_origins=[PAGE]))


def test_a_noisy_tenant_is_refused_alone(tmp_path, shop_bundle, keys):
    async def scenario(service):
        replies = await asyncio.gather(
            *(service.send(A, "POST", "/v1/recommend", ASK) for _ in range(6)),
            *(service.send(B, "POST", "/v1/recommend", ASK) for _ in range(6)),
        )
        statuses = [reply.status for reply in replies]
        assert (statuses[:6].count(200), statuses[:6].count(429), statuses[6:].count(200)) == (2, 4, 6)
        refused = next(reply for reply in replies if reply.status == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-content-type-options"] == "nosniff"
        # Those of before have ended; now the rate counts.
        seen = [(await service.send(A, "GET", "/v1/profiles/ann")).status for _ in range(10)]
        assert seen == [404] * 8 + [429] * 2
        assert (await service.send(A, "GET", "/healthz")).status == 200

    limits = {"concurrent": 2, "requests_per_second": 14 / 60, "burst": 14}
    run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle, limits=limits))


def test_a_line_of_the_log_names_the_tenant_that_it_is_about(tmp_path, shop_bundle, keys):
    records = []
    handler = logging.Handler()
    handler.emit = records.append

    async def scenario(service):
        async def broken(*_):
            raise RuntimeError("ranking broke")

        async with service.ranking.shop_of(A) as shop:
            shop.recommend = broken
        service.ranking.default.recommend = broken
        for tenant in (A, B, DEFAULT):
            reply = await service.send(tenant, "POST", "/v1/recommend", ASK)
            assert reply.json["degraded"] == (tenant != B)

    logging.getLogger("vrec.http").addHandler(handler)
    try:
        run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle))
    finally:
        logging.getLogger("vrec.http").removeHandler(handler)
    found = [getattr(one, "tenant", DEFAULT) for one in records if "ranking broke" in one.getMessage()]
    assert found == [A, DEFAULT]


def test_a_tenant_sees_its_own_metrics_alone():
    text = (
        "# HELP ray_vrec_answers_total Lists\n# TYPE ray_vrec_answers_total counter\n"
        'ray_vrec_answers_total{arm="x",tenant="",node="Api"} 1\n'
        'ray_vrec_answers_total{arm="x",tenant="shop-a",node="Api"} 2\n'
        'ray_vrec_answers_total{surface=",tenant=\\"shop-a\\"",tenant="shop-b"} 3\n'
        'ray_serve_registered_multiplexed_model_id{model_id="shop-a"} 1\n'
        "ray_serve_num_multiplexed_models 1\n"
    )
    values = {
        name: [line.rpartition(" ")[2] for line in merge_expositions([text], tenant=name) if line[0] != "#"]
        for name in (DEFAULT, A, B, "none")
    }
    assert values == {DEFAULT: ["1", "1"], A: ["2"], B: ["3"], "none": []}


def test_a_key_belongs_to_one_tenant(monkeypatch):
    secret, entry = create_key(f"{A}/web:read")
    assert entry.startswith(f"{A}/web:read:")
    rings = {
        name: ApiKeyring.from_environment({"K": f"{entry},{key_entries(DEFAULT)}"}, "K", tenant=name)
        for name in (DEFAULT, A, B, None)
    }
    assert {name: ring.find(secret) is not None for name, ring in rings.items()} == {
        DEFAULT: False, A: True, B: False, None: True
    }  # fmt: skip
    twice = f"{entry},{entry.replace(A, B)}"
    with pytest.raises(ServeError, match="one of two tenants"):
        ApiKeyring.from_environment({"K": twice}, "K")
    for spec in ("Shop/web:read", "a/b/web:read", "/web:read", "a b/web:read"):
        with pytest.raises(ServeError, match="TENANT/name:scopes"):
            create_key(spec)


def test_without_tenants_a_tenant_s_key_opens_nothing(tmp_path, shop_bundle, keys):
    async def scenario(service):
        assert (await service.send(A, "POST", "/v1/recommend", ASK)).status == 401
        assert (await service.send(None, "GET", f"/media/x?tenant={A}")).status == 404

    run(tmp_path, shop_bundle.uri, scenario, {})


def test_a_cursor_of_another_tenant_is_refused(tmp_path, shop_bundle, keys):
    async def scenario(service):
        first = {
            name: (await service.send(name, "GET", "/v1/videos?limit=2")).json["next_cursor"]
            for name in (DEFAULT, A, B)
        }
        for name in first:
            for other, cursor in first.items():
                reply = await service.send(name, "GET", f"/v1/videos?limit=2&cursor={cursor}")
                assert reply.status == (200 if name == other else 422), (name, other)

    run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle))


def test_both_sides_read_the_same_key(tmp_path, shop_bundle, keys):
    """Two keys of different tenants in one request: whichever counts, it is one of them throughout."""

    async def scenario(service):
        headers = {"authorization": f"Bearer {secret_of(A)}"}
        reply = await service.send(B, "GET", "/v1/rules", headers=headers)
        assert (reply.status, reply.headers["x-vrec-tenant"]) == (200, A)

    run(tmp_path, shop_bundle.uri, scenario, both(shop_bundle))
