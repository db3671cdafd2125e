"""Moments on a real local Ray: in the table, kept, changed with their subtitles, and in a bundle."""

import shutil

import numpy as np
import pytest

from tests.films import noise, write_video
from vrec.core.moments import MOMENTS
from vrec.core.schema import conform
from vrec.core.tables import read_embeddings, read_failures, read_manifest, read_media, read_moments
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.vectors import restore_rows
from vrec.pipelines.embed.run import embed

FEW = {"sample": {"frames": 2}, "batch_size": 2, "workers": 1, "moments": {}}
MODALITIES = ("frames", "audio", "text")
SRT = "1\n00:00:01,000 --> 00:00:02,000\nthe zip\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Five videos: with subtitles beside it, with sound, silent, of one frame, and none at all."""
    folder = tmp_path_factory.mktemp("films")
    pictures = [noise(seed, frames=1)[0] for seed in (1, 2) for _ in range(30)]
    write_video(folder / "said.mp4", pictures, rate=10)
    (folder / "said.srt").write_text(SRT)
    write_video(folder / "loud.mp4", pictures, rate=10, tone_s=6)
    write_video(folder / "mute.mp4", pictures, rate=10)
    write_video(folder / "still.mp4", pictures[:1], rate=10)
    (folder / "bad.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def embedded(films, local_ray, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("moments"))
    embed(str(films), out, EmbedConfig.model_validate(FEW))
    return out


def videos(out, modality):
    table = read_moments(out, modality)
    return [] if table is None else sorted(set(table["video_id"].to_pylist()))


def test_every_video_has_its_moments(embedded):
    assert videos(embedded, "frames") == ["loud", "mute", "said", "still"]
    assert videos(embedded, "audio") == ["loud"]
    assert videos(embedded, "text") == ["said"]
    assert [row["error"] for row in read_failures(embedded).to_pylist()] == ["WrongContainer"]
    manifest = read_manifest(embedded)
    for modality in MODALITIES:
        table = conform(read_moments(embedded, modality), MOMENTS, stage="test")
        assert manifest["moments"][modality] == table.num_rows
        codes = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        rows = restore_rows(codes, table["scale"].to_numpy())
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=0.02)
        assert set(table["encoder"].to_pylist()) == {manifest["moment_encoders"][modality]}
    (row,) = read_moments(embedded, "text").to_pylist()
    assert (row["start_s"], row["end_s"], row["text"]) == (1.0, 2.0, "the zip")
    starts = [r["start_s"] for r in read_moments(embedded, "frames").to_pylist() if r["video_id"] == "mute"]
    assert starts == [0.0, 3.0]


def test_vectors_of_whole_videos_are_those_without_moments(films, embedded, tmp_path):
    plain = EmbedConfig.model_validate(FEW | {"moments": None})
    embed(str(films), str(tmp_path), plain)
    for modality in ("frames", "audio", "text", "fused"):
        one, other = read_embeddings(embedded, modality), read_embeddings(str(tmp_path), modality)
        assert (one is None) == (other is None)
        assert one is None or one.equals(other)
    assert read_moments(str(tmp_path), "frames") is None


def test_the_split_layout_gives_the_same_moments(films, embedded, tmp_path):
    embed(str(films), str(tmp_path), EmbedConfig.model_validate(FEW | {"layout": "split"}))
    for modality in MODALITIES:
        assert read_moments(str(tmp_path), modality).equals(read_moments(embedded, modality))


def test_only_what_changed_is_done_again(films, local_ray, tmp_path):
    folder, out = tmp_path / "films", str(tmp_path / "out")
    shutil.copytree(films, folder)
    config = EmbedConfig.model_validate(FEW)
    embed(str(folder), out, config)
    before = read_moments(out, "frames")
    assert embed(str(folder), out, config)["counts"]["new"] == 0
    assert read_moments(out, "frames").equals(before)
    (folder / "said.srt").write_text(SRT.replace("zip", "collar"))
    (folder / "mute.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nnew\n")
    assert embed(str(folder), out, config)["counts"]["new"] == 2
    assert read_moments(out, "text")["text"].to_pylist() == ["new", "the collar"]
    (folder / "loud.mp4").unlink()
    assert embed(str(folder), out, config)["counts"]["new"] == 0
    assert videos(out, "frames") == ["mute", "said", "still"]
    assert read_moments(out, "audio") is None
    # Without moments they are gone, and nothing else is.
    manifest = embed(str(folder), out, config.model_copy(update={"moments": None}))
    assert manifest["moments"] == {}
    assert read_media(out).num_rows == 4
