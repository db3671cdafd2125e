"""A drawn catalogue and one local Ray for all tests of pipelines."""

from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.shop import ShopOnDisk, write_shop
from vrec.synthetic.videos import SyntheticVideosConfig, draw_video, plan_catalog

SMALL = SyntheticVideosConfig(
    videos=8, near_duplicates=1, broken=3, seconds=1.0, fps=8, width=160, height=160
)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Twelve drawn files: eight good ones, a near-duplicate and three that must fail. Not to be changed."""
    folder = tmp_path_factory.mktemp("clips")
    for drawn in plan_catalog(SMALL):
        draw_video(drawn, folder)
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> ShopOnDisk:
    """A simulated shop, its tables on disk. Not to be changed."""
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def local_ray(ray_cluster):
    """This process as a driver of the tests' cluster, reached as the pipelines reach it."""
    from vrec.pipelines.cluster import connect_cluster

    with connect_cluster(ray_cluster.address) as resources:
        yield resources


@pytest.fixture
def inline_ray(monkeypatch) -> list[dict[str, Any]]:
    """Tasks of Ray run at once in this process, without a cluster; gives the options of each in order."""
    import ray
    from ray._common.filters import CoreContextFilter
    from ray.remote_function import RemoteFunction

    calls: list[dict[str, Any]] = []

    def call(self, args=None, kwargs=None, **options):
        calls.append({"name": self._function.__name__} | options)
        return self._function(*(args or ()), **(kwargs or {}))

    monkeypatch.setattr(RemoteFunction, "_remote", call)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    # A logger to which an earlier test has given Ray's filter would ask the cluster.
    monkeypatch.setattr(CoreContextFilter, "filter", lambda self, record: True)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"memory": 1e10}}])
    monkeypatch.setattr(ray, "put", lambda value: value)
    monkeypatch.setattr(ray, "get", lambda value: value)
    return calls
