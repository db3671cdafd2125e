"""A drawn catalogue and one local Ray for all tests of pipelines."""

from pathlib import Path

import pytest

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
def local_ray(ray_cluster):
    """This process as a driver of the tests' cluster, reached as the pipelines reach it."""
    from vrec.pipelines.cluster import connect_cluster

    with connect_cluster(ray_cluster.address) as resources:
        yield resources
