"""README's own lines for a cluster, on a machine whose user has never used Ray."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import ONE_WORKER, QUICK, ROOT
from tests.e2e.ray_head import free_port
from vrec.core.tables import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def cluster_lines() -> str:
    """The first block of shell lines below "On a cluster"."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## On a cluster")[2]
    return section.split("```")[1].strip()


def script(clips: Path, out: Path) -> str:
    """README's lines with folders for buckets, and ports that no other Ray on this machine has."""
    text, board = cluster_lines(), free_port()
    ports = f"--port={free_port()} --dashboard-port={board} --dashboard-agent-listen-port={free_port()}"
    changes = {
        "ray start --head ": f"ray start --head --num-cpus=2 --ray-client-server-port={free_port()} {ports} ",
        ":8265": f":{board}",
        "s3://shop/videos": str(clips),
        "s3://shop/embeddings": " ".join([str(out), *QUICK, *ONE_WORKER]),
    }
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old} is not in README's lines"
        text = text.replace(old, new)
    return text


def processes_of(home: Path) -> list[psutil.Process]:
    """Processes that have this home folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_readme_s_cluster_lines_run_in_a_fresh_home(few_clips, tmp_path):
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    fresh = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    fresh |= {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    # The dashboard answers some seconds before the node has reported to it.
    submits = "submitted() { for _ in 1 2 3 4 5 6 7 8; do submit && return; sleep 3; done; return 1; }"
    lines, _, job = script(few_clips, out).partition("ray job submit")
    text = f"set -e\n{lines}\nsubmit() {{ ray job submit{job}\n}}\n{submits}\nsubmitted"
    with open(tmp_path / "log", "w") as log:  # Ray's processes would keep a pipe open
        try:
            code = subprocess.call(
                ["bash", "-c", text], cwd=ROOT, env=fresh, stdout=log, stderr=log, timeout=300
            )
            assert code == 0, (tmp_path / "log").read_text()
        finally:
            for process in processes_of(home):
                process.kill()
    assert read_manifest(str(out))["counts"]["embedded"] == 3
    token = home / ".ray" / "auth_token"
    assert token.read_text().strip()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
