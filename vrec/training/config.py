"""Settings that the training of all networks shares. Imports no torch."""

from pydantic import Field

from vrec.core.config import BaseConfig


class TrainingConfig(BaseConfig):
    """Settings that the training of all networks shares."""

    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    """Step size of Adam; halve it where the loss is not finite, or jumps."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial weights, the order of batches, dropout and all other random draws."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """Device on which the network is trained and scores: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` is CUDA where
    there is such a GPU, else the CPU. Fits repeat bit for bit on a CPU, and nearly so on a GPU."""
