"""`vrec compress` on drawn clips: a table, a folder that `vrec embed` takes, and reasons for what fails."""

import csv
import hashlib
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from vrec.bundle.models import copy_encoder_models, replace_model_folders
from vrec.cli.main import run
from vrec.cli.output import print_compressed
from vrec.compression.config import CompressConfig
from vrec.compression.export import to_onnx
from vrec.compression.network import load_network
from vrec.config.load import load_settings
from vrec.core.errors import ConfigError
from vrec.encoders.build import build_encoders, encoder_names
from vrec.encoders.cnn import CnnEncoder, cnn_name
from vrec.encoders.config import EmbedConfig
from vrec.encoders.learned.config import GruEncoderConfig
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.config import GruHeadConfig
from vrec.pipelines.compress import networks as compress_networks
from vrec.pipelines.compress.dataset import CompressionDataset, VideoLabels, read_labels
from vrec.pipelines.compress.measure import CompressionRow, NeighborQuality, measure_quality
from vrec.pipelines.compress.run import choose_network, compress

SMALL = [
    "embed.decode.frame_px=64",
    "embed.encoders.frames.frame_px=64",
    "embed.sample.frames=2",
    "compress.student.frame_px=32",
    "compress.distill={steps: 2, batch: 4}",
    "compress.frames=2",
    "compress.rounds=2",
    "compress.quantize.pictures=4",
]
EASY = ["compress.max_accuracy_loss=1", "compress.min_recall=0"]
"""Whatever a network loses, it may be chosen."""


def sets(*changes: str) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture(scope="module", autouse=True)
def written_once():
    """A network is written as ONNX, which takes seconds, only the first time that these tests need it."""
    known: dict[tuple[str, int], bytes] = {}

    def once(network: nn.Module, px: int) -> bytes:
        weights = hashlib.sha256()
        for part in network.state_dict().values():
            weights.update(part.numpy().tobytes())
        key = (weights.hexdigest(), px)
        if key not in known:
            known[key] = to_onnx(network, px)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compress_networks, "to_onnx", once)
        yield


@pytest.fixture(scope="module")
def labels(clips, tmp_path_factory) -> Path:
    """Labels of all drawn files, two wares a label, and of one that is not there."""
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    files = sorted(str(file.relative_to(clips)) for file in clips.rglob("*.mp4"))
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "source"])
        rows.writerows([name, "shoes" if "sneakers" in name else name[0] > "l", "us"] for name in files)
        rows.writerow(["elsewhere.mp4", "shoes", "them"])
    return path


@pytest.fixture(scope="module")
def done(clips, labels, tmp_path_factory) -> dict[str, Any]:
    """The JSON of one run that tries a network of each sort."""
    out = tmp_path_factory.mktemp("small")
    methods = "compress.methods=[static, pruned, student_static]"
    settings = load_settings(overrides=[*SMALL, *EASY, methods, f"compress.labels={labels}"])
    return compress(str(clips), str(out), settings)


@pytest.mark.slow
def test_each_network_has_a_row_beside_the_original(done):
    assert json.loads(json.dumps(done)) == done
    rows = {row["method"]: row for row in done["rows"]}
    assert list(rows) == ["original", "static", "pruned", "student_static"]
    assert (done["videos"], done["labelled"], len(done["left_out"]), done["failed"]) == (9, 9, 3, {})
    first = rows["original"]
    assert (first["speed"], first["recall"], first["recall_new"]) == (1.0, 1.0, 1.0)
    assert rows["static"]["megabytes"] < 0.4 * first["megabytes"]
    assert rows["pruned"]["megabytes"] < 0.9 * first["megabytes"]
    assert [rows[name]["frame_px"] for name in rows] == [64, 64, 64, 32]
    assert all(0 <= row["one_nn"] <= 1 and row["frames_per_s"] > 0 for row in rows.values())


