"""Stores of both kinds for deployments that tests call without Ray."""

import pytest

from tests.contracts.store_places import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real Redis."""
    found = RedisServer(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@pytest.fixture(params=["sqlite", "redis"])
def store(request, tmp_path):
    """`serve.store` of an empty store of either kind."""
    if request.param == "sqlite":
        return {"kind": "sqlite", "path": str(tmp_path / "store.db")}
    variable = request.getfixturevalue("server").variable
    return {"kind": "redis", "url_variable": variable, "prefix": tmp_path.name}
