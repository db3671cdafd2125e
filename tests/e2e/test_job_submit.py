"""`ray job submit` against a cluster that `ray start --head` made, as on a real one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vrec.core.tables import read_manifest

from .conftest import QUICK, ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
def head(tmp_path):
    """The address of a head node with its dashboard, started by the `ray` command."""
    ray = str(Path(sys.executable).with_name("ray"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    started = subprocess.run(
        [ray, "start", "--head", "--num-cpus=2", "--port=0", "--dashboard-port=8799"],
        capture_output=True, text=True, env=environment, timeout=120, check=True,
    )  # fmt: skip
    address = re.search(r"--address='([^']+)'", started.stdout)
    assert address, started.stdout
    yield ray, environment
    subprocess.run([ray, "stop", "--force"], capture_output=True, env=environment, timeout=60, check=False)


def submit(head, *arguments):
    ray, environment = head
    command = [ray, "job", "submit", "--address=http://127.0.0.1:8799", "--working-dir", ".", "--"]
    return subprocess.run(
        [*command, sys.executable, "jobs/embed.py", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_the_job_runs_and_its_exit_code_and_log_are_the_jobs(head, many_clips, tmp_path):
    done = submit(head, "--videos", many_clips, "--out", tmp_path / "out", *QUICK)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert "succeeded" in log
    assert "embed: 40 of 40" in log, "plain lines in a job's log"
    assert "\x1b[2K" not in log, "no progress bar in a job's log"
    assert "embedded 40 of 40 videos" in log
    assert read_manifest(str(tmp_path / "out"))["counts"]["embedded"] == 40

    failed = submit(head, "--videos", "/absent", "--out", tmp_path / "other")
    assert failed.returncode == 1
    assert "/absent: no such folder" in failed.stdout + failed.stderr
