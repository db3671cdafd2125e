"""Stages on workers with a decoder and encoders of the test's own: each column of a row, each failure."""

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from vrec.core.errors import BlackVideo, EncodeFailed, VideoError
from vrec.core.tables import StorageFolder
from vrec.core.types import Clip
from vrec.encoders.config import EmbedConfig
from vrec.encoders.view_check import ViewCheck
from vrec.media.decode import DecodedVideo
from vrec.pipelines.embed import stages
from vrec.pipelines.embed.checkpoints import REFS, part_name
from vrec.pipelines.embed.stages import (
    DecodeStage,
    EmbedJob,
    EncodeStage,
    VideoOutcome,
    check_views,
    commit_part,
    decode_refs,
    encode_outcomes,
    warm_up,
)
from vrec.robustness.content.config import ContentChecksConfig

PX = 32
CONFIG = EmbedConfig.model_validate(
    {"decode": {"frame_px": PX}, "encoders": {"frames": {"frame_px": PX}}, "sample": {"frames": 2}}
)


def decoded(value: int = 1, *, sound: bool = True) -> DecodedVideo:
    return DecodedVideo(
        frames=np.full((2, PX, PX, 3), value, np.uint8),
        times_s=np.array([0.0, 0.5]),
        width=640,
        height=480,
        fps=25.0,
        duration_s=1.5,
        decoder="decord",
        note="cut short",
        audio=np.full(8, 0.5, np.float32) if sound else None,
        has_audio=sound,
        fingerprint=b"\x01",
        decode_s=0.25,
    )


class Decoder:
    """Gives results in order, as a DecodeProcess does."""

    def __init__(self, results: Sequence[DecodedVideo | VideoError]) -> None:
        self.results, self.paths = results, []

    def decode_many(self, paths):
        self.paths = list(paths)
        return iter(self.results)


class Encoders:
    """The mean pixel as a vector; refuses clips by their id."""

    def __init__(self, refuses: Sequence[str] = (), error: type[Exception] = EncodeFailed) -> None:
        self.refuses, self.error, self.calls = refuses, error, []

    def encode(self, clips: Sequence[Clip]):
        self.calls.append([clip.video_id for clip in clips])
        for clip in clips:
            if clip.video_id in self.refuses:
                raise self.error(f"{clip.video_id}: no")
        return {
            "frames": [np.full(3, clip.frames.mean(), np.float32) for clip in clips],
            "audio": [None if clip.audio is None else clip.audio[:2] for clip in clips],
        }


