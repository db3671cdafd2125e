"""serve_configs/prod.yaml on three nodes without GPUs, started by cluster.yaml's own commands."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from tests.contracts.store_places import RedisServer
from tests.e2e.conftest import ROOT
from tests.e2e.ray_head import free_port, kill_tree, wait_until_open
from vrec.serving.http.keys import create_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def redis_server(tmp_path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path, redis_server) -> Path:
    """The home folder of all nodes, as cluster.yaml leaves it: vrec installed, the secrets beside it."""
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True, mode=0o700)
    (home / "vrec").symlink_to(ROOT)
    (home / "vrec-env").symlink_to(sys.prefix)
    key, entry = create_key("shop:read")
    (tmp_path / "key").write_text(key)
    secrets = {"auth_token": os.urandom(32).hex(), "api_keys": entry + "\n", "redis_url": redis_server.url}
    for name, secret in secrets.items():
        (home / "secrets" / name).write_text(secret)
    return home


@contextmanager
def node(commands: str, replaced: dict[str, str], home: Path, **variables: str) -> Iterator[subprocess.Popen]:
    """Run the last of cluster.yaml's commands of a kind, which starts Ray, as the launcher would.

    What is replaced is what several nodes on one machine cannot share.
    """
    start = CLUSTER[commands][-1]
    for old, new in replaced.items():
        assert old in start, f"{old} is not in {commands}"
        start = start.replace(old, new)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "VREC_"))}
    environment |= {"HOME": str(home), "RAY_worker_niceness": "0", **variables}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    text = f". $HOME/vrec/deploy/node-env.sh; {start}"
    process = subprocess.Popen(["bash", "-c", text], env=environment, start_new_session=True, **pipes)
    try:
        yield process
    finally:
        kill_tree(process)


@contextmanager
def three_nodes(home: Path) -> Iterator[int]:
    """A head and two workers of two CPUs each; gives the port of the dashboard."""
    port, board = free_port(), free_port()

    def own(port: int) -> str:
        agent = f"--dashboard-agent-listen-port={free_port()}"
        return f"{port} --block --num-cpus=2 --disable-usage-stats {agent}"

    config = " --autoscaling-config=~/ray_bootstrap_config.yaml"  # the launcher's file
    head = {"6379": own(port), config: f" --dashboard-port={board} --ray-client-server-port={free_port()}"}
    with ExitStack() as nodes:
        process = nodes.enter_context(node("head_start_ray_commands", head, home))
        wait_until_open(board, process)
        for _ in range(2):
            proxy = str(free_port())  # on one machine, the proxies of nodes cannot have the same port
            worker = {"6379": own(port)}
            variables = {"RAY_HEAD_IP": "127.0.0.1", "RAY_SERVE_WORKER_PROXY_HTTP_PORT": proxy}
            started = nodes.enter_context(node("worker_start_ray_commands", worker, home, **variables))
            wait_until_joined(started)  # nodes that start together on one machine may choose the same socket
        yield board


def wait_until_joined(process: subprocess.Popen) -> None:
    """Wait until a node's object store has its socket."""
    deadline = time.monotonic() + 60
    while True:
        words = [word for one in psutil.Process(process.pid).children(recursive=True) for word in _words(one)]
        sockets = [word.partition("=")[2] for word in words if word.startswith("--store_socket_name=")]
        if sockets and Path(sockets[0]).exists():
            return
        assert time.monotonic() < deadline, words
        time.sleep(0.2)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def prod_config(bundle: str, shared: Path, port: int) -> str:
    """prod.yaml with a folder for the bucket, and a free port."""
    text = (ROOT / "serve_configs" / "prod.yaml").read_text(encoding="utf-8")
    text = text.replace("s3://BUCKET/vrec/bundles/2026-01-01", bundle).replace("s3://BUCKET", str(shared))
    assert text.count("port: 8000") == 2
    return text.replace("port: 8000", f"port: {port}")


def recommend(port: int, **headers: str) -> tuple[int, dict]:
    headers["Content-Type"] = "application/json"
    body = json.dumps({"user_id": "ann", "k": 5}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/recommend", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}
    except OSError as error:
        return 0, {"error": str(error)}


def test_prod_yaml_serves_on_three_nodes_of_cluster_yaml(home, shop_bundle, tmp_path):
    port, config = free_port(), tmp_path / "prod.yaml"
    config.write_text(prod_config(shop_bundle.uri, tmp_path, port))
    key = (tmp_path / "key").read_text()
    with three_nodes(home) as board:
        variables = {"HOME": str(home)} | {k: v for k, v in os.environ.items() if k != "HOME"}
        deploy = f". $HOME/vrec/deploy/node-env.sh; serve deploy -a http://127.0.0.1:{board} {config}"
        deadline = time.monotonic() + 60
        while True:  # the dashboard answers some seconds before Serve can be deployed
            done = subprocess.run(
                ["bash", "-c", deploy], env=variables, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(2)
        deadline = time.monotonic() + 240
        while (found := recommend(port, **{"X-API-Key": key}))[0] != 200 or found[1]["degraded"]:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
        assert len(found[1]["items"]) == 5
        assert found[1]["bundle"] == shop_bundle.version
        assert recommend(port)[0] == 401
