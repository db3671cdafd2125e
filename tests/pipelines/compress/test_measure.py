"""Measurements and choices of compression, with networks of the test's own: each figure by hand."""

import logging
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vrec.compression.config import METHOD_STEPS, CompressConfig
from vrec.compression.distill import DistillationPictures
from vrec.compression.network import CompressedNetworkInfo
from vrec.config.load import load_settings
from vrec.core.errors import CompressError, ConfigError
from vrec.core.types import Clip
from vrec.encoders.cnn import CnnEncoderConfig
from vrec.pipelines.compress import networks as networks_module
from vrec.pipelines.compress.dataset import VideoLabels
from vrec.pipelines.compress.measure import (
    CompressionRow,
    NeighborQuality,
    measure_networks,
    measure_quality,
    neighbor_overlap,
    time_encoders,
)
from vrec.pipelines.compress.networks import CompressedNetworks
from vrec.pipelines.compress.run import choose_network
from vrec.pipelines.compress.target import CompressionTarget, compression_target
from vrec.pipelines.compress.trials import CompressionTrial
from vrec.pipelines.compress.write import incompatible_fusion


class Encoder:
    """Features at a fixed cost a frame: (T, 2), the video's number and a constant of the network."""

    def __init__(self, clock: "Clock", cost_s: float, px: int = 64, turn: float = 0.0) -> None:
        self.clock, self.cost_s, self.turn, self.seen = clock, cost_s, turn, []
        self.config = CnnEncoderConfig(frame_px=px)

    def frame_features(self, clips):
        self.seen.append([clip.video_id for clip in clips])
        self.clock.now += sum(self.cost_s * len(clip.frames) for clip in clips)
        return [np.full((len(clip.frames), 2), float(clip.video_id), np.float32) for clip in clips]

    def pooled(self, features, clips):
        angles = np.array([block[0, 0] * (1 + self.turn) for block in features])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "process_time", lambda: clock.now)
    return clock


def clips(count: int = 3, frames: int = 4) -> list[Clip]:
    return [Clip(str(i), np.zeros((frames, 2, 2, 3), np.uint8)) for i in range(count)]


def test_seconds_are_for_a_frame_and_the_warm_up_does_not_count(clock):
    one, other = Encoder(clock, 0.5), Encoder(clock, 0.25)
    found = time_encoders({"a": one, "b": other}, {"a": clips(), "b": clips()}, rounds=4)  # type: ignore[dict-item]
    assert {name: seconds.tolist() for name, seconds in found.items()} == {"a": [0.5] * 4, "b": [0.25] * 4}
    assert one.seen == [["0"], ["0"], ["1"], ["2"], ["0"]], "warm-up, then a video a round"


def test_rows_have_sizes_rates_and_speeds_against_the_original(clock):
    original = Encoder(clock, 0.01)
    slow, fast, small = Encoder(clock, 0.02), Encoder(clock, 0.004), Encoder(clock, 0.005, px=32)

    def trial(method: str, px: int, size: int, encoders: dict[Any, Any]) -> CompressionTrial:
        info = CompressedNetworkInfo(method, px, 2, "openvino", True, "weights")
        return CompressionTrial(b"x" * size, info, encoders)

    asked: list[int] = []
    networks: Any = SimpleNamespace(
        dataset=SimpleNamespace(clips=lambda px: asked.append(px) or clips(5)),
        config=CompressConfig(rounds=3),
        network=lambda variant: b"x" * 4_000_000,
        held_out_rows=lambda method: None,
    )
    trials: Any = {
        "static": trial("static", 64, 1_000_000, {"onnxruntime": slow, "openvino": fast}),
        "smaller": trial("smaller", 32, 2_500_000, {"openvino": small}),
    }
    target = CompressionTarget(original.config)
    rows = measure_networks(target, original, trials, networks, None)  # type: ignore[arg-type]
    assert [row.method for row in rows] == ["original", "static", "smaller"]
    assert [row.megabytes for row in rows] == [4.0, 1.0, 2.5]
    assert [row.runtime for row in rows] == ["openvino", "openvino", "openvino"]
    assert [row.frame_px for row in rows] == [64, 64, 32]
    assert [row.speed for row in rows] == pytest.approx([1.0, 2.5, 2.0])
    assert [row.frames_per_s for row in rows] == pytest.approx([100, 250, 200])
    assert 32 in asked
    quality = {"one_nn": None, "other_source": None, "recall": 1.0, "recall_new": 1.0}
    assert rows[1].to_dict() == {
        "method": "static",
        "frame_px": 64,
        "runtime": "openvino",
        "megabytes": 1.0,
        "frames_per_s": rows[1].frames_per_s,
        "speed": rows[1].speed,
        "quality": quality,
        **quality,
    }


