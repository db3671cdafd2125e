"""`ray job submit` against a cluster that `ray start --head` made, as on a real one."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import ONE_WORKER, QUICK, ROOT
from vrec.core.tables import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture
def head():
    """(the dashboard's address, environment) of a head node that the `ray` command runs."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    port, agent = free_port(), free_port()
    options = ["--head", "--block", "--num-cpus=2", "--port=0", "--disable-usage-stats"]
    # The agent's usual port is taken where another Ray runs on this machine, as the other tests' does.
    options += [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"]
    process = subprocess.Popen(
        [RAY, "start", *options],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_until_open(port, process)
        yield f"http://127.0.0.1:{port}", environment
    finally:
        mine = [process, *psutil.Process(process.pid).children(recursive=True)]
        for each in mine:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                each.kill()
        process.wait(30)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until_open(port, process):
    deadline = time.monotonic() + 90
    while True:
        assert process.poll() is None, "ray start ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the dashboard did not come up"
            time.sleep(0.5)


def submit(head, *arguments):
    address, environment = head
    command = [RAY, "job", "submit", f"--address={address}", "--working-dir", ".", "--"]
    for _ in range(30):
        done = subprocess.run(
            [*command, sys.executable, "jobs/embed.py", *map(str, arguments)],
            cwd=ROOT,
            env=environment,
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
