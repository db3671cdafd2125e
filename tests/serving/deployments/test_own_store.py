"""Keys of pseudonyms at the opening of a store: those under which it was written, and no others."""

import asyncio
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serving.deployments.test_profiles import config_in
from vrec.config.serve import TenantConfig
from vrec.core.errors import PrivacyError
from vrec.privacy.consent.table import ConsentAnswer, ConsentTable
from vrec.privacy.door.key_check import KEYS_TABLE
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.profiles.update import ProfilesConfig
from vrec.serving.deployments.own_store import check_stored_keys, open_own_store
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.door.backend import open_door
from vrec.serving.door.job import rekey

KEYS = {"FIRST": "1" * 32, "SECOND": "2" * 32, "THIRD": "3" * 32}
FIRST, SECOND, BOTH = {"key": "FIRST"}, {"key": "SECOND"}, {"key": "SECOND", "old_key": "FIRST"}


@pytest.fixture
def settings(tmp_path, store, shop_bundle, monkeypatch):
    """Return a function from the settings of keys to those of a service."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    return lambda privacy: config_in(tmp_path, store=store, bundle=shop_bundle.uri, privacy=privacy)


def opened(config, tenant=""):
    return closing(open_own_store(config, tenant, lambda _: {}, ProfilesConfig()))


def refused(config, *words, tenant=""):
    with pytest.raises(PrivacyError) as error, opened(config, tenant):
        pass
    for word in (*words, "the store"):
        assert word in str(error.value)
    assert "serve.privacy.old_key" in error.value.fix
    assert not any(key in str(error.value) for key in KEYS.values())


def test_a_store_is_opened_with_the_key_of_its_first_start_alone(settings):
    with opened(settings({})) as store:
        assert store.states_after(KEYS_TABLE, 0, 9) == []
    with opened(settings(FIRST)) as store:
        ((_, _, kept),) = store.states_after(KEYS_TABLE, 0, 9)
        assert not any(key.encode() in kept for key in KEYS.values())
    with opened(settings(FIRST)):
        pass
    refused(settings(SECOND), "SECOND", "another key")
    refused(settings({"key": "SECOND", "old_key": "THIRD"}), "SECOND and THIRD")
    refused(settings({}), "serve.privacy.key is not set")
    # Pseudonyms of another tenant are others.
    refused(settings(FIRST), "FIRST", tenant="shop-b")
    with opened(settings(FIRST)) as store:
        assert store.states_after(KEYS_TABLE, 0, 9)[0][2] == kept


def test_the_stores_of_all_shops_are_checked_before_a_start_and_nothing_is_noted(settings, monkeypatch):
    def shops(privacy):
        config = settings(privacy)
        tenants = {"b": TenantConfig(bundle=config.bundle), "new": TenantConfig(bundle=config.bundle)}
        return config.model_copy(update={"tenants": tenants})

    check_stored_keys(shops(FIRST))
    if not isinstance(shops(FIRST).store, SqliteConfig):
        return
    for tenant in ("", "b"):
        config = shops(FIRST).of_tenant(tenant) if tenant else shops(FIRST)
        with opened(config, tenant) as store:
            noted = store.states_after(KEYS_TABLE, 0, 9)
            check_stored_keys(shops(FIRST))
            check_stored_keys(shops(BOTH))
            for wrong in (SECOND, {}):
                with pytest.raises(PrivacyError, match="the store"):
                    check_stored_keys(shops(wrong))
            assert store.states_after(KEYS_TABLE, 0, 9) == noted
        Path(config.store.path).unlink()


def test_a_key_is_changed_by_the_rekeying_and_refusals_stay(settings, tmp_path):
    def consents(store, privacy):
        return ConsentTable(store).of(open_door(settings(privacy)).shopper("ann"))

    refusal = {"train": ConsentAnswer(False, 7)}
    with opened(settings(FIRST)) as store:
        ConsentTable(store).put(open_door(settings(FIRST)).shopper("ann"), refusal)
    with opened(settings(BOTH)):
        pass
    for early in (FIRST, SECOND, {}, {"key": "SECOND", "old_key": "THIRD"}):
        refused(settings(early))
    # Back before the end is a rotation too.
    for keys in ({"key": "FIRST", "old_key": "SECOND"}, BOTH):
        with opened(settings(keys)):
            pass
    ids = str(tmp_path / "ids.parquet")
    pq.write_table(pa.table({"user_id": ["ann"]}), ids)
    with pytest.raises(PrivacyError, match="THIRD"):
        rekey(settings({"key": "SECOND", "old_key": "THIRD"}), [ids])
    rekey(settings(BOTH), [ids])
    for after in (SECOND, BOTH):
        with opened(settings(after)) as store:
            assert consents(store, after) == refusal
    refused(settings(FIRST), "FIRST", "another key")


def test_the_deployment_does_not_start_with_another_key(settings, shop_bundle):
    async def run():
        for _ in range(2):
            node = ProfilesDeployment(settings(FIRST))
            await node.reconfigure({"bundle": shop_bundle.uri})
            await node.close()
            node = ProfilesDeployment(settings(SECOND))
            with pytest.raises(PrivacyError) as error:
                await node.reconfigure({"bundle": shop_bundle.uri})
            assert error.value.fix in "".join(error.value.__notes__)
            assert node.opened is None
            await node.close()

    asyncio.run(run())
