"""A job whose driver, worker or node is killed ends, or resumes, with the rows of an undisturbed one."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import MANY, ONE_WORKER, QUICK, start
from vrec.config.load import load_settings
from vrec.core.tables import StorageFolder, read_embeddings, read_failures, read_manifest, read_media
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.embed.run import embed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SLOW_ENOUGH = [*QUICK, "--set", "embed.batch_size=1", "--set", "embed.workers=2"]


@pytest.fixture(scope="module")
def second_node(ray_cluster):
    """A second node of the tests' cluster while this file's tests run; the last of them kills it."""
    node = ray_cluster.add_node(num_cpus=1)
    ray_cluster.wait_for_nodes()
    yield node
    if node in ray_cluster.worker_nodes:
        ray_cluster.remove_node(node)


@pytest.fixture(scope="module")
def undisturbed(many_clips, ray_cluster, second_node, tmp_path_factory):
    """What a run comes to that nothing befalls; its batches and workers do not tell in the rows."""
    out = tmp_path_factory.mktemp("undisturbed")
    with connect_cluster(ray_cluster.address):
        embed(str(many_clips), str(out), load_settings(overrides=[*QUICK[1::2], *ONE_WORKER[1::2]]).embed)
    return out


def begin(clips, out, env):
    return start("embed", "--videos", clips, "--out", out, *SLOW_ENOUGH, env=env)


def assert_same_rows(one, other):
    for modality in ("frames", "fused"):
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


def processes(word):
    """Those with a word in their command line that these tests started: they have the tests' cache folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if word in " ".join(process.info["cmdline"] or [])
        and (process.info["environ"] or {}).get("VREC_CACHE") == os.environ["VREC_CACHE"]
    ]


def finished(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    return err


def test_a_killed_driver_resumes_without_repeating_finished_work_and_a_killed_worker_costs_nothing(
    many_clips, undisturbed, on_cluster, tmp_path
):
    process = begin(many_clips, tmp_path, on_cluster)
    wait_for_parts(tmp_path, 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_manifest(str(tmp_path)) is None
    # Its workers die with it; what a dying one still writes is finished work as well.
    wait_until_gone("FusedEmbedder")
    before = {part.name for part in parts(tmp_path)}
    done = sum(StorageFolder(str(tmp_path)).read_arrow(f"_parts/{name}").num_rows for name in before)
    assert 4 <= done < MANY
    process = begin(many_clips, tmp_path, on_cluster)
    # A run that resumes loses a worker as well as any other does.
    wait_for_parts(tmp_path, len(before) + 1, process)
    workers = processes("FusedEmbedder")
    assert workers, "no worker process was found to kill"
    workers[0].send_signal(signal.SIGKILL)
    finished(process)
    counts = read_manifest(str(tmp_path))["counts"]
    assert (counts["kept"], counts["new"]) == (done, MANY - done)
    assert_same_rows(undisturbed, tmp_path)
    wait_until_gone("vrec.media")


def wait_until_gone(word):
    """Until no process of these tests has the word in its command line."""
    deadline = time.monotonic() + 120
    while left := processes(word):
        assert time.monotonic() < deadline, f"outlived its parent: {left}"
        time.sleep(0.2)


def test_a_killed_node_costs_nothing(many_clips, undisturbed, ray_cluster, second_node, on_cluster, tmp_path):
    process = begin(many_clips, tmp_path, on_cluster)
    try:
        wait_for_parts(tmp_path, 4, process)
    finally:
        ray_cluster.remove_node(second_node, allow_graceful=False)
    finished(process)
    manifest = read_manifest(str(tmp_path))
    assert manifest["machine"]["nodes"] == 2
    assert manifest["counts"]["new"] == MANY
    assert_same_rows(undisturbed, tmp_path)
