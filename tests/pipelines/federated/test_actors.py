"""Federated fits on a real Ray: clients that are killed or late, and a coordinator that is killed."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import ray

from tests.pipelines.federated.logs import OVERRIDES, VIDEOS, settings, sources, task, write_logs
from vrec.core.tables import StorageFolder
from vrec.pipelines.bundle import make_bundle
from vrec.pipelines.federated.actors import ActorPool
from vrec.pipelines.federated.pool import LocalPool
from vrec.pipelines.federated.rounds import FederatedRun
from vrec.pipelines.federated.run import federate
from vrec.pipelines.inputs import InputPaths
from vrec.retrieval.registry import load_recommender

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = settings()


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    write_logs(folder)
    return folder


@pytest.fixture(scope="module")
def paths(logs) -> dict[str, str]:
    return {path.stem: str(path) for path in sorted(logs.glob("shop*.parquet"))}


def whole(paths, config=SETTINGS):
    return FederatedRun(task(config), LocalPool(sources(paths, config)), config.federated).run()


class Waiting:
    """A client's shard that waits for a file in one round."""

    def __init__(self, source, only, file):
        self.source, self.only, self.file = source, only, file

    def load(self):
        self.shard = self.source.load()
        return self

    def contribute(self, state, number):
        while number == self.only and not self.file.exists():
            time.sleep(0.05)
        return self.shard.contribute(state, number)


def test_the_model_of_actors_is_that_of_one_process_and_a_bundle_takes_it(local_ray, paths, logs, tmp_path):
    out = str(tmp_path / "model")
    inputs = InputPaths("", videos=str(logs / "VIDEOS.parquet"))
    done = federate(paths, inputs, out, SETTINGS, model="als")
    assert (done["took_part"], done["left_out"], done["secure"]) == (sorted(paths), {}, True)
    model = load_recommender(out)
    assert (model.item_factors == whole(paths).state["factors"].astype(np.float32)).all()
    assert model.report["federated"]["rounds"] == 4
    assert not (tmp_path / "model" / "federated").exists(), "its checkpoint is gone"
    one = InputPaths(paths["shop0"], videos=inputs.videos)
    summary = make_bundle(one, str(tmp_path / "bundle"), SETTINGS, recommender=out)
    assert summary["videos"] == summary["popular"] == len(VIDEOS)


def test_clients_that_are_killed_or_late_are_left_out_until_they_are_back(local_ray, paths, tmp_path):
    config = settings("federated.deadline_s=10", "retrieval.als.iterations=5")
    clients, never, now = sources(paths, config), tmp_path / "never", tmp_path / "now"
    clients |= {"shop1": Waiting(clients["shop1"], 2, never), "shop2": Waiting(clients["shop2"], 4, now)}
    pool, rounds = ActorPool(clients, 0), []
    pool.call("prepare", dict.fromkeys(paths, ()), 120)
    call = pool.call

    def until_answered(name):
        while name not in call("prepare", {name: ()}, 10)[0]:
            time.sleep(0.2)

    def watched(step, arguments, deadline_s):
        if step == "advertise":
            rounds.append(step)
            if len(rounds) == 3:
                until_answered("shop1")
            if len(rounds) == 6:
                now.touch()
                until_answered("shop2")
        if step == "mask" and len(rounds) == 2:
            threading.Timer(1, lambda: ray.kill(pool._actors["shop1"], no_restart=False)).start()
        return call(step, arguments, deadline_s)

    pool.call = watched
    done = FederatedRun(task(config), pool, config.federated).run().rounds
    pool.close()
    assert ["shop1" in one.clients for one in done] == [True, False, True, True, True, True]
    assert ["shop2" in one.clients for one in done] == [True, True, True, False, False, True]
    assert done[3].left_out == {"shop2": "had not answered `mask` after 10 s"}
    assert "still busy" in done[4].left_out["shop2"]


def test_a_killed_coordinator_continues_with_the_same_result(ray_cluster, local_ray, paths, logs, tmp_path):
    out, more = tmp_path / "model", "retrieval.als.iterations=25"
    config = settings(more)
    words = [f"--client={name}={path}" for name, path in paths.items()]
    for override in (*OVERRIDES, more):
        words += ["--set", override]
    command = [sys.executable, "-m", "vrec", "federate", "--model", "als", "--out", str(out), *words]
    command += ["--videos", str(logs / "VIDEOS.parquet"), "--address", ray_cluster.address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    folder = StorageFolder(str(out))
    until = time.monotonic() + 120
    while rounds_done(folder) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    said = process.communicate()[0].decode()
    killed_after = rounds_done(folder)
    assert 3 <= killed_after < 26, said
    done = federate(paths, InputPaths("", videos=str(logs / "VIDEOS.parquet")), str(out), config, model="als")
    assert done["resumed_from"] == killed_after
    assert done["rounds"] == 26
    factors = whole(paths, config).state["factors"].astype(np.float32)
    assert (load_recommender(str(out)).item_factors == factors).all()


def rounds_done(folder):
    if not folder.exists("federated/round.npz"):
        return 0
    with np.load(io.BytesIO(folder.read("federated/round.npz")), allow_pickle=False) as arrays:
        return len(json.loads(arrays["meta"].tobytes())["rounds"])
