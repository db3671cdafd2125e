"""Stores of both kinds that the tests of a file share."""

from contextlib import closing

import pytest

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    """A real Redis."""
    found = RedisServer(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(request, redis_server, tmp_path_factory):
    """Place of a store of either kind."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path_factory.mktemp("db"))
    return RedisPlace(redis_server)


@pytest.fixture(scope="module")
def store(place):
    """The store at `place`, open."""
    with closing(place.open()) as opened:
        yield opened
