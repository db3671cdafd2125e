"""Backbones: normalization and pooling are in the network, weights are told apart."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from vrec.compression.network import CompressedNetworkInfo, network_info, save_network
from vrec.core.errors import ConfigError, ModelError
from vrec.encoders.backbone import LITE0, load_backbone, weights_digest

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.2, 0.1)


class Maps(nn.Module):
    """(N, 3, S, S) to itself: feature maps, of which the spatial mean is taken."""

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return planes


class Corner(nn.Module):
    """(N, 3, S, S) to (N, 3, 1): a vector with one more axis."""

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        return planes[:, :, 0, :1]


@pytest.fixture
def fake_timm(monkeypatch):
    """A hub that knows `maps` and `corner`, and records what it is asked."""
    timm, data, asked = ModuleType("timm"), ModuleType("timm.data"), []
    timm.__spec__ = importlib.util.spec_from_loader("timm", None)
    timm.is_model = lambda name: name in ("maps", "corner")

    def create_model(name, **given):
        asked.append(given)
        return Maps() if name == "maps" else Corner()

    timm.create_model = create_model
    data.resolve_model_data_config = lambda _: {"mean": MEAN, "std": STD}
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setitem(sys.modules, "timm.data", data)
    return asked


@pytest.mark.parametrize("name", ["maps", "corner"])
def test_pictures_are_normalized_per_channel_and_pooled_over_space(name, fake_timm):
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    backbone = load_backbone(f"timm:{name}", 8)
    assert (backbone.dim, backbone.frame_px, backbone.network.training) == (3, 8, False)
    scaled = (frames / 255 - MEAN) / STD
    wanted = scaled.mean((1, 2)) if name == "maps" else scaled[:, 0, 0]
    assert np.allclose(backbone.network(torch.from_numpy(frames)).numpy(), wanted, atol=1e-5)
    assert fake_timm == [{"pretrained": True, "num_classes": 0}]


def test_a_model_that_timm_does_not_know_is_refused(fake_timm):
    with pytest.raises(ConfigError, match="timm:nothing: timm has no such model") as caught:
        load_backbone("timm:nothing", 8)
    assert "list_models" in caught.value.fix
    assert not fake_timm


def test_compressed_and_unknown_weights_are_refused():
    with pytest.raises(ConfigError, match="compressed:x is already compressed") as caught:
        load_backbone("compressed:x", 224)
    assert "made from" in caught.value.fix
    with pytest.raises(ConfigError, match="other:x: unknown weights"):
        load_backbone("other:x", 224)


def test_weights_are_identified_by_file_library_or_folder(tmp_path):
    assert len(weights_digest(LITE0)) == 64
    assert weights_digest("torchvision:resnet18").startswith("torchvision:resnet18 by torchvision ")
    info = CompressedNetworkInfo("static", 160, 8, "openvino", True, LITE0)
    save_network(str(tmp_path / "made"), b"graph", info)
    assert weights_digest(f"compressed:{tmp_path}/made") == network_info(str(tmp_path / "made"))[0]
    with pytest.raises(ModelError):
        weights_digest(f"compressed:{tmp_path}/nowhere")
    with pytest.raises(ConfigError, match="nolibrary:x needs the package nolibrary") as caught:
        weights_digest("nolibrary:x")
    assert caught.value.fix == "pip install nolibrary"
