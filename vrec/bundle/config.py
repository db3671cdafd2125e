"""What `vrec bundle` can be told."""

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.retrieval.index.index import IndexConfig
from vrec.retrieval.models.popular import PopularConfig


class BundleConfig(BaseConfig):
    """What a bundle holds of each kind."""

    neighbours: int = Field(default=60, ge=1)
    """Neighbours kept of each video, the best by the recommender: 8 bytes each, on disk and in memory."""
    popular: int = Field(default=500, ge=1)
    """Videos in the list of popular ones, which strangers and comparisons get."""
    popularity: PopularConfig = Field(default_factory=PopularConfig)
    """How popularity is counted."""
    index: IndexConfig = Field(default_factory=IndexConfig)
    """How the nearest vectors are searched."""
    canaries: int = Field(default=16, ge=1)
    """Made-up requests whose answers are kept, for a service to compare its own with before it serves."""
