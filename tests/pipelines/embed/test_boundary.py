"""Whatever one video raises, at whatever stage, is its own row of FAILURES; the others are embedded.

The run is that of `vrec embed` without Ray: real files, decoder, encoders, parts and tables.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.films import noise, write_video
from vrec.core.schema import FAILURES
from vrec.core.tables import MANIFEST, TABLE_FORMAT, StorageFolder, read_embeddings, read_failures, read_media
from vrec.encoders.build import EncoderSet, build_encoders, encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.media.catalog import TableSource, open_source
from vrec.media.decode_process import DecodeProcess, DecodeStartError
from vrec.pipelines.embed import plan as plan_module
from vrec.pipelines.embed import stages
from vrec.pipelines.embed.checkpoints import STATE
from vrec.pipelines.embed.compact import TableCompaction
from vrec.pipelines.embed.plan import hash_contents, list_catalog, make_plan
from vrec.pipelines.embed.stages import DecodeStage, EmbedJob, EncodeStage, FusedEmbedder

CONFIG = EmbedConfig.model_validate(
    {
        "sample": {"frames": 2},
        "decode": {"frame_px": 64},
        "encoders": {"audio": None, "frames": {"frame_px": 64}},
    }
)


class SpeechlessError(Exception):
    """An exception of another library that has no message to show."""

    def __str__(self) -> str:
        raise ValueError("no text")


ANY_ERROR = [
    KeyError("k"),
    AttributeError("'NoneType' object has no attribute 'encode'"),
    UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"),
    MemoryError(),
    ZeroDivisionError("division by zero"),
    RecursionError("too deep"),
    OSError(5, "Input/output error"),
    StopIteration(),
    pa.ArrowInvalid("bad bytes"),
    RuntimeError("\udce9 is no text"),
    SpeechlessError(),
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    return write_video(folder / "clip.mp4", [p[:96, :96] for p in noise(1)])


@pytest.fixture(scope="module")
def encoders():
    return build_encoders(CONFIG.encoders, device="cpu")


@pytest.fixture(scope="module")
def decoder():
    with DecodeProcess(CONFIG.media()) as process:
        yield process


@pytest.fixture(autouse=True)
def loaded_once(encoders, decoder, monkeypatch):
    """Encoders and the decoding process, which take longer to start than a test takes, serve all tests."""
    monkeypatch.setattr(stages, "build_encoders", lambda config, device: encoders)
    monkeypatch.setattr(stages, "DecodeProcess", lambda config: decoder)


@pytest.fixture
def catalog(clip, tmp_path) -> Path:
    """Three good clips: a, b and c, of which b will be made to fail."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in "abc":
        shutil.copy(clip, folder / f"{name}.mp4")
    rows = {
        "video_id": list("abc"),
        "uri": [f"videos/{n}.mp4" for n in "abc"],
        "title": ["red", "blue", None],
    }
    pq.write_table(pa.table(rows), tmp_path / "v.parquet")
    return tmp_path / "v.parquet"


def embed_here(catalog: Path, out: Path, *, split: bool = False) -> dict[str, str]:
    """Embed without Ray and return the errors by video."""
    refs, unlisted = list_catalog(open_source(str(catalog)))
    job, folder = EmbedJob(str(out), CONFIG, "recipe"), StorageFolder(str(out))
    plan = make_plan(refs, unlisted, STATE.empty_table(), "recipe", lambda r: hash_contents(r, job, None))
    summary = EncodeStage(job)(DecodeStage(job)(plan.pending)) if split else FusedEmbedder(job)(plan.pending)
    plan.parts[summary["part"][0].as_py()] = None
    names = encoder_names(CONFIG.encoders)
    files = TableCompaction(folder, refs.select(["video_id", "uri"]), names, 100, 1).run(plan, {})
    folder.write_json(MANIFEST, {"kind": "embeddings", "format": TABLE_FORMAT, "files": files})
    return {row["video_id"]: row["error"] for row in read_failures(str(out)).to_pylist()}


def raise_for(monkeypatch, owner, name: str, is_bad, error: Exception) -> None:
    """Let a function raise where one of its arguments is of the bad video."""
    whole = getattr(owner, name)

    def function(*args, **more):
        if any(is_bad(arg) for arg in args):
            raise error
        return whole(*args, **more)

    monkeypatch.setattr(owner, name, function)


def break_listing(monkeypatch, error: Exception) -> None:
    is_b = lambda a: isinstance(a, dict) and a["video_id"] == "b"  # noqa: E731
    raise_for(monkeypatch, TableSource, "_ref", is_b, error)


def break_text(monkeypatch, error: Exception) -> None:
    raise_for(monkeypatch, plan_module, "clip_text", lambda a: a == "blue", error)


def break_reading(monkeypatch, error: Exception) -> None:
    raise_for(monkeypatch, stages, "local_copy", lambda a: getattr(a, "video_id", "") == "b", error)


def break_decoding(monkeypatch, error: Exception) -> None:
    decode_many = DecodeProcess.decode_many

    def broken(self, paths):
        for number, result in enumerate(decode_many(self, paths)):
            if paths[number].endswith("b.mp4"):
                raise error
            yield result

    monkeypatch.setattr(DecodeProcess, "decode_many", broken)


def break_description(monkeypatch, error: Exception) -> None:
    decoded, describe = iter(range(3)), stages._describe

    def broken(video):
        if next(decoded) == 1:
            raise error
        return describe(video)

    monkeypatch.setattr(stages, "_describe", broken)


