"""The job on a real local Ray: what it writes, what it keeps, what a bad video costs."""

import fcntl
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vrec.core.errors import OutputError, SourceError
from vrec.core.schema import EMBEDDINGS, FAILURES, MEDIA, conform
from vrec.core.tables import read_embeddings, read_failures, read_manifest, read_media
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.pipelines.embed.checkpoints import PARTS, REFS, part_name
from vrec.pipelines.embed.plan import recipe_digest
from vrec.pipelines.embed.run import embed
from vrec.pipelines.embed.stages import DecodeStage, EmbedJob, EncodeStage, FusedEmbedder

FEW = {"sample": {"frames": 2}, "batch_size": 4, "workers": 1}
QUICK = EmbedConfig.model_validate(FEW)
# For what does not depend on sound, whose encoder brings torch into every worker that starts.
SILENT = EmbedConfig.model_validate(FEW | {"encoders": {"audio": None}})
TIMES = ["decode_s", "encode_s"]


def same_tables(one, other):
    for modality in ("frames", "audio", "text", "fused"):
        left, right = read_embeddings(one, modality), read_embeddings(other, modality)
        assert (left is None) == (right is None), modality
        if left is not None:
            assert left.equals(right), modality
    media = [read_media(out).drop_columns(TIMES) for out in (one, other)]
    assert media[0].equals(media[1])
    failures = [read_failures(out).drop_columns(["at"]) for out in (one, other)]
    assert failures[0].equals(failures[1])


@pytest.fixture(scope="module")
def embedded(clips, local_ray, tmp_path_factory):
    """The folder `clips`, embedded once."""
    out = str(tmp_path_factory.mktemp("embedded"))
    embed(str(clips), out, QUICK)
    return out


def test_every_video_is_in_the_tables_once(clips, embedded):
    files = sorted(str(p.relative_to(clips).with_suffix("")) for p in clips.rglob("*.mp4"))
    media, failures = read_media(embedded), read_failures(embedded)
    conform(media, MEDIA, stage="test")
    conform(failures, FAILURES, stage="test")
    assert media["video_id"].to_pylist() == files
    failed = {r["video_id"].rsplit("-", 1)[1]: r["error"] for r in failures.to_pylist()}
    assert failed["text"] == "WrongContainer"
    assert failed["black"] == "BlackVideo"
    assert len(failed) == 3
    good = [r["video_id"] for r in media.to_pylist() if r["error"] is None]
    assert sorted(good + failures["video_id"].to_pylist()) == files
    for modality in ("frames", "audio", "fused"):
        table = conform(read_embeddings(embedded, modality), EMBEDDINGS, stage="test")
        assert table["entity_id"].to_pylist() == good
        vectors = np.stack(table["vector"].to_pylist())
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_manifest_tells_of_the_run(embedded):
    manifest = read_manifest(embedded)
    assert manifest["counts"] == {
        "videos": 12, "embedded": 9, "failed": 3, "kept": 0, "new": 12, "dropped": 0
    }  # fmt: skip
    assert sum(manifest["decoders"].values()) == 9
    assert manifest["encoders"]["frames"].startswith("cnn@")
    assert manifest["dims"]["frames"] == 1280
    assert manifest["timings"]["decode_s"] > 0
    assert manifest["throughput"]["videos_per_s"] > 0
    (group,) = [g for g in manifest["near_duplicates"] if any("repost" in i for i in g)]
    assert len(group) == 2
    assert not os.path.exists(f"{embedded}/{PARTS}")


def test_a_second_run_decodes_nothing_and_changes_nothing(clips, embedded, tmp_path):
    out = shutil.copytree(embedded, tmp_path / "out")
    manifest = embed(str(clips), str(out), QUICK)
    assert (manifest["counts"]["kept"], manifest["counts"]["new"]) == (12, 0)
    assert manifest["timings"]["decode_s"] == 0
    assert manifest["files"] == read_manifest(embedded)["files"] | {"failures": manifest["files"]["failures"]}
    same_tables(embedded, str(out))


def test_what_changed_alone_is_embedded_and_the_rows_are_those_of_a_fresh_run_by_the_other_layout(
    clips, embedded, local_ray, tmp_path
):
    videos = shutil.copytree(clips, tmp_path / "videos")
    out = shutil.copytree(embedded, tmp_path / "out")
    files = sorted(p for p in videos.rglob("*.mp4") if p.parent.name not in ("broken", "reposts"))
    shutil.copy(files[0], files[1])
    files[2].unlink()
    shutil.copy(files[3], videos / "new.mp4")
    counts = embed(str(videos), str(out), QUICK)["counts"]
    assert (counts["new"], counts["dropped"], counts["kept"]) == (2, 1, 10)
    table = read_embeddings(str(out), "frames")
    vectors = dict(zip(table["entity_id"].to_pylist(), table["vector"].to_pylist(), strict=True))
    ids = [str(f.relative_to(videos).with_suffix("")) for f in files]
    assert vectors[ids[0]] == vectors[ids[1]]
    assert vectors[ids[3]] == vectors["new"]
    assert ids[2] not in vectors
    embed(str(videos), str(tmp_path / "afresh"), QUICK.model_copy(update={"layout": "split"}))
    same_tables(str(out), str(tmp_path / "afresh"))


