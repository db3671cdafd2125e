"""On how many workers a network is trained, and what each gets."""

from pydantic import Field

from vrec.core.config import BaseConfig


class WorkersConfig(BaseConfig):
    """How training is spread over a cluster."""

    workers: int | None = Field(default=None, ge=1)
    """Workers that train at the same time, each on its share of every batch; by default one a GPU share
    where `gpus_per_worker` asks for some, else 1: on a CPU a second one pays for large networks only."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """CPUs that Ray sets aside for one worker."""
    gpus_per_worker: float = Field(default=0.0, ge=0, le=8)
    """GPUs that Ray sets aside for one worker; 0 trains on CPUs."""
    failures: int = Field(default=2, ge=0)
    """Times that training goes on from its last epoch after a worker or its machine was lost."""
