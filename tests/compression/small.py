"""A small network of the kind that is compressed, and pictures for it."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from vrec.compression.export import to_onnx

PX = 32
"""Pixels a side that the network takes."""


class SmallNetwork(nn.Module):
    """(N, S, S, 3) uint8 to (N, 16) float32: a stem, then blocks of 48 and 64 inner channels."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.blocks = nn.Sequential(_block(8, 48, 12), _block(12, 64, 16))
        # So that features are of the pictures, and not nearly the same for all.
        _set_norms(self, pictures(64, seed=9))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        planes = pictures.permute(0, 3, 1, 2).to(self.stem.weight.dtype) / 128 - 1
        return self.blocks(self.stem(planes)).mean((2, 3))


@cache
def small_graph() -> bytes:
    """The small network as ONNX, which takes seconds to write."""
    return to_onnx(SmallNetwork(), PX)


def _set_norms(network: nn.Module, given: np.ndarray) -> None:
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    network.train()
    features(network, given)
    network.eval()
    for norm in norms:
        norm.momentum = 0.1


def _block(given: int, inner: int, out: int) -> nn.Sequential:
    block = nn.Sequential(
        nn.Conv2d(given, inner, 1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU6(),
        nn.Conv2d(inner, inner, 3, stride=2, padding=1, groups=inner, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU6(),
        nn.Conv2d(inner, out, 1, bias=False),
        nn.BatchNorm2d(out),
    )
    for part in block:
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.5)
    return block


def pictures(count: int, px: int = PX, seed: int = 0) -> np.ndarray:
    """(count, px, px, 3) uint8: smooth blots of colour, no two alike."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.uniform(0, 255, (count, 3, 4, 4)))
    smooth = nn.functional.interpolate(coarse, (px, px), mode="bicubic").clamp(0, 255)
    return smooth.permute(0, 2, 3, 1).numpy().astype(np.uint8)


def features(network: nn.Module, given: np.ndarray) -> np.ndarray:
    """(N, dim) float32: what a network gives for pictures."""
    with torch.no_grad():
        return network(torch.from_numpy(given)).numpy()


def missed(found: np.ndarray, wanted: np.ndarray) -> float:
    """Share of the variance of what is wanted that is missed."""
    centred: Any = wanted - wanted.mean(axis=0)
    return float(((found - wanted) ** 2).sum() / (centred**2).sum())
