"""Structured pruning of channels: smaller tensors, not masks.

Only the inner channels of inverted residual blocks (Sandler et al. 2018) are removed, those between the
convolution that expands and the one that projects: no other layer sees them. They account for most of the
operations of the networks that have such blocks (MobileNet, EfficientNet and others).
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import CompressError

if TYPE_CHECKING:
    from torch import Tensor, nn


class PruneConfig(BaseConfig):
    """Settings of pruning."""

    share: float = Field(default=0.3, ge=0, lt=1)
    """Share of the inner channels of each block that is removed."""
    multiple: int = Field(default=8, ge=1)
    """The number of remaining channels is a multiple of this, since processors multiply several at once."""


@dataclass(frozen=True, slots=True)
class InvertedResidualBlock:
    """Layers of a block that see its inner channels, in their order."""

    widen: "nn.Conv2d"
    first: "nn.BatchNorm2d"
    depthwise: "nn.Conv2d"
    second: "nn.BatchNorm2d"
    narrow: "nn.Conv2d"


def prune_channels(network: "nn.Module", config: PruneConfig) -> "nn.Module":
    """Return a copy of a network without the least important inner channels of its blocks.

    The importance of a channel is `channel_importance`. The result is to be fine-tuned.

    Raises:
        CompressError: The network has no inverted residual blocks.
    """
    small = copy.deepcopy(network)
    blocks = inverted_residual_blocks(small)
    if not blocks:
        raise CompressError(
            "this network has no inverted residual blocks (1×1, depthwise, 1×1) to prune",
            fix="leave `pruned` and `pruned_static` out of compress.methods, or compress efficientnet_lite0",
        )
    for block in blocks:
        _shrink(block, config)
    return small


def inverted_residual_blocks(network: "nn.Module") -> list[InvertedResidualBlock]:
    """Return the inverted residual blocks of a network, recognized by consecutive layers and their sizes."""
    from torch import nn

    layers: list[Any] = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    blocks = []
    for start in range(len(layers) - 4):
        window = layers[start : start + 5]
        is_conv = [isinstance(layer, nn.Conv2d) for layer in window]
        if is_conv == [True, False, True, False, True] and _is_block(InvertedResidualBlock(*window)):
            blocks.append(InvertedResidualBlock(*window))
    return blocks


def channel_importance(block: InvertedResidualBlock) -> "Tensor":
    """Return the importance, (channels,), of each inner channel of a block.

    It is the norm of the channel's weights in the last convolution, times its scale in the batch norm before
    that (Liu et al. 2017).
    """
    weights = block.narrow.weight.detach()  # (out, channels, 1, 1)
    return weights.flatten(2).norm(dim=(0, 2)) * block.second.weight.detach().abs()


def _is_block(block: InvertedResidualBlock) -> bool:
    inner = block.depthwise.in_channels
    return (
        block.widen.kernel_size == (1, 1)
        and block.widen.groups == 1
        and block.widen.out_channels == inner > block.widen.in_channels
        and block.depthwise.groups == block.depthwise.out_channels == inner
        and block.first.num_features == block.second.num_features == inner
        and block.narrow.kernel_size == (1, 1)
        and block.narrow.groups == 1
        and block.narrow.in_channels == inner
    )


def _shrink(block: InvertedResidualBlock, config: PruneConfig) -> None:
    total, step = block.depthwise.in_channels, config.multiple
    count = min(total, max(step, round(total * (1 - config.share) / step) * step))
    keep = channel_importance(block).argsort(descending=True)[:count].sort().values
    _take(block.widen, "weight", keep, 0)
    _take(block.depthwise, "weight", keep, 0)
    _take(block.narrow, "weight", keep, 1)
    for layer in (block.widen, block.depthwise):
        if layer.bias is not None:
            _take(layer, "bias", keep, 0)
        layer.out_channels = count
    for norm in (block.first, block.second):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _take(norm, name, keep, 0)
        norm.num_features = count
    block.depthwise.in_channels = block.depthwise.groups = block.narrow.in_channels = count


def _take(layer: "nn.Module", name: str, keep: "Tensor", axis: int) -> None:
    from torch import nn

    before = getattr(layer, name)
    after = before.detach().index_select(axis, keep).clone()
    setattr(layer, name, nn.Parameter(after) if isinstance(before, nn.Parameter) else after)


def count_parameters(network: "nn.Module") -> int:
    """Return the number of parameters of a network."""
    return sum(weights.numel() for weights in network.parameters())
