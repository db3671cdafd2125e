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
    wait_s: float = Field(default=900.0, gt=0, allow_inf_nan=False)
    """Seconds for which training waits for CPUs and GPUs of all its workers, at its start and after a
    machine was lost; then it ends. The default leaves an autoscaling cluster time to start machines."""


WORKER_FIELDS = frozenset(WorkersConfig.model_fields)
"""Settings that say how a network is trained and not which: runs that differ in them share checkpoints."""
