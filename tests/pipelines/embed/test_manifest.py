"""Figures of the manifest: counts, rates and seconds worked out by hand."""

import time

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.embed.test_compact import NAMES, row, vectors, write_part
from vrec.core.schema import FAILURES
from vrec.core.tables import StorageFolder
from vrec.media.duplicates.fingerprint import encode_fingerprint
from vrec.pipelines.cluster import ClusterResources
from vrec.pipelines.embed.checkpoints import REFS, STATE
from vrec.pipelines.embed.compact import TableCompaction
from vrec.pipelines.embed.manifest import EmbedTotals, PhaseTimer, describe_run, describe_table, timings
from vrec.pipelines.embed.plan import EmbedPlan


def summary(**changes):
    base = {"part": "p", "videos": 4, "failed": 1, "video_s": 30.0, "began_at": 100.0, "ended_at": 104.0}
    return base | {"worker": "h:1", "read_s": 1.0, "decode_s": 2.0, "encode_s": 3.0, "write_s": 4.0} | changes


def test_totals_add_up_and_the_rate_is_over_the_time_from_the_first_batch_to_the_last():
    totals = EmbedTotals()
    totals.add(summary())
    totals.add(summary(part="r", videos=6, video_s=60.0, began_at=102.0, ended_at=110.0, decode_s=0.5))
    totals.add(summary(part="q", videos=2, failed=0, began_at=98.0, ended_at=101.0, worker="h:2"))
    assert (totals.videos, totals.failed, totals.parts) == (12, 2, ["p", "r", "q"])
    assert totals.stage_s == {"read_s": 3.0, "decode_s": 4.5, "encode_s": 9.0, "write_s": 12.0}
    found = timings(PhaseTimer(), totals)
    assert found["throughput"] == {
        "videos_per_s": 1.0,
        "video_seconds_per_s": 10.0,
        "over_s": 12.0,
        "workers": 2,
    }
    assert {name: found["timings"][name] for name in totals.stage_s} == totals.stage_s
    assert timings(PhaseTimer(), EmbedTotals())["throughput"] is None


def test_phases_follow_each_other(monkeypatch):
    now = iter([10.0, 10.0, 13.0, 18.0, 20.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    timer = PhaseTimer(_started=time.perf_counter(), _last=time.perf_counter())
    timer.lap("one")
    timer.lap("two")
    assert timer.laps == {"one": 3.0, "two": 5.0}
    assert timer.wall_s() == 10.0


def moving(seed):
    return encode_fingerprint(np.random.default_rng(seed).integers(0, 255, (8, 64, 64), np.uint8))


@pytest.mark.parametrize("near", [True, False])
def test_the_table_is_described_by_its_counts_decoders_and_near_duplicates(tmp_path, near):
    folder = StorageFolder(str(tmp_path))
    rows = [
        row("a", decoder="decord", fingerprint=moving(0), content_hash="a"),
        row("b", decoder="pyav", fingerprint=moving(0), content_hash="b", note="read by PyAV: edit list"),
        row(
            "c",
            decoder="decord",
            fingerprint=moving(1),
            content_hash="c",
            note="a still; suspicious: it differs",
        ),
        row("d", error="TooShort", fingerprint=moving(0), content_hash="d"),
    ]
    uris = pa.table({"video_id": list("abcd"), "uri": list("abcd")})
    work = TableCompaction(folder, uris, NAMES, 10, 1)
    duplicate = {"video_id": "a", "uri": "/2", "stage": "read", "error": "DuplicateVideoId", "message": "x"}
    plan = EmbedPlan(
        total=6,
        pending=REFS.empty_table(),
        reused=STATE.empty_table().slice(0),
        duplicates=pa.Table.from_pylist([duplicate | {"at": time_of()}], FAILURES.arrow()),
        dropped=5,
        parts={write_part(folder, rows, [vectors(0), vectors(1), vectors(2), {}]): None},
    )
    files = work.run(plan, {})
    found = describe_table(folder, files, plan, EmbedTotals(videos=4), near=near)
    assert found["counts"] == {"videos": 6, "embedded": 3, "failed": 2, "kept": 0, "new": 4, "dropped": 5}
    assert found["dims"] == {"frames": 4, "audio": 3, "fused": 7}
    assert found["decoders"] == {"decord": 2, "pyav": 1}
    assert found["fallbacks"] == {"b": "read by PyAV: edit list"}
    assert found["suspicious"] == {"c": "it differs"}
    assert found["near_duplicates"] == ([["a", "b"]] if near else [])


def time_of():
    return np.datetime64("2025-01-01T00:00:00", "us").item()


def test_a_run_names_its_cluster_if_it_had_one():
    assert describe_run(None)["machine"] is None
    machine = describe_run(ClusterResources(nodes=3, cpus=8.0, gpus=2.0, ray_version="9"))["machine"]
    assert {name: machine[name] for name in ("ray", "nodes", "cpus", "gpus")} == {
        "ray": "9", "nodes": 3, "cpus": 8.0, "gpus": 2.0
    }  # fmt: skip
