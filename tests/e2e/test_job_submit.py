"""`ray job submit` against a cluster that `ray start --head` made, as on a real one."""

import subprocess
import sys
import time

import pytest

from tests.e2e.conftest import ONE_WORKER, QUICK, ROOT
from tests.e2e.ray_head import RAY, ray_head
from vrec.core.tables import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def head():
    """A head node that asks for a token."""
    with ray_head(dashboard=True) as found:
        yield found


def submit(head, *arguments):
    command = [RAY, "job", "submit", f"--address={head.dashboard}", "--working-dir", ".", "--"]
    for _ in range(30):
        done = subprocess.run(
            [*command, sys.executable, "jobs/embed.py", *map(str, arguments)],
            cwd=ROOT,
            env=head.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        # The dashboard answers some seconds before the node has reported to it.
        if "No available agent" not in done.stderr:
            break
        time.sleep(1)
    return done


def test_the_job_runs_and_its_exit_code_and_log_are_the_jobs(head, few_clips, tmp_path):
    done = submit(head, "--videos", few_clips, "--out", tmp_path / "out", *QUICK, *ONE_WORKER)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert "succeeded" in log
    assert "embed: 3 of 3" in log, "plain lines in a job's log"
    assert "\x1b[2K" not in log, "no progress bar in a job's log"
    assert "embedded 3 of 3 videos" in log
    assert read_manifest(str(tmp_path / "out"))["counts"]["embedded"] == 3

    lost = submit(head, "--videos", few_clips, "--out", "out")
    assert lost.returncode == 1
    assert "relative path in a submitted job" in lost.stdout + lost.stderr
