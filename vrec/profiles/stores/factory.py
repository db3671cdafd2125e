"""Either store of profiles and events by its config."""

from typing import Annotated, assert_never

from pydantic import Field

from vrec.core.protocols import ProfileStore
from vrec.profiles.profile import Profile
from vrec.profiles.stores.fold import VideoLookup
from vrec.profiles.stores.redis.store import RedisConfig, RedisStore
from vrec.profiles.stores.sqlite.reader import SqliteProfileReader
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.update import ProfilesConfig

StoreConfig = Annotated[SqliteConfig | RedisConfig, Field(discriminator="kind")]
"""Where profiles and events are kept: embedded in one process, or on a server that many processes share."""


def open_store(
    config: SqliteConfig | RedisConfig, facts: VideoLookup, profiles: ProfilesConfig
) -> ProfileStore[Profile]:
    """The store that the config names, open; `facts` says what the catalogue knows of videos at the moment.

    Raises StoreError where it cannot be opened, or keeps less than the config asks for.
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
    """What gives profiles as the store does, for a process beside the one that `open_store` runs in.

    Raises StoreError where there is no store yet, or it cannot be reached from here.
    """
    match config:
        case SqliteConfig():
            return SqliteProfileReader(config, facts, profiles)
        case RedisConfig():
            return RedisStore(config, facts, profiles)
        case _:
            assert_never(config)
