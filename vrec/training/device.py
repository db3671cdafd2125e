"""Selection of the device of a network, and seeded randomness."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from vrec.core.errors import ConfigError


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
