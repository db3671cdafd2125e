"""Opening of a shop's own store, with the keys of pseudonyms under which it was written."""

from contextlib import closing, suppress

from vrec.config.serve import ServeConfig
from vrec.core.errors import StoreError
from vrec.privacy.door.key_check import check_store_key, require_store_key
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.fold import VideoLookup
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.reader import SqliteProfileReader
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.update import ProfilesConfig
from vrec.serving.tenants.context import DEFAULT_TENANT


def open_own_store(
    config: ServeConfig, tenant: str, facts: VideoLookup, profiles: ProfilesConfig
) -> SqliteStore | RedisStore:
    """Open the store of a shop.

    Args:
        config: Settings of the shop.
        tenant: Tenant whose shop it is.
        facts: Lookup of the catalog's present data of videos.
        profiles: The settings of profiles.

    Raises:
        StoreError: The store cannot be opened.
        PrivacyError: It was written with another key of pseudonyms, or a key cannot be read.
    """
    store = open_store(config.store, facts, profiles)
    try:
        check_store_key(store, config.privacy, tenant or config.privacy.tenant, name_of_store(config))
    except BaseException:
        store.close()
        raise
    return store


def check_stored_keys(config: ServeConfig) -> None:
    """Check the keys of all shops' SQLite stores on this machine, before a Ray is started for them.

    A store that is not there, or cannot be read, is left to its service.

    Raises:
        PrivacyError: One was written with another key of pseudonyms, or a key cannot be read.
    """
    for tenant in (DEFAULT_TENANT, *config.tenants):
        shop = config.of_tenant(tenant) if tenant else config
        if not isinstance(shop.store, SqliteConfig):
            return
        with (
            suppress(StoreError),
            closing(SqliteProfileReader(shop.store, lambda _: {}, ProfilesConfig())) as store,
        ):
            require_store_key(store, shop.privacy, tenant or shop.privacy.tenant, name_of_store(shop))


def name_of_store(config: ServeConfig) -> str:
    """Return what errors call the store."""
    if isinstance(config.store, SqliteConfig):
        return f"the store {config.store.path}"
    return f"the store below the prefix {config.store.prefix} of Redis"
