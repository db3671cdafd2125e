"""Every store against the battery of the ProfileStore protocol."""

import pytest

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from vrec.testing.stores import CHECKS

SMALL = {"hot_profiles": 2, "group_events": 1, "fold_after": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("settings", [{}, SMALL, {"fold_after": 5}], ids=["default", "small", "often"])
def test_sqlite_holds_the_contract(check, settings, tmp_path):
    check(SqlitePlace(tmp_path, **settings))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("fold_after", [32, 1])
def test_redis_holds_the_contract(check, fold_after, server):
    check(RedisPlace(server, fold_after=fold_after))
