"""Settings of the recommender of creators. Imports no numerical library."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.retrieval.config import GraphFilterConfig

Auto = Literal["auto"]


class CreatorsConfig(BaseConfig):
    """Settings of the recommender of creators."""

    regularization: float = Field(default=60.0, gt=0)
    """λ of the linear part; higher values rely on frequent pairs of creators only."""
    graph: GraphFilterConfig = Field(default_factory=GraphFilterConfig)
    """Settings of the graph filter."""
    graph_weight: Auto | float = "auto"
    """Weight of the graph filter beside the linear part, both standardized; `auto` chooses it in the fit by
    held-out interactions, one for shoppers with few creators and one for the others."""
    friends_weight: Auto | float = "auto"
    """Weight of what friends watch, likewise; 0 leaves friends off, and so does `auto` where it is not clear
    that they help."""
    few: int = Field(default=5, ge=0)
    """Number of creators in a history up to which it is a short one."""
    max_users: int = Field(default=20_000, ge=1)
    """Maximum number of shoppers that can be fitted: memory grows with its square, time with its cube."""
    seed: int = Field(default=0, ge=0)
    """Seed of what is held out for the choice."""
