"""Settings of the store on a Redis server, and its client."""

from typing import Literal

import redis
from pydantic import Field
from redis.backoff import NoBackoff
from redis.retry import Retry

from vrec.core.errors import ServeError, StoreError
from vrec.core.secrets import read_secret
from vrec.profiles.stores.fold import FoldConfig


class RedisConfig(FoldConfig):
    """Settings for the store on a Redis server."""

    kind: Literal["redis"] = "redis"
    """Store on a server, for many processes."""
    url_variable: str = "VREC_REDIS_URL"
    """Environment variable with the server's URL, such as redis://user:password@host:6379/0, or rediss: for
    TLS; so no password is in a config. VREC_REDIS_URL_FILE names a file with the URL instead."""
    prefix: str = Field(default="vrec", min_length=1)
    """Prefix of the keys in Redis; each prefix is a store of its own."""
    fsync: Literal["always", "everysec", "unchecked"] = "always"
    """Minimum of the server's `appendfsync`. `always`: acknowledged events are on the disk. `everysec`: up to
    two seconds of acknowledged events may be lost with the machine, or with the server if its disk is slow.
    `unchecked`: accept any server, also one that does not reveal its settings."""
    timeout_s: float = Field(default=2.0, gt=0)
    """Seconds to wait for a connection or an answer before an error."""
    connections: int = Field(default=32, ge=1)
    """Maximum number of connections, and of calls of `submit` that run at once."""


def server_url(config: RedisConfig) -> str:
    """Return the server's URL; raise StoreError if its file cannot be read."""
    try:
        return read_secret(config.url_variable)
    except ServeError as error:
        raise StoreError(str(error), fix=error.fix) from None


def connect(url: str, config: RedisConfig) -> redis.Redis:
    """Return a client, which connects when it is used; raise StoreError for an URL that is none."""
    if not url:
        raise StoreError(
            f"the environment variable {config.url_variable} is not set",
            fix=f"set {config.url_variable} to the server's URL, such as redis://127.0.0.1:6379/0, or "
            f"{config.url_variable}_FILE to a file with it, where Ray starts (on every node), and start Ray "
            "again",
        )
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=config.connections,
            timeout=config.timeout_s,
            socket_timeout=config.timeout_s,
            socket_connect_timeout=config.timeout_s,
            # One retry, for a connection that died with a server that is back. A script may run twice, and
            # the set of ids makes its events count once.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
    except ValueError:
        # Neither the URL nor the error is shown, as they may hold a password.
        raise StoreError(
            f"the URL in {config.url_variable} is not one of a Redis server",
            fix="give one like redis://user:password@host:6379/0, with : / @ in the password as %3A %2F %40",
        ) from None
    return redis.Redis(connection_pool=pool)