@pytest.mark.slow
def test_the_chosen_is_the_fastest_and_embeds_as_it_was_judged(done, clips):
    fast = max(done["rows"][1:], key=lambda row: row["speed"])
    assert done["chosen"] == fast["method"]
    settings = load_settings(done["config"])
    facts = load_network(done["out"])[1]
    assert (facts.method, facts.runtime, facts.frame_px) == (
        fast["method"],
        fast["runtime"],
        fast["frame_px"],
    )
    assert settings.embed.decode.frame_px == facts.frame_px
    encoders = build_encoders(settings.embed.encoders)
    shown = CompressionDataset(str(clips), settings, facts.frame_px).clips(facts.frame_px)
    found = encoders.encode(shown)["frames"]
    assert all(row is not None and row.shape == (facts.dim,) for row in found)
    assert encoder_names(settings.embed.encoders)["frames"] != done["original"]


@pytest.mark.slow
def test_the_table_says_what_is_lost_and_how_to_go_on(done, capsys):
    console = Console(width=80)
    print_compressed({**done, "failed": {"dynamic": "no luck. Fix: none"}}, console)
    text = capsys.readouterr().out
    assert f"{done['chosen']} ←" in text
    for row in done["rows"][1:]:
        for figure in (
            f"{row['speed']:.2f}×",
            f"{100 * row['one_nn']:.1f}",
            f"{100 * row['recall_new']:.1f}",
        ):
            assert figure in text
    assert "dynamic failed: no luck" in text
    assert "3 videos were left out, such as broken/" in text
    assert f"--config {done['config']}" in text
    print_compressed({**done, "chosen": None, "out": None}, console)
    assert "nothing was written" in capsys.readouterr().out


@pytest.fixture(scope="module")
def head(clips, tmp_path_factory) -> str:
    """The folder of a GRU with its first weights, on the features of the drawn clips' frames."""
    settings = load_settings(overrides=SMALL)
    catalogue = CompressionDataset(str(clips), settings, 64)
    cnn = settings.embed.encoders.cnn
    assert cnn is not None
    frames = np.stack(CnnEncoder(cnn).frame_features(catalogue.clips(64)))[:, None]  # (N, 1, T, D)
    count = len(frames)
    nothing, here = np.zeros((count, 0), np.float32), np.ones(count, bool)
    features = FeatureSet(
        catalogue.ids,
        frames.astype(np.float16),
        np.full(count, frames.shape[2], np.int16),
        nothing,
        nothing,
        {"frames": here, "audio": ~here, "text": ~here},
        {"frames": cnn_name(cnn)},
        settings.embed.model_dump(mode="json"),
    )
    config = GruHeadConfig(dim=8, keep=0)
    weights = {name: value.numpy() for name, value in init_head(config, features, 0).state_dict().items()}
    folder = str(tmp_path_factory.mktemp("head"))
    LearnedEncoder.from_weights(config, features, weights).save(folder)
    return folder


@pytest.mark.slow
def test_a_head_is_judged_with_the_network_beneath_it_and_goes_along(clips, head, tmp_path, monkeypatch):
    # On some machines int8 is no faster at this size, and then nothing would be written.
    monkeypatch.setattr("vrec.pipelines.compress.run.choose_network", lambda rows, config: rows[1])
    settings = load_settings(
        overrides=[
            "embed.decode.frame_px=64",
            f"embed.encoders.frames={{kind: gru, model: {head}}}",
            "embed.encoders.text=null",
            *SMALL[2:],
            "compress.methods=[static]",
        ]
    )
    before = build_encoders(settings.embed.encoders)
    done = compress(str(clips), str(tmp_path / "out"), settings)
    assert done["head"] == before.names["frames"]
    assert 0 < done["rows"][1]["recall"] <= 1
    after_settings = load_settings(done["config"])
    after = build_encoders(after_settings.embed.encoders)
    assert isinstance(after_settings.embed.encoders.frames, GruEncoderConfig)
    assert after.names["frames"] != before.names["frames"]
    shown = CompressionDataset(str(clips), settings, 64).clips(64)
    wanted, found = (np.stack(encoders.encode(shown)["frames"]) for encoders in (before, after))
    assert found.shape == (9, 8)
    assert 0.9 < (found * wanted).sum(axis=1).mean() < 1 - 1e-6
    # A bundle takes the head with the network beneath it, wherever both were made.
    embed, bundle = after_settings.embed, str(tmp_path / "bundle")
    copied = replace_model_folders(embed.model_dump(mode="json"), copy_encoder_models(embed, bundle))
    shutil.rmtree(tmp_path / "out")
    moved = str(shutil.move(bundle, tmp_path / "moved"))
    folder = f"{moved}/{copied['encoders']['frames']['model']}"
    again = build_encoders(
        EmbedConfig.model_validate(
            replace_model_folders(embed.model_dump(mode="json"), {done["out"] + "/head": folder})
        ).encoders
    )
    assert again.names == after.names
    assert np.array_equal(np.stack(again.encode(shown)["frames"]), found)


