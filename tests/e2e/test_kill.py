"""A job whose driver, worker or node is killed ends, or resumes, with the rows of an undisturbed one."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from vrec.core.tables import read_embeddings, read_failures, read_manifest, read_media

from .conftest import QUICK, start, vrec

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
SLOW_ENOUGH = [*QUICK, "--set", "embed.batch_size=2"]


@pytest.fixture(scope="module")
def undisturbed(many_clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    code, _, complaints = vrec("embed", "--videos", many_clips, "--out", out, *SLOW_ENOUGH)
    assert code == 0, complaints
    return out


def assert_same_rows(one, other):
    for modality in ("frames", "audio", "fused"):
        assert read_embeddings(str(one), modality).equals(read_embeddings(str(other), modality)), modality
    times = ["decode_s", "encode_s"]
    assert read_media(str(one)).drop_columns(times).equals(read_media(str(other)).drop_columns(times))
    assert read_failures(str(one)).num_rows == read_failures(str(other)).num_rows == 0


def parts(out):
    return list(Path(out, "_parts").glob("*.arrow"))


def wait_for_parts(out, count, process):
    deadline = time.monotonic() + 120
    while len(parts(out)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.02)


def finished(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    return err


def test_a_killed_driver_resumes_without_repeating_finished_work(many_clips, undisturbed, tmp_path):
    process = start("embed", "--videos", many_clips, "--out", tmp_path, *SLOW_ENOUGH)
    wait_for_parts(tmp_path, 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Its Ray dies with it; what a dying worker still writes is finished work as well.
    assert read_manifest(str(tmp_path)) is None
    wait_for_quiet(tmp_path)
    done = len(parts(tmp_path)) * 2
    assert 8 <= done < 40
    finished(start("embed", "--videos", many_clips, "--out", tmp_path, *SLOW_ENOUGH))
    counts = read_manifest(str(tmp_path))["counts"]
    assert (counts["kept"], counts["new"]) == (done, 40 - done)
    assert_same_rows(undisturbed, tmp_path)
    orphans = [
        p for p in psutil.process_iter(["cmdline"]) if "vrec.media" in " ".join(p.info["cmdline"] or [])
    ]
    assert not orphans, "a decoding child outlived its parent"


def wait_for_quiet(out):
    for _ in range(100):
        before = len(parts(out))
        time.sleep(2)
        if len(parts(out)) == before:
            return


def test_a_killed_worker_costs_nothing(many_clips, undisturbed, tmp_path):
    process = start("embed", "--videos", many_clips, "--out", tmp_path, *SLOW_ENOUGH)
    wait_for_parts(tmp_path, 3, process)
    workers = embed_workers(process.pid)
    assert workers, "no worker process was found to kill"
    workers[0].send_signal(signal.SIGKILL)
    finished(process)
    assert read_manifest(str(tmp_path))["counts"]["new"] == 40
    assert_same_rows(undisturbed, tmp_path)


def embed_workers(driver):
    mine = {p.pid for p in psutil.Process(driver).children(recursive=True)}
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "FusedEmbedder" in " ".join(process.info["cmdline"] or []) and process.pid in mine:
            found.append(process)
    return found


def test_a_killed_node_costs_nothing(many_clips, undisturbed, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        environment = {"RAY_ADDRESS": cluster.address}
        process = start("embed", "--videos", many_clips, "--out", tmp_path, *SLOW_ENOUGH, env=environment)
        wait_for_parts(tmp_path, 4, process)
        cluster.remove_node(node, allow_graceful=False)
        finished(process)
    finally:
        cluster.shutdown()
    manifest = read_manifest(str(tmp_path))
    assert manifest["counts"]["new"] == 40
    assert_same_rows(undisturbed, tmp_path)


def test_two_runs_do_not_write_to_one_folder(many_clips, tmp_path):
    process = start("embed", "--videos", many_clips, "--out", tmp_path, *SLOW_ENOUGH)
    try:
        wait_for_parts(tmp_path, 1, process)
        code, _, complaints = vrec("embed", "--videos", many_clips, "--out", tmp_path, *SLOW_ENOUGH)
        assert code == 1
        assert "another run is writing there" in complaints
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