@pytest.fixture
def refs(tmp_path) -> pa.Table:
    """Two files and one that is not there in between."""
    for name in ("a", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    rows = [
        {"video_id": i, "uri": str(tmp_path / f"{i}.mp4"), "text": t, "text_hash": f"t-{i}"}
        for i, t in zip("abc", ("mug", None, None), strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=REFS)


def job(tmp_path) -> EmbedJob:
    return EmbedJob(str(tmp_path / "out"), CONFIG, "recipe")


def test_a_decoded_row_has_the_metadata_of_its_own_video(refs, tmp_path):
    decoder = Decoder([decoded(7), BlackVideo("c: black")])
    a, b, c = decode_refs(refs, decoder, job(tmp_path))
    assert [path.rpartition("/")[2] for path in decoder.paths] == ["a.mp4", "c.mp4"]
    assert a.row | {"content_hash": ""} == {
        "video_id": "a",
        "uri": str(tmp_path / "a.mp4"),
        "text_hash": "t-a",
        "recipe": "recipe",
        "content_hash": "",
        "frames": 2,
        "has_audio": True,
        "decode_s": 0.25,
        "encode_s": 0.0,
        "decoder": "decord",
        "width": 640,
        "height": 480,
        "fps": 25.0,
        "duration_s": 1.5,
        "fingerprint": b"\x01",
        "note": "cut short",
    }
    assert a.clip is not None
    assert (a.clip.video_id, a.clip.text) == ("a", "mug")
    assert a.row["content_hash"] != c.row["content_hash"]
    assert b.clip is c.clip is None
    assert (b.row["error"], b.row["stage"]) == ("VanishedVideo", "read")
    assert "content_hash" not in b.row
    assert (c.row["error"], c.row["stage"], c.row["message"]) == ("BlackVideo", "decode", "c: black")
    assert (c.row["frames"], c.row["has_audio"]) == (0, False)


def test_a_file_above_the_limit_is_not_decoded(refs, tmp_path):
    decode = CONFIG.decode.model_copy(update={"max_bytes": 1})
    (tmp_path / "a.mp4").write_bytes(b"aa")
    small = EmbedJob(str(tmp_path), CONFIG.model_copy(update={"decode": decode}), "r")
    a, _, c = decode_refs(refs, Decoder([decoded()]), small)
    assert (a.row["error"], c.row.get("error")) == ("TooLarge", None)


def outcomes(*ids: str) -> list[VideoOutcome]:
    """Decoded videos; an id in capitals is of one that failed before."""
    frames = {i: np.full((1, 2, 2, 3), n, np.uint8) for n, i in enumerate(ids)}
    return [VideoOutcome({"video_id": i}, None if i.isupper() else Clip(i, frames[i])) for i in ids]


def test_vectors_belong_to_their_videos_and_time_is_shared(monkeypatch):
    ticks = iter([10.0, 16.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    some = outcomes("a", "B", "c")
    vectors = encode_outcomes(some, Encoders())
    assert [None if not v else v["frames"].tolist() for v in vectors] == [[0] * 3, None, [2] * 3]
    assert vectors[0]["audio"] is None
    assert [o.row.get("encode_s") for o in some] == [3.0, None, 3.0]


@pytest.mark.parametrize("error", [EncodeFailed, ValueError, RuntimeError])
def test_a_clip_that_cannot_be_encoded_fails_alone(error):
    some, encoders = outcomes("a", "b", "c"), Encoders(["b"], error)
    vectors = encode_outcomes(some, encoders)
    assert [bool(v) for v in vectors] == [True, False, True]
    assert [o.row.get("error") for o in some] == [None, "EncodeFailed", None]
    assert "b: no" in some[1].row["message"]
    assert encoders.calls == [["a", "b", "c"], ["a"], ["b"], ["c"]]


def test_nothing_decoded_is_nothing_to_encode():
    encoders = Encoders()
    assert encode_outcomes(outcomes("A", "B"), encoders) == [{}, {}]
    assert encoders.calls == []


class Twofold:
    """Encoder of frames whose vector of a coarser view points elsewhere for some videos."""

    def __init__(self, doubtful=(), error=None):
        self.doubtful, self.error = doubtful, error

    def encode_modality(self, modality, clips):
        assert modality == "frames"
        if self.error:
            raise self.error
        ways = [[0.6, 0.8] if clip.video_id in self.doubtful else [1, 0] for clip in clips]
        return list(np.array(ways, np.float32))


def test_frames_that_disagree_with_a_coarser_view_are_noted():
    found = outcomes("a", "b", "c")
    found[1].row["note"] = "cut short"
    found[2].clip = None
    check = ViewCheck(Twofold("bc"), ContentChecksConfig(min_agreement=0.7))
    for outcome in found:
        check_views(outcome, {"frames": np.array([1, 0], np.float32)}, check)
    doubt = "suspicious: its frames and a coarser view of them agree to 0.60 only"
    assert [outcome.row.get("note") for outcome in found] == [None, f"cut short; {doubt}", None]


def test_a_check_that_cannot_be_made_costs_a_note_and_not_the_video():
    (outcome,) = outcomes("a")
    broken = ViewCheck(Twofold(error=EncodeFailed("zero")), ContentChecksConfig())
    check_views(outcome, {"frames": np.ones(2, np.float32)}, broken)
    assert outcome.row["note"] == "not checked: zero"
    assert outcome.row.get("error") is None
    check_views(outcome, {"frames": None}, ViewCheck(Twofold("a"), ContentChecksConfig()))
    check_views(outcome, {}, None)
    assert outcome.row["note"] == "not checked: zero"


def row(video_id: str, **changes) -> VideoOutcome:
    base = {"video_id": video_id, "uri": "/", "text_hash": "", "recipe": "r", "frames": 1, "has_audio": False}
    return VideoOutcome(base | {"decode_s": 1.0, "encode_s": 2.0, "duration_s": 4.0} | changes, read_s=0.5)


def test_a_summary_adds_up_a_part_which_is_written_once(tmp_path):
    folder, runs = StorageFolder(str(tmp_path)), []

    def run():
        runs.append(1)
        bad = row("b", error="TooShort", stage="decode", message="m", encode_s=0.0)
        return [row("a"), bad, row("c", duration_s=None)], [{}, {}, {}]

    before = time.time()
    (first,) = commit_part(["a", "b", "c"], "r", folder, run).to_pylist()
    assert first["part"] == part_name("r", ["a", "b", "c"])
    assert (first["videos"], first["failed"]) == (3, 1)
    assert (first["read_s"], first["decode_s"], first["encode_s"], first["video_s"]) == (1.5, 3.0, 4.0, 4.0)
    assert before <= first["began_at"] <= first["ended_at"] <= time.time(), "seconds of Unix time"
    assert first["write_s"] > 0
    (again,) = commit_part(["c", "b", "a"], "r", folder, run).to_pylist()
    assert runs == [1]
    assert (again["videos"], again["failed"], again["video_s"], again["decode_s"]) == (3, 1, 4.0, 3.0)
    assert (again["read_s"], again["write_s"]) == (0, 0)
    commit_part(["a", "b", "c"], "other", folder, run)
    assert runs == [1, 1]


def test_clips_go_through_the_split_layout_unchanged(refs, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(stages, "DecodeProcess", lambda media: Decoder([decoded(9), decoded(3, sound=False)]))
    monkeypatch.setattr(stages, "build_encoders", lambda config, device: made.append(device) or Encoders())
    seen: list[Clip] = []
    monkeypatch.setattr(Encoders, "encode", lambda self, clips: seen.extend(clips) or {"frames": [None] * 2})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    rows = DecodeStage(job(tmp_path))(refs)
    (summary,) = EncodeStage(job(tmp_path))(rows).to_pylist()
    assert (summary["videos"], summary["failed"], made) == (3, 1, ["cpu"])
    warm, a, c = seen
    assert (warm.frames.shape, warm.audio.shape) == ((2, PX, PX, 3), (16_000,))
    assert (a.video_id, a.text, c.video_id, c.text) == ("a", "mug", "c", None)
    np.testing.assert_array_equal(a.frames, decoded(9).frames)
    np.testing.assert_array_equal(a.audio, decoded(9).audio)
    np.testing.assert_array_equal(c.frames, decoded(3).frames)
    assert c.audio is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    EncodeStage(job(tmp_path))
    assert made[-1] == "cuda"


def test_the_warm_up_is_one_second_at_the_size_of_the_settings():
    encoders = Encoders()
    warm_up(encoders, CONFIG)
    assert encoders.calls == [["warm-up"]]
