"""Several shops in one process: which one answers, what becomes of bad ones, and how they come and go."""

import asyncio
from dataclasses import replace

import pyarrow as pa
import pytest

from tests.bundles import CONFIG
from tests.serving.tenants.service import DEFAULT, Service, key_entries
from vrec.bundle.write import write_bundle
from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.serving.app import check_tenants

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
            assert (await service.send(other, "POST", "/v1/events", event)).json == {
                "new": 1,
                "repeated": 0,
                "unused": 0,
                "refused": 0,
            }
        assert (await service.send(B, "DELETE", "/v1/profiles/ann")).json["erased"] == 1
        assert (await service.send(A, "GET", "/v1/profiles/ann")).json["counts"]["event:purchase"] == 1

    tenants = {A: {"bundle": shop_bundle.uri}, B: {"bundle": shop_bundle.uri}}
    run(tmp_path, shop_bundle.uri, scenario, tenants, within=within)


def test_a_bundle_with_another_encoder_is_refused_with_the_reason(tmp_path, shop_bundle, keys):
    parts = shop_bundle.parts
    fused = parts.fused.set_column(
        parts.fused.schema.get_field_index("encoder"), "encoder", pa.array(["another"] * parts.fused.num_rows)
    )
    write_bundle(str(tmp_path / "other"), replace(parts, fused=fused, ranker=None, texts=None), CONFIG)
    write_bundle(str(tmp_path / "without"), replace(parts, fused=None, ranker=None, texts=None), CONFIG)

    async def scenario(service):
        for host in (service.profiles, service.api):
            why, fix = (await host.refusals())[A]
            assert "was made with the encoder another, and all shops of this service share" in why
            assert "make the bundle with the service's encoder" in fix
            assert B not in await host.refusals()
        refused = await service.send(A, "POST", "/v1/recommend", ASK)
        assert (refused.status, refused.json["type"]) == (503, "urn:vrec:problem:not-served")
        assert "another" not in refused.json["detail"]
        assert len(ids(await service.send(B, "POST", "/v1/recommend", ASK))) == 10
        # The one before stays in service where a sound bundle was.
        await service.declare(shop_bundle.uri, {B: {"bundle": str(tmp_path / "other")}})
        assert len(ids(await service.send(B, "POST", "/v1/recommend", ASK))) == 10
        ready = await service.send(B, "GET", "/readyz")
        assert "the encoder another" in ready.json["refused"]

    tenants = {A: {"bundle": str(tmp_path / "other")}, B: {"bundle": str(tmp_path / "without")}}
    run(tmp_path / "data", shop_bundle.uri, scenario, tenants)


def test_settings_change_and_data_stay(tmp_path, shop_bundle, keys):
    async def scenario(service):
        event = {"event_id": "e", "user_id": "ann", "video_id": "v", "kind": "click"}
        assert (await service.send(A, "POST", "/v1/events", event)).status == 202
        assert (await service.send(A, "POST", "/v1/recommend", ASK)).json["currency"] == "USD"
        await service.declare(shop_bundle.uri, {A: {"bundle": shop_bundle.uri, "currency": "EUR"}})
        assert (await service.send(A, "POST", "/v1/recommend", ASK)).json["currency"] == "EUR"
        assert (await service.send(A, "POST", "/v1/events", event)).json == {
            "new": 0,
            "repeated": 1,
            "unused": 0,
            "refused": 0,
        }
        assert (await service.send(DEFAULT, "POST", "/v1/recommend", ASK)).json["currency"] == "USD"
        await service.declare(shop_bundle.uri, {})
        assert (await service.send(A, "POST", "/v1/recommend", ASK)).status == 401
        await service.declare(shop_bundle.uri, {A: {"bundle": shop_bundle.uri}})
        assert (await service.send(A, "POST", "/v1/events", event)).json == {
            "new": 0,
            "repeated": 1,
            "unused": 0,
            "refused": 0,
        }

    run(tmp_path, shop_bundle.uri, scenario, {A: {"bundle": shop_bundle.uri}})


def test_shops_lie_apart_in_every_store():
    tenants = {A: {"bundle": "a"}, B: {"bundle": "b"}}
    for store in ({"kind": "sqlite", "path": "/srv/s/store.db"}, {"kind": "redis"}):
        config = ServeConfig.model_validate({"data": "/srv/d", "store": store, "tenants": tenants})
        found = [config, config.of_tenant(A), config.of_tenant(B)]
        places = {one.data for one in found}, {one.store.model_dump_json() for one in found}
        assert [len(one) for one in places] == [3, 3]
        assert config.of_tenant(A).tenants == {}
    assert config.of_tenant(A).store.prefix == f"vrec:tenants:{A}"


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a:b", "a_b", "x" * 33, "-a"])
def test_a_name_that_is_no_folder_or_label_is_refused(name):
    with pytest.raises(ValueError, match="tenants"):
        ServeConfig.model_validate({"tenants": {name: {"bundle": "x"}}})


def test_tenants_without_keys_are_refused_before_anything_starts(monkeypatch):
    config = ServeConfig.model_validate({"bundle": "x", "tenants": {A: {"bundle": "x"}}})
    monkeypatch.delenv("VREC_API_KEYS", raising=False)
    with pytest.raises(ServeError, match=r"serve\.tenants has 1, and VREC_API_KEYS has no keys"):
        check_tenants(config)
