"""Catalogues and commands as a person would have them."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.ray_head import free_port
from vrec.config.serve import ServeConfig
from vrec.synthetic.videos import SyntheticVideosConfig, draw_video, plan_catalog

ROOT = Path(__file__).resolve().parents[2]
# Sound is left to the tests of pipelines: its encoder brings torch into every worker that starts here.
QUICK = ["--set", "embed.sample.frames=2", "--set", "embed.encoders.audio=null"]
ONE_WORKER = ["--set", "embed.workers=1"]
MANY = 24


def start(*arguments, **more):
    """A `vrec` command of this checkout in a process group of its own."""
    code = "import sys; from vrec.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | more.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options = {"cwd": ROOT, "env": environment, "start_new_session": True}
    return subprocess.Popen(command, **{**options, **pipes, **more})


def vrec(*arguments, timeout=170, **more):
    """(exit code, stdout, stderr) of a `vrec` command."""
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def service_config(folder, bundle, **more):
    """Settings of a service of its own port, with its data and its SQLite store in a folder."""
    place = {"data": str(folder / "data"), "store": {"kind": "sqlite", "path": str(folder / "store.db")}}
    return ServeConfig.model_validate({"bundle": bundle, "port": free_port()} | place | more)


@contextmanager
def served(config, cluster):
    """A service on the tests' cluster until the block ends: its address."""
    from vrec.pipelines.cluster import connect_cluster
    from vrec.serving.deploy import deploy_service, stop_service

    with connect_cluster(cluster.address):
        try:
            deploy_service(config)
            yield f"http://{config.host}:{config.port}"
        finally:
            stop_service(config)


@pytest.fixture(scope="session")
def on_cluster(ray_cluster) -> dict[str, str]:
    """The environment of a command that is to use the tests' cluster, which is there already."""
    return {"RAY_ADDRESS": ray_cluster.address}


@pytest.fixture(scope="session")
def many_clips(tmp_path_factory) -> Path:
    """Clips enough for a job to be killed half-way. Not to be changed."""
    folder = tmp_path_factory.mktemp("many")
    config = SyntheticVideosConfig(
        videos=MANY, near_duplicates=0, broken=0, seconds=1.5, fps=8, width=160, height=160
    )
    for drawn in plan_catalog(config):
        draw_video(drawn, folder)
    return folder


@pytest.fixture(scope="session")
def few_clips(many_clips, tmp_path_factory) -> Path:
    """Three of them, `0.mp4` to `2.mp4`, where a job need not take long. Not to be changed."""
    folder = tmp_path_factory.mktemp("few")
    for number, clip in enumerate(sorted(many_clips.rglob("*.mp4"))[:3]):
        shutil.copy(clip, folder / f"{number}.mp4")
    return folder


@pytest.fixture(scope="session")
def page_shop(tmp_path_factory):
    """A bundle of real clips, a `tests.e2e.page_shop.PageShop`. Not to be changed."""
    from tests.e2e.page_shop import write_page_shop

    return write_page_shop(tmp_path_factory.mktemp("page"))
