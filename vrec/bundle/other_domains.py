"""Other domains in a bundle: the weight of their histories, and videos that only a fit knows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.retrieval.models.hybrid import HybridRecommender


@dataclass(frozen=True, slots=True)
class OtherDomains:
    """Domains besides the shop's that a recommender was fitted on; none for most recommenders."""

    factors: Mapping[str, float] = field(default_factory=dict)
    """Factor on what is watched in each of them, by ascending name; 0 where it does not pay."""
    videos: tuple[str, ...] = ()
    """Their videos with neighbors in the shop that are not in VIDEOS, ascending."""

    @classmethod
    def from_recommender(cls, recommender: MatrixRecommender | None, video_ids: Sequence[str]) -> Self:
        """Return what a recommender knows besides the videos of VIDEOS."""
        if isinstance(recommender, HybridRecommender) and recommender.single is not None:
            recommender = recommender.panel.members[recommender.single]
        if not isinstance(recommender, CrossDomain):
            return cls()
        factors = recommender.history_factors()
        has_neighbors = np.diff(recommender.similarities.indptr) > 0
        ids = recommender.videos.ids
        known = [
            name
            for domain, factor in factors.items()
            if factor
            for name in ids.filter(pa.array(recommender.videos_of(domain) & has_neighbors)).to_pylist()
        ]
        return cls(dict(sorted(factors.items())), tuple(sorted(set(known) - set(video_ids))))

    def without(self, videos: pa.Table) -> pa.Table:
        """Return the rows of VIDEOS that are of none of the domains."""
        other = pc.is_in(videos.column("domain"), value_set=pa.array(self.factors, pa.string()))
        return videos.filter(pc.invert(other))
