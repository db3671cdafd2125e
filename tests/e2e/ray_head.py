"""A Ray that the `ray` command started, as one that stands before vrec comes."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class RayHead:
    """A running head node."""

    address: str
    """Host and port that `--address` takes."""
    dashboard: str
    """URL of the dashboard, where it was asked for."""
    environment: Mapping[str, str]
    """The environment in which it was started."""
    token: Mapping[str, str]
    """Variables of a command that is to use it: it asks for a token."""


@contextlib.contextmanager
def ray_head(*options: str, dashboard: bool = False, **variables: str) -> Iterator[RayHead]:
    """Run `ray start --head` with further options and variables, on free ports, until the block ends."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | token | variables
    port, board, agent, client = free_port(), free_port(), free_port(), free_port()
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", f"--port={port}", "--disable-usage-stats"]
    # The usual ports are taken where another Ray runs on this machine, as the other tests' does.
    command += [f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-port={board}" if dashboard else "--include-dashboard=false", *options]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    try:
        wait_until_open(board if dashboard else port, process)
        yield RayHead(f"127.0.0.1:{port}", f"http://127.0.0.1:{board}", environment, token)
    finally:
        kill_tree(process)


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process with all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                each.kill()
    process.kill()
    process.wait(30)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until_open(port: int, process: subprocess.Popen) -> None:
    """Wait until something listens on a port; fail if the process ends before."""
    deadline = time.monotonic() + 90
    while True:
        assert process.poll() is None, "ray start ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.2)
