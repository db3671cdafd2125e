"""Settings of the workers that train a network, and their resources."""

from pydantic import Field

from vrec.core.config import BaseConfig


class WorkersConfig(BaseConfig):
    """Settings of distributed training."""

    workers: int | None = Field(default=None, ge=1)
    """Workers that train at the same time, each on its share of every batch. By default one per GPU share
    where `gpus_per_worker` is above 0, else 1: on CPUs a second worker is faster for large networks only."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """CPUs that Ray reserves per worker."""
    gpus_per_worker: float = Field(default=0.0, ge=0, le=8)
    """GPUs that Ray reserves per worker; 0 trains on CPUs."""
    failures: int = Field(default=2, ge=0)
    """Number of times that training resumes from its last epoch after a worker or its machine was lost."""