def circle(count: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_overlap_is_of_ten_neighbors_or_of_all_there_are():
    same = circle(15)
    assert neighbor_overlap(same, same).tolist() == [1.0] * 15
    # Of 4 videos each has the other three as neighbors, whatever the vectors.
    assert neighbor_overlap(circle(4), circle(4)[[2, 0, 3, 1]]).tolist() == [1.0] * 4
    moved = np.random.default_rng(0).permutation(15)
    shares = neighbor_overlap(circle(15)[moved], circle(15))
    assert set(np.round(shares * 10) - shares * 10) <= {0.0} or np.allclose(shares * 10 % 1, 0)
    assert 0 < shares.mean() < 1


def test_recall_of_new_videos_is_over_their_rows_alone():
    rng = np.random.default_rng(0)
    original = rng.normal(size=(40, 4)).astype(np.float32)
    vectors = original + rng.normal(scale=0.4, size=original.shape).astype(np.float32)
    shares = neighbor_overlap(vectors, original)
    found = measure_quality(vectors, original, None, np.array([3, 8, 9]))
    assert found.recall == pytest.approx(shares.mean())
    assert found.recall_new == pytest.approx(shares[[3, 8, 9]].mean())
    assert found.recall_new != found.recall
    assert (found.one_nn, found.other_source) == (None, None)
    assert measure_quality(vectors, original, None, None).recall_new == found.recall


def test_labels_of_one_source_each_have_no_accuracy_among_sources():
    labels = VideoLabels((0, 1, 2, 3), ("a", "a", "b", "b"), ("x", "x", "y", "y"))
    found = measure_quality(circle(4), circle(4), labels, None)
    assert found.other_source is None
    assert found.one_nn is not None


def row(
    method: str, speed: float, *, one_nn: float | None = None, recall: float = 1.0, recall_new: float = 1.0
):
    return CompressionRow(
        method, 64, "openvino", 1.0, 1.0, speed, NeighborQuality(one_nn, None, recall, recall_new)
    )


@pytest.mark.parametrize(
    ("lost", "chosen"), [(0.0, "a"), (0.02, "b"), (0.05, "c")], ids=["none", "just enough", "more"]
)
def test_with_labels_the_accuracy_that_may_be_lost_decides(lost, chosen):
    config = CompressConfig(max_accuracy_loss=lost, min_recall=1)
    rows = [
        row("original", 1.0, one_nn=0.9),
        row("a", 2.0, one_nn=0.95, recall_new=0),
        row("b", 3.0, one_nn=0.88, recall_new=0),
        row("c", 4.0, one_nn=0.85, recall_new=0),
    ]
    found = choose_network(rows, config)
    assert found is not None
    assert found.method == chosen


def test_without_labels_the_neighbors_of_new_videos_decide():
    config = CompressConfig(min_recall=0.8)
    rows = [row("original", 1.0), row("a", 2.0, recall=0.1, recall_new=0.8), row("b", 3.0, recall_new=0.79)]
    found = choose_network(rows, config)
    assert found is not None
    assert found.method == "a"


def test_a_network_that_is_not_faster_is_never_chosen():
    config = CompressConfig(min_recall=0)
    assert choose_network([row("original", 1.0), row("a", 1.0), row("b", 0.5)], config) is None
    assert choose_network([row("original", 1.0)], config) is None


def make_networks(monkeypatch, config: CompressConfig) -> tuple[CompressedNetworks, list]:
    loaded: list = []

    def load(weights, px):
        if px == 40:
            raise RuntimeError("too small")
        loaded.append(px)
        return SimpleNamespace(network=f"net{px}")

    monkeypatch.setattr(networks_module, "load_backbone", load)
    monkeypatch.setattr(networks_module, "prune_channels", lambda network, config: f"pruned {network}")
    monkeypatch.setattr(networks_module, "to_onnx", lambda network, px: f"{network}@{px}".encode())
    monkeypatch.setattr(networks_module, "dynamic_int8", lambda onnx: onnx + b" dynamic")
    monkeypatch.setattr(
        networks_module,
        "static_int8",
        lambda onnx, pictures, config: onnx + f" static{len(pictures)}".encode(),
    )
    result = SimpleNamespace(best_loss=0.25, stopped=None)
    monkeypatch.setattr(networks_module, "distill", lambda network, px, *rest, **more: result)
    videos = np.repeat(np.arange(10), 2)
    dataset: Any = SimpleNamespace(
        clips=lambda px: clips(2, frames=3),
        distillation_pictures=lambda: DistillationPictures(np.zeros((20, 2, 2, 3), np.uint8), videos),
    )
    cnn = CnnEncoderConfig(frame_px=64)
    return CompressedNetworks(cnn, lambda pictures: None, dataset, config), loaded  # type: ignore[arg-type, return-value]


def test_each_method_is_its_network_at_its_size_rounded_as_its_name_says(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "vrec")
    config = load_settings(overrides=["compress.student.frame_px=32"]).compress
    networks, loaded = make_networks(monkeypatch, config)
    found = {method: networks.make(method) for method in METHOD_STEPS}
    assert found == {
        "dynamic": (b"net64@64 dynamic", 64),
        "static": (b"net64@64 static6", 64),
        "pruned": (b"pruned net64@64", 64),
        "pruned_static": (b"pruned net64@64 static6", 64),
        "smaller": (b"net32@32", 32),
        "smaller_static": (b"net32@32 static6", 32),
        "student": (b"net32@32", 32),
        "student_static": (b"net32@32 static6", 32),
    }
    assert loaded == [64, 64, 32, 32], "each network is made once"
    learned = [r.message.partition(":")[0] for r in caplog.records]
    assert learned == ["pruned", "student"], "those that learn"


def test_only_methods_that_learn_hold_videos_out(monkeypatch):
    networks, _ = make_networks(monkeypatch, CompressConfig())
    assert networks.held_out_count == 0
    for method, (variant, _) in METHOD_STEPS.items():
        assert (networks.held_out_rows(method) is None) is (variant in {"whole", "smaller"})
    rows = networks.held_out_rows("student")
    assert rows is not None
    assert len(rows) == networks.held_out_count > 0
    assert set(rows.tolist()) < set(range(10))


@pytest.mark.parametrize(("px", "words"), [(64, "not below the network's own 64"), (40, "too small")])
def test_a_network_that_cannot_be_made_fails_each_time_it_is_asked_for(monkeypatch, px, words):
    config = load_settings(overrides=[f"compress.student.frame_px={px}"]).compress
    networks, _ = make_networks(monkeypatch, config)
    for method in ("smaller", "smaller_static", "student"):
        with pytest.raises(CompressError, match=words):
            networks.make(method)  # type: ignore[arg-type]
    assert networks.make("dynamic")[1] == 64


def test_vectors_are_those_of_all_blocks_in_order(clock):
    encoder: Any = Encoder(clock, 0.0)
    some = clips(70)
    vectors = CompressionTarget(encoder.config).vectors(encoder, some)
    assert vectors.shape == (70, 2)
    np.testing.assert_allclose(vectors[:, 0], np.cos(np.arange(70)), atol=1e-6)
    assert [len(ids) for ids in encoder.seen] == [32, 32, 6]


def test_nothing_or_something_compressed_is_no_target():
    with pytest.raises(ConfigError, match="nothing to compress"):
        compression_target(load_settings(overrides=["embed.encoders.frames=null"]))
    again = load_settings(overrides=["embed.encoders.frames.weights=compressed:/x"])
    with pytest.raises(ConfigError, match="is compressed already"):
        compression_target(again)
    target = compression_target(load_settings())
    assert target == replace(target, artifact=None, head=None)


def test_only_a_learned_fusion_is_lost():
    assert incompatible_fusion(load_settings()) is None
    assert incompatible_fusion(load_settings(overrides=["embed.encoders.fusion=null"])) is None
    learned = load_settings(overrides=["embed.encoders.fusion={kind: learned, model: /head}"])
    assert incompatible_fusion(learned) == "/head"
