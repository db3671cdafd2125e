"""Settings for the replicas of the service."""

from typing import Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig


class ReplicasConfig(BaseConfig):
    """Replicas of each deployment and the resources that Ray reserves for them."""

    api: int = Field(default=1, ge=1)
    """HTTP replicas."""
    ranking: int = Field(default=1, ge=0)
    """Ranking replicas; with `ranking_most`, their minimum. With 0, each HTTP replica ranks in its own
    process, which saves a call per request on machines with few cores; but a ranking that hangs or dies takes
    its HTTP replica with it, and both scale together."""
    ranking_most: int | None = Field(default=None, ge=1)
    """Maximum number of ranking replicas under autoscaling; null keeps `ranking` replicas."""
    shards: int = Field(default=0, ge=0, le=256)
    """Parts of the catalog of the service's own shop (not of tenants), each in replicas of its own; 0 keeps
    it whole in each ranking replica, or leaves the number to `serve.shard_above`."""
    shard_copies: int = Field(default=2, ge=1)
    """Replicas of each part."""
    profiles: int = Field(default=1, ge=1)
    """Profile replicas; the embedded store allows one."""
    encoder: int = Field(default=1, ge=0)
    """Replicas that embed uploads and search texts; with 0, uploads are refused and search is by words."""
    api_most: int | None = Field(default=None, ge=1)
    """Maximum number of HTTP replicas under autoscaling; null keeps `api` replicas."""
    profiles_most: int | None = Field(default=None, ge=1)
    """Maximum number of profile replicas under autoscaling; null keeps `profiles` replicas."""
    encoder_most: int | None = Field(default=None, ge=1)
    """Maximum number of encoder replicas under autoscaling; null keeps `encoder` replicas."""
    shard_cpus: float = Field(default=0.5, ge=0)
    """CPUs reserved for each replica of a part of the catalog."""
    api_cpus: float = Field(default=0.2, ge=0)
    """CPUs reserved for each HTTP replica."""
    ranking_cpus: float = Field(default=0.5, ge=0)
    """CPUs reserved for each ranking replica."""
    profiles_cpus: float = Field(default=0.2, ge=0)
    """CPUs reserved for each profile replica."""
    encoder_cpus: float = Field(default=0.2, ge=0)
    """CPUs reserved for each encoder replica."""
    follower_cpus: float = Field(default=0.2, ge=0)
    """CPUs reserved for each process that follows the content of live streams. It steps back for all others
    (nice 19), whatever is reserved."""
    encoder_gpus: float = Field(default=0.0, ge=0, le=8)
    """GPUs for each encoder replica; 0 embeds on CPUs."""

    @model_validator(mode="after")
    def _check_shards(self) -> Self:
        if self.shards and not self.ranking:
            raise ValueError("shards need ranking replicas: set ranking to 1 or more, or shards to 0")
        return self

    @model_validator(mode="after")
    def _check_ranking_replicas(self) -> Self:
        if not self.ranking and self.ranking_most is not None:
            raise ValueError("ranking_most needs ranking replicas: set ranking to 1 or more, or leave it out")
        return self
