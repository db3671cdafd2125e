"""A network with fewer channels: real smaller tensors, not masks.

What is taken are channels within inverted residual blocks (Sandler et al. 2018), those between the
convolution that widens and the one that narrows again: no other layer sees them. They hold most of the
products of the networks that use them (MobileNet, EfficientNet and their kin).
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
    """How many channels go."""

    share: float = Field(default=0.3, ge=0, lt=1)
    """Share of each block's inner channels that is taken out."""
    multiple: int = Field(default=8, ge=1)
    """The channels kept are a multiple of this, as processors multiply several at once."""


@dataclass(frozen=True, slots=True)
class InvertedResidualBlock:
    """The layers that see a block's inner channels, in their order."""

    widen: "nn.Conv2d"
    first: "nn.BatchNorm2d"
    depthwise: "nn.Conv2d"
    second: "nn.BatchNorm2d"
    narrow: "nn.Conv2d"


def prune_channels(network: "nn.Module", config: PruneConfig) -> "nn.Module":
    """A copy of a network without the inner channels that its blocks miss least.

    Of each block those channels go whose way through it weighs least: the length of their weights in the last
    convolution, times the scale that the norm before it gives them (Liu et al. 2017). What is left is to be
    fine-tuned. Raises CompressError for a network without such blocks.
    """
    small = copy.deepcopy(network)
    found = inverted_residual_blocks(small)
    if not found:
        raise CompressError(
            "this network has no inverted residual blocks (1×1, depthwise, 1×1), of which channels are taken",
            fix="leave `pruned` out of compress.methods, or compress efficientnet_lite0",
        )
    for block in found:
        _shrink(block, config)
    return small


def inverted_residual_blocks(network: "nn.Module") -> list[InvertedResidualBlock]:
    """The inverted residual blocks of a network, known by layers that follow each other and their sizes."""
    from torch import nn

    layers: list[Any] = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    found = []
    for at in range(len(layers) - 4):
        part = layers[at : at + 5]
        kinds = [isinstance(layer, nn.Conv2d) for layer in part]
        if kinds == [True, False, True, False, True] and _is_block(InvertedResidualBlock(*part)):
            found.append(InvertedResidualBlock(*part))
    return found


def channel_importance(block: InvertedResidualBlock) -> "Tensor":
    """(channels,) float: how much each inner channel can add to what the block gives."""
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
    """How many numbers a network has learned."""
    return sum(weights.numel() for weights in network.parameters())
