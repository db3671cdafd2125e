"""Shared settings of training, the device they select, and seeded randomness."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError


class TrainingConfig(BaseConfig):
    """Settings that the training of all networks shares."""

    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Step size of Adam; halve it where the loss is not finite, or jumps."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, the order of batches, dropout and all other random draws."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Device on which the network is trained and scores: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` is CUDA where
    there is such a GPU, else the CPU. Fits repeat bit for bit on a CPU, and nearly so on a GPU."""


def torch_device(name: str) -> torch.device:
    """Return the device that a `device` setting names.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name}, but this machine has {torch.cuda.device_count()} CUDA GPUs",
            fix="use device=auto, or the number of a GPU that this machine has",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device is {name}, but this machine has no such GPU", fix="use device=auto")
    return device


@contextmanager
def seeded_rng(seed: int) -> Iterator[np.random.Generator]:
    """Yield a generator seeded by `seed`, with torch seeded too; restore torch's state afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield np.random.default_rng(seed)
