"""Several shops in one process: which one answers, which ones are warm, and what becomes of bad ones."""

import asyncio

import pytest

from tests.serving.tenants.service import DEFAULT, Service, key_entries

A, B = "shop-a", "shop-b"


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setenv("VREC_API_KEYS", key_entries(DEFAULT, A, B, "shop-c"))


def run(folder, bundle, scenario, tenants, **more):
    async def begin():
        service = Service(folder, **more)
        await service.declare(bundle, tenants)
        try:
            await scenario(service)
        finally:
            await service.close()

    asyncio.run(begin())


def ids(reply):
    assert reply.status == 200, reply.body
    assert not reply.json["degraded"], reply.json
    return [item["video_id"] for item in reply.json["items"]]


ASK = {"user_id": "ann", "k": 10}


@pytest.mark.parametrize("within", [False, True], ids=["by itself", "within HTTP"])
def test_an_event_of_one_shop_is_none_of_another(tmp_path, shop_bundle, keys, within):
    async def scenario(service):
        first = {
            name: ids(await service.send(name, "POST", "/v1/recommend", ASK)) for name in (DEFAULT, A, B)
        }
        assert all(first.values())
        bought = first[A][0]
        event = {"event_id": "e", "user_id": "ann", "video_id": bought, "kind": "purchase", "value": 1}
        assert (await service.send(A, "POST", "/v1/events", event)).status == 202
        assert bought not in ids(await service.send(A, "POST", "/v1/recommend", ASK))
        for other in (DEFAULT, B):
            assert (await service.send(other, "GET", "/v1/profiles/ann")).status == 404
            assert (await service.send(other, "POST", "/v1/events", event)).json == {"new": 1, "repeated": 0}
        assert (await service.send(B, "DELETE", "/v1/profiles/ann")).json["erased"] == 1
        assert (await service.send(A, "GET", "/v1/profiles/ann")).json["counts"]["event:purchase"] == 1

    tenants = {A: {"bundle": shop_bundle.uri}, B: {"bundle": shop_bundle.uri}}
    run(tmp_path, shop_bundle.uri, scenario, tenants, within=within)
