"""Settings for `vrec bundle`."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.ranking.config import NeighborRankerConfig
from vrec.retrieval.config import PopularConfig
from vrec.retrieval.index.config import IndexConfig


class BundleConfig(BaseConfig):
    """Settings for the contents of a bundle."""

    neighbours: int = Field(default=60, ge=1)
    """Number of neighbors per video, the recommender's best; each takes 8 bytes on disk and in memory."""
    popular: int = Field(default=500, ge=1)
    """Length of the list of popular videos, for unknown users and as a baseline."""
    popularity: PopularConfig = Field(default_factory=PopularConfig)
    """Popularity of videos."""
    index: IndexConfig = Field(default_factory=IndexConfig)
    """Index of the fused embeddings."""
    neighbor_ranker: NeighborRankerConfig = Field(default_factory=NeighborRankerConfig)
    """Ranker of a bundle without a trained one: in the recommender's order."""
    smoke_requests: int = Field(default=16, ge=1)
    """Number of made-up requests whose answers the bundle stores; a service must give the same answers before
    it serves the bundle."""
    hold_back: tuple[Literal["copies", "suspicious"], ...] = ()
    """Videos whose content earns them nothing: `copies`, the later ones of near-duplicates, and `suspicious`
    ones, as `vrec embed` found them. They have no vector in the bundle, and a copy the publishing date of the
    first, so that it is not new; what shoppers do still counts. `vrec fit` reads it too, and counts no
    embedding of theirs. Empty, the default, only notes them."""
    fingerprints: bool = False
    """Whether the bundle has the fingerprints of its videos, by which the service tells whether an uploaded
    one is a copy (`serve.security.copies`); about 3 kB per video on disk, and in the memory of each
    encoder."""
