"""Settings for `vrec fit` and `vrec recommend`."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Modality


class FitConfig(BaseConfig):
    """Settings for fitting recommenders and recommending in batches."""

    modality: Modality = "fused"
    """Modality of the embeddings that content-based recommenders use."""
    cpus: float = Field(default=1.0, ge=0)
    """CPUs that Ray reserves for one fit."""
    gpus: float = Field(default=0.0, ge=0, le=8)
    """GPUs that Ray reserves for one fit; neural models use a GPU that they see."""
    local_interactions: int = Field(default=1_000_000, ge=0)
    """Interactions up to which `vrec fit` and `vrec evaluate` fit in their own process where no `--address`
    is given; larger fits, or ones that ask for GPUs or blocks as tasks, run on Ray, whose start takes several
    seconds. 0 means always on Ray."""
    blocks: Literal["auto", "threads", "tasks"] = "auto"
    """Computation of neighbor blocks: by threads of the fit's process, or by Ray tasks over the cluster.
    `auto` uses tasks on a cluster of more than one node."""
    shard_users: int = Field(default=20_000, ge=1)
    """Users per task, and per file of recommendations."""