def break_encoding(monkeypatch, error: Exception) -> None:
    encode = EncoderSet.encode

    def broken(self, clips):
        if any(clip.video_id == "b" for clip in clips):
            raise error
        return encode(self, clips)

    monkeypatch.setattr(EncoderSet, "encode", broken)


STAGES = {
    "list": (break_listing, "list", "UnlistedVideo"),
    "text": (break_text, "list", "UnlistedVideo"),
    "read": (break_reading, "read", "ReadFailed"),
    "decode": (break_decoding, "decode", "DecodeFailed"),
    "describe": (break_description, "decode", "DecodeFailed"),
    "encode": (break_encoding, "encode", "EncodeFailed"),
}


def check_only_b_failed(out: Path, stage: str, name: str) -> dict:
    table = read_failures(str(out))
    assert table.schema.equals(FAILURES.arrow())
    (row,) = table.to_pylist()
    assert (row["video_id"], row["stage"], row["error"]) == ("b", stage, name)
    assert read_embeddings(str(out), "frames")["entity_id"].to_pylist() == ["a", "c"]
    media = read_media(str(out)).to_pylist()
    assert [m["video_id"] for m in media if m["error"] is None] == ["a", "c"]
    return row


@pytest.mark.parametrize("split", [False, True], ids=["fused", "split"])
@pytest.mark.parametrize("stage", STAGES)
def test_an_exception_of_one_video_is_its_failure_at_every_stage(
    catalog, tmp_path, monkeypatch, stage, split
):
    break_it, *expected = STAGES[stage]
    break_it(monkeypatch, KeyError("what nobody foresaw"))
    embed_here(catalog, tmp_path / "out", split=split)
    row = check_only_b_failed(tmp_path / "out", *expected)
    assert "what nobody foresaw" in row["message"]


@pytest.mark.parametrize("error", ANY_ERROR, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("stage", ["text", "read", "describe"])
def test_any_exception_will_do(catalog, tmp_path, decoder, monkeypatch, stage, error):
    break_it, _, name = STAGES[stage]
    break_it(monkeypatch, error)
    refs, unlisted = list_catalog(open_source(str(catalog)))
    job = EmbedJob(str(tmp_path / "out"), CONFIG, "recipe")
    outcomes = list(stages.decode_refs(refs, decoder, job))
    part = stages.commit_part(
        refs["video_id"].to_pylist(), "recipe", StorageFolder(job.out),
        lambda: (outcomes, [{"frames": np.ones(2, np.float32)} if o.clip else {} for o in outcomes]),
    )  # fmt: skip
    failed = {o.row["video_id"]: o.row["error"] for o in outcomes if "error" in o.row}
    failed |= {row["video_id"]: row["error"] for row in unlisted.to_pylist()}
    assert failed == {"b": name}
    assert part["failed"][0].as_py() == (0 if stage == "text" else 1)


@pytest.mark.parametrize(
    "value",
    [{"note": "\udce9"}, {"width": "wide"}, {"fps": object()}, {"height": 2**40}],
    ids=lambda values: next(iter(values)),
)
@pytest.mark.parametrize("split", [False, True], ids=["fused", "split"])
def test_a_result_that_fits_no_table_is_the_failure_of_its_video(
    catalog, tmp_path, monkeypatch, value, split
):
    describe, seen = stages._describe, iter(range(3))
    monkeypatch.setattr(stages, "_describe", lambda v: describe(v) | (value if next(seen) == 1 else {}))
    embed_here(catalog, tmp_path / "out", split=split)
    check_only_b_failed(
        tmp_path / "out", *(("decode", "DecodeFailed") if split else ("encode", "EncodeFailed"))
    )


def test_a_decoder_that_does_not_start_stops_the_job_as_no_video_is_at_fault(catalog, tmp_path, monkeypatch):
    def broken(self, paths):
        raise DecodeStartError("the decoding process does not start")

    monkeypatch.setattr(DecodeProcess, "decode_many", broken)
    with pytest.raises(DecodeStartError):
        embed_here(catalog, tmp_path / "out")


def test_the_catalogue_that_a_shop_has(clip, tmp_path):
    """What stopped or doubled a whole run before: each is one row now, and every good file is embedded."""
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.mp4", "a.mov", "deep/b.MP4", "c.mkv"):
        shutil.copy(clip, folder / name)
    (folder / "loop").symlink_to(".")
    (folder / "gone.mp4").symlink_to("nowhere")
    shutil.copy(clip, os.fsdecode(os.fsencode(folder) + b"/caf\xe9.mp4"))
    errors = embed_here(folder, tmp_path / "out")
    assert errors == {"gone": "VanishedVideo", "caf\\xe9.mp4": "UnlistedVideo"}
    assert read_embeddings(str(tmp_path / "out"), "frames")["entity_id"].to_pylist() == [
        "a.mov", "a.mp4", "c", "deep/b",
    ]  # fmt: skip


def test_the_table_that_a_shop_has(clip, tmp_path):
    rows = {
        "video_id": pa.array([1, 2, None, 4]),
        "uri": [str(clip)] * 3 + [None],
        "tags": [["red", None], None, [], []],
    }
    pq.write_table(pa.table(rows), tmp_path / "v.parquet")
    assert embed_here(tmp_path / "v.parquet", tmp_path / "out") == dict.fromkeys(
        ["(row 3)", "4"], "UnlistedVideo"
    )
    assert read_embeddings(str(tmp_path / "out"), "text")["entity_id"].to_pylist() == ["1"]
    assert read_embeddings(str(tmp_path / "out"), "frames")["entity_id"].to_pylist() == ["1", "2"]