def test_a_table_brings_text_and_its_failures_are_explained(clips, local_ray, tmp_path):
    files = sorted(str(p) for p in clips.rglob("*.mp4") if p.parent.name not in ("broken", "reposts"))
    (tmp_path / "empty.mp4").touch()
    rows = [
        ("red", files[0], "红色连衣裙", ["dress"]),
        ("twice", files[1], None, None),
        ("twice", files[2], None, None),
        ("gone", "gone.mp4", "title", []),
        ("empty", "empty.mp4", None, None),
    ]
    table = pa.table(dict(zip(("video_id", "uri", "title", "tags"), zip(*rows, strict=True), strict=True)))
    pq.write_table(table, tmp_path / "v.parquet")
    out = str(tmp_path / "out")
    manifest = embed(str(tmp_path / "v.parquet"), out, SILENT)
    errors = {r["video_id"]: r["error"] for r in read_failures(out).to_pylist()}
    assert errors == {"gone": "VanishedVideo", "empty": "EmptyVideo", "twice": "DuplicateVideoId"}
    assert (manifest["counts"]["embedded"], manifest["counts"]["failed"]) == (2, 3)
    assert read_embeddings(out, "text")["entity_id"].to_pylist() == ["red"]
    assert read_embeddings(out, "fused")["entity_id"].to_pylist() == ["red", "twice"]

    shutil.copy(files[3], tmp_path / "gone.mp4")
    manifest = embed(str(tmp_path / "v.parquet"), out, SILENT)
    errors = {r["video_id"]: r["error"] for r in read_failures(out).to_pylist()}
    assert errors == {"empty": "EmptyVideo", "twice": "DuplicateVideoId"}
    assert (manifest["counts"]["embedded"], manifest["counts"]["new"]) == (3, 1)
    assert read_embeddings(out, "text")["entity_id"].to_pylist() == ["gone", "red"]


def test_what_cannot_run_says_so_before_it_works(clips, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        embed(str(clips), str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot be made"):
        embed(str(clips), str(tmp_path / "file" / "below"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no videos"):
        embed(str(tmp_path / "empty"), str(tmp_path / "out"))


def test_a_worker_that_cannot_write_stops_the_job_in_words(clips, local_ray, tmp_path):
    files = sorted(str(p) for p in clips.rglob("*.mp4"))
    pq.write_table(pa.table({"video_id": ["a"], "uri": files[:1]}), tmp_path / "v.parquet")
    recipe = recipe_digest(SILENT, encoder_names(SILENT.encoders))
    (tmp_path / "out" / part_name(recipe, ["a"])).mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write _parts/.*: is a directory"):
        embed(str(tmp_path / "v.parquet"), str(tmp_path / "out"), SILENT)


def test_a_folder_that_another_run_holds_is_refused(clips, tmp_path):
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is writing there"):
            embed(str(clips), str(tmp_path))


def refs(clips):
    files = sorted(clips.rglob("*.mp4"))
    rows = [
        {"video_id": f.stem, "uri": str(f), "text": "mug" if i % 2 else None, "text_hash": ""}
        for i, f in enumerate(files)
    ]
    return pa.Table.from_pylist(rows, schema=REFS)


def test_stages_are_plain_callables(clips, tmp_path):
    table = refs(clips)
    fused = FusedEmbedder(EmbedJob(str(tmp_path / "fused"), QUICK, "r"))(table).to_pylist()[0]
    job = EmbedJob(str(tmp_path / "split"), QUICK, "r")
    split = EncodeStage(job)(DecodeStage(job)(table)).to_pylist()[0]
    assert fused["videos"] == split["videos"] == table.num_rows
    assert fused["failed"] == split["failed"] == 3
    assert fused["part"] == split["part"]


def test_a_worker_starts_without_what_only_recommenders_need():
    code = "import sys, vrec.pipelines.embed.stages; print({'torch', 'sklearn', 'polars'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_a_batch_that_is_there_already_is_not_done_again(clips, tmp_path):
    stage = FusedEmbedder(EmbedJob(str(tmp_path), QUICK, "r"))
    table = refs(clips).slice(0, 3)
    first = stage(table).to_pylist()[0]
    stamp = os.stat(tmp_path / first["part"]).st_mtime_ns
    second = stage(table).to_pylist()[0]
    assert second["part"] == first["part"]
    assert second["failed"] == first["failed"]
    assert os.stat(tmp_path / first["part"]).st_mtime_ns == stamp