@pytest.mark.slow
def test_a_learned_fusion_does_not_go_along(clips, head, tmp_path, monkeypatch):
    monkeypatch.setattr("vrec.pipelines.compress.run.choose_network", lambda rows, config: rows[1])
    fusion = f"embed.encoders.fusion={{kind: learned, model: {head}}}"
    settings = load_settings(overrides=[*SMALL, fusion, "compress.methods=[dynamic]"])
    done = compress(str(clips), str(tmp_path), settings)
    assert done["lost_fusion"] == head
    after = load_settings(done["config"]).embed.encoders
    assert encoder_names(after)["fused"].startswith("fused@")


def a_row(method: str, speed: float, one_nn: float | None, recall_new: float) -> CompressionRow:
    return CompressionRow(
        method, 64, "openvino", 1.0, 100.0, speed, NeighborQuality(one_nn, None, 1.0, recall_new)
    )


def test_the_fastest_within_the_loss_is_chosen():
    config = CompressConfig(max_accuracy_loss=0.02, min_recall=0.8)
    first = a_row("original", 1, 0.80, 1)
    fast, good = a_row("static", 3, 0.77, 0.9), a_row("student", 2, 0.78, 0.1)
    slow = a_row("dynamic", 0.9, 0.80, 1)
    assert choose_network([first, fast, good, slow], config) is good
    assert choose_network([first, fast, slow], config) is None
    unlabelled = [
        replace(row, quality=replace(row.quality, one_nn=None)) for row in (first, fast, good, slow)
    ]
    assert choose_network(unlabelled, config) is unlabelled[1]
    assert choose_network(unlabelled[::2], config) is None


def test_quality_is_what_counting_gives():
    random = np.random.default_rng(0)
    truth = random.normal(size=(30, 6)).astype(np.float32)
    vectors = truth + random.normal(scale=0.5, size=truth.shape).astype(np.float32)
    labels = VideoLabels(tuple(range(0, 30, 2)), tuple("abc"[i % 3] for i in range(15)), None)
    found = measure_quality(vectors, truth, labels, np.array([3, 7]))

    def near(rows: np.ndarray) -> np.ndarray:
        unit = rows - rows.mean(axis=0)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        return np.argsort(-(unit @ unit.T - 2 * np.eye(len(rows))), axis=1)

    kept = np.array(
        [len(set(a[:10]) & set(b[:10])) / 10 for a, b in zip(near(vectors), near(truth), strict=True)]
    )
    assert found.recall == pytest.approx(kept.mean())
    assert found.recall_new == pytest.approx(kept[[3, 7]].mean())
    first = near(vectors[::2])[:, 0]
    assert found.one_nn == pytest.approx(np.mean([i % 3 == j % 3 for i, j in enumerate(first)]))
    assert found.other_source is None


def test_what_all_videos_share_makes_no_neighbours_of_those_with_labels():
    # Seen from afar, where all lie, the directions from their middle hardly count.
    ways = np.repeat(np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32), 2, axis=0)
    vectors = np.array([10, 0], np.float32) + ways * np.tile(np.float32([4, 1]), 4)[:, None]
    labels = VideoLabels(tuple(range(8)), tuple("eewwnnss"), tuple("xyxyxyxy"))
    found = measure_quality(vectors, vectors, labels, None)
    assert (found.one_nn, found.other_source) == (1.0, 1.0)


