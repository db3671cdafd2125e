"""All bad input in one run with a hundred good videos: every good one embedded, every bad one explained."""

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.films import write_video
from vrec.core.errors import video_errors
from vrec.core.tables import read_embeddings, read_failures, read_media
from vrec.encoders.config import EmbedConfig
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.embed.run import embed
from vrec.synthetic.videos import SyntheticVideosConfig, draw_video, plan_catalog

pytestmark = pytest.mark.timeout(300)
GOOD = SyntheticVideosConfig(videos=100, near_duplicates=0, broken=0, seconds=0.6, fps=5, width=96, height=96)

# Made with ../shared/data/hostile; what each must come to is tested one by one in tests/media.
HOSTILE_FAILURES = {
    "audio.mp3", "audio_with_cover.mp3", "jpeg_renamed.mp4", "png_renamed.mp4", "random_bytes.mp4",
    "real_1x1.mp4", "real_no_duration.webm", "still.jpg", "text_renamed.mp4", "trunc50_moov_missing.mp4",
    "trunc_1000bytes.mp4", "zero_byte.mp4",
}  # fmt: skip


def film(path: Path, codec: str, *, size=(96, 64), frames=12, **more) -> Path:
    """A clip of noise: width × height, so many frames."""
    rng = np.random.default_rng(0)
    return write_video(
        path, list(rng.integers(0, 255, (frames, size[1], size[0], 3), np.uint8)), codec=codec, **more
    )


def sing(path: Path) -> Path:
    """Sound without a picture in an MP4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        wave = np.sin(np.arange(16000) / 10).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    return path


def odd_but_legal(folder: Path) -> dict[str, Path]:
    """Videos that decoders find hard and a shop has every right to upload."""
    return {
        "silent": film(folder / "silent.mp4", "libx264"),
        "one-frame": film(folder / "one.mp4", "libx264", frames=1),
        "odd-size": film(folder / "odd.mkv", "ffv1", size=(97, 63), pix_fmt="yuv444p"),
        "variable-rate": film(
            folder / "vfr.mp4",
            "libx264",
            times_ms=[0, 100, 600, 640, 700, 1500, 1510, 2000, 2100, 2500, 2600, 3000],
        ),
        "rotated": film(folder / "rotated.mp4", "libx264", rotate_deg=90),
        "ten-bit": film(folder / "10.mp4", "libx264", pix_fmt="yuv420p10le"),
        "hevc": film(folder / "hevc.mp4", "libx265"),
        "vp9": film(folder / "vp9.webm", "libvpx-vp9"),
        "av1": film(folder / "av1.mkv", "libsvtav1"),
        "商品 ünïcode": film(folder / "商品 ünïcode.mp4", "libx264"),
    }


def broken(folder: Path) -> dict[str, tuple[str, str]]:
    """Files that cannot be embedded, and as what they must fail."""
    whole = film(folder / "whole.mp4", "libx264", size=(160, 120), frames=30).read_bytes()
    names = ("zero", "text", "html", "cut", "fifo", "folder", "noise")
    paths = {name: folder / f"{name}.mp4" for name in names}
    paths["zero"].touch()
    paths["text"].write_text("this is not a video")
    paths["html"].write_text("<!doctype html><html><body>404 Not Found</body></html>")
    paths["cut"].write_bytes(whole[: len(whole) // 2])
    os.mkfifo(paths["fifo"])
    paths["folder"].mkdir()
    paths["noise"].write_bytes(np.random.default_rng(1).bytes(50_000))
    errors = ["EmptyVideo", "WrongContainer", "WrongContainer", "UnreadableVideo"]
    errors += ["UnreachableVideo", "UnreachableVideo", "WrongContainer"]
    bad = {name: (str(paths[name]), error) for name, error in zip(names, errors, strict=True)}
    bad["sound"] = (str(sing(folder / "sound.mp4")), "NoVideoStream")
    bad["gone"] = (str(folder / "gone.mp4"), "VanishedVideo")
    bad["unknown-scheme"] = ("gopher://h/v.mp4", "UnreachableVideo")
    return bad


def test_every_good_video_is_embedded_and_every_bad_one_explained(ray_cluster, tmp_path):
    plan = plan_catalog(GOOD)
    for drawn in plan:
        draw_video(drawn, tmp_path / "good")
    (tmp_path / "odd").mkdir()
    (tmp_path / "bad").mkdir()
    good = {drawn.video_id: tmp_path / "good" / drawn.file for drawn in plan}
    odd, bad = odd_but_legal(tmp_path / "odd"), broken(tmp_path / "bad")
    rows = [(i, uri) for i, (uri, _) in bad.items()]
    rows += [(i, str(p)) for i, p in (good | odd).items()]
    expected = {i: error for i, (_, error) in bad.items()}
    hostile = Path(__file__).resolve().parents[3] / "shared" / "data" / "hostile"
    embedded = set(good) | set(odd)
    if hostile.is_dir():
        names = {p.name for p in hostile.iterdir()}
        rows += [(f"hostile/{n}", str(hostile / n)) for n in sorted(names)]
        embedded |= {f"hostile/{n}" for n in names - HOSTILE_FAILURES}
    # It is listed and there when the run begins, and away when its turn comes.
    doomed = shutil.copy(odd["silent"], tmp_path / "doomed.mp4")
    rows += [("doomed", str(doomed)), ("silent", str(odd["hevc"]))]
    table = tmp_path / "v.parquet"
    ids, uris = (list(column) for column in zip(*rows, strict=True))
    pq.write_table(pa.table({"video_id": ids, "uri": uris}), table)
    out = str(tmp_path / "out")
    config = EmbedConfig.model_validate({"sample": {"frames": 2}, "batch_size": 4})
    with connect_cluster(ray_cluster.address):
        manifest = embed(str(table), out, config, on_batch=lambda _: Path(doomed).unlink(missing_ok=True))

    failures = {(r["video_id"], r["error"]): r for r in read_failures(out).to_pylist()}
    got = {i: error for i, error in failures if not i.startswith("hostile/") and error != "DuplicateVideoId"}
    assert got == expected | {"doomed": "VanishedVideo"}
    assert ("silent", "DuplicateVideoId") in failures
    assert set(read_embeddings(out, "frames")["entity_id"].to_pylist()) == embedded
    assert sorted(read_media(out)["video_id"].to_pylist()) == sorted(set(ids)), "one row a video"
    assert manifest["counts"]["embedded"] == len(embedded)
    assert manifest["counts"]["failed"] == len(failures) == len(rows) - len(embedded)
    for (video_id, error), row in failures.items():
        assert video_errors()[error].fix, video_id
        assert row["message"], video_id
        assert "Errno" not in row["message"], row
    print(f"{len(embedded)} embedded, {len(failures)} explained: {sorted({e for _, e in failures})}")
