"""Construction of stores and readers from their config."""

from typing import Annotated, assert_never

from pydantic import Field

from vrec.profiles.stores.fold import VideoLookup
from vrec.profiles.stores.redis.store import RedisConfig, RedisStore
from vrec.profiles.stores.sqlite.reader import SqliteProfileReader
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.update import ProfilesConfig

StoreConfig = Annotated[SqliteConfig | RedisConfig, Field(discriminator="kind")]
"""Config of a store: embedded in one process, or on a server that many processes share."""


def open_store(
    config: SqliteConfig | RedisConfig, facts: VideoLookup, profiles: ProfilesConfig
) -> SqliteStore | RedisStore:
    """Open the store that the config selects.

    Args:
        config: The settings of the store.
        facts: Lookup of the catalog's present data of videos.
        profiles: The settings of profiles.

    Raises:
        StoreError: The store cannot be opened, or is less durable than the config requires.
    """
    match config:
        case SqliteConfig():
            return SqliteStore(config, facts, profiles)
        case RedisConfig():
            return RedisStore(config, facts, profiles)
        case _:
            assert_never(config)


def open_profile_reader(
    config: SqliteConfig | RedisConfig, facts: VideoLookup, profiles: ProfilesConfig
) -> SqliteProfileReader | RedisStore:
    """Open a reader of the store's profiles, for another process than that of `open_store`.

    Args:
        config: The settings of the store.
        facts: Lookup of the catalog's present data of videos.
        profiles: The settings of profiles.

    Raises:
        StoreError: The store does not exist yet, or cannot be reached from this process.
    """
    match config:
        case SqliteConfig():
            return SqliteProfileReader(config, facts, profiles)
        case RedisConfig():
            return RedisStore(config, facts, profiles)
        case _:
            assert_never(config)
