"""Settings of training that all networks share, the device they mean, and randomness by a seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError


class TrainingConfig(BaseConfig):
    """What all networks' training has in common."""

    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Adam's step size; halve it where the loss is not a number, or jumps."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first weights, the order of batches, dropout and all else that is drawn."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Where the network is trained and scores: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` is CUDA where there is
    a GPU for it, and the CPU elsewhere. Fits repeat bit for bit on a CPU, and nearly so on a GPU."""


def torch_device(name: str) -> torch.device:
    """The device that a `device` setting means; raises ConfigError where this machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device is {name}, but this machine has {torch.cuda.device_count()} CUDA GPUs")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device is {name}, but this machine has no such GPU")
    return device


@contextmanager
def seeded_rng(seed: int) -> Iterator[np.random.Generator]:
    """A generator for what NumPy draws; within, torch draws by `seed` too. The caller's state is kept."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield np.random.default_rng(seed)