def test_a_label_of_one_source_does_not_count_where_another_source_is_asked_for():
    vectors = np.eye(5, 3, dtype=np.float32)[[0, 0, 1, 1, 2]] + np.arange(15).reshape(5, 3) * 1e-3
    labels = VideoLabels(tuple(range(5)), ("a", "a", "b", "b", "c"), ("x", "y", "x", "y", "x"))
    found = measure_quality(vectors.astype(np.float32), vectors.astype(np.float32), labels, None)
    assert found.one_nn == pytest.approx(4 / 5)
    assert found.other_source == pytest.approx(1.0)


def test_labels_are_matched_by_file_or_by_id_and_refused_where_none_fits(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("file,label,source\nb.mp4,cat,x\nz.mp4,dog,y\na/c.mov,dog,y\n")
    assert read_labels(str(path), ["a/c", "b", "d"]) == VideoLabels((0, 1), ("dog", "cat"), ("y", "x"))
    path.write_text("video_id,label\nb.v2,cat\n")
    assert read_labels(str(path), ["b.v2"]) == VideoLabels((0,), ("cat",), None)
    with pytest.raises(ConfigError, match=r"names none of 1 videos: it has b.v2, and the catalog b$"):
        read_labels(str(path), ["b"])
    path.write_text("name,label\nb,cat\n")
    with pytest.raises(ConfigError, match="has the columns label, name"):
        read_labels(str(path), ["b"])
    path.write_bytes(b"file,label\n\xff\xfe,cat\n")
    with pytest.raises(ConfigError, match="is not a CSV file"):
        read_labels(str(path), ["b"])
    with pytest.raises(ConfigError, match="no such file"):
        read_labels(str(tmp_path / "nothing.csv"), ["b"])


def refused(capsys, clips: Path, out: Path, *changes: str, code: int = 1) -> str:
    found = run(["compress", "--videos", str(clips), "--out", str(out), *sets(*SMALL), *sets(*changes)])
    assert found == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert not captured.out
    return captured.err


def test_too_few_videos_are_refused(clips, tmp_path, capsys):
    (tmp_path / "one").mkdir()
    shutil.copy(clips / "mugs/mugs-01.mp4", tmp_path / "one")
    assert "1 of 1 videos decode, and neighbors need 3" in refused(capsys, tmp_path / "one", tmp_path / "out")


def test_what_is_set_wrong_is_refused(clips, tmp_path, capsys):
    out = tmp_path / "out"
    assert "compress.methods.0" in refused(capsys, clips, out, "compress.methods=[magic]", code=2)
    nothing = refused(capsys, clips, out, "embed.encoders.frames=null", code=2)
    assert "there is nothing to compress" in nothing
    compressed = f"embed.encoders.frames.weights=compressed:{tmp_path}"
    again = refused(capsys, clips, out, compressed, code=2)
    assert "is compressed already" in again
    (tmp_path / "file").touch()
    assert "vrec: " in refused(capsys, clips, tmp_path / "file" / "below")


def test_where_no_method_works_the_first_reason_is_told(clips, tmp_path, capsys):
    told = refused(
        capsys, clips, tmp_path, "compress.methods=[smaller]", "compress.student.frame_px=64"
    ).splitlines()[-1]
    assert (
        "no method worked; smaller: compress.student.frame_px is 64, not below the network's own 64" in told
    )
    assert not list(tmp_path.glob("*.onnx"))


def test_missing_packages_are_named_before_anything_is_decoded(clips, tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    told = refused(capsys, clips, tmp_path, code=2)
    assert "needs the packages onnx" in told
    assert "decoded" not in told


@pytest.mark.slow
def test_a_method_that_fails_leaves_the_others_and_json_says_why(clips, tmp_path, capsys):
    changes = ["compress.methods=[smaller, dynamic]", "compress.student.frame_px=64"]
    code = run(
        ["compress", "--videos", str(clips), "--out", str(tmp_path), "--json", *sets(*SMALL), *sets(*changes)]
    )
    captured = capsys.readouterr()
    assert code == 0
    found = json.loads(captured.out)
    assert [row["method"] for row in found["rows"]] == ["original", "dynamic"]
    assert "not below the network's own 64" in found["failed"]["smaller"]
    assert "smaller failed" in captured.err
