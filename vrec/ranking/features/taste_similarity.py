"""How like candidates are to what a shopper likes, in content vectors and in tags."""

from collections.abc import Sequence

import numpy as np

from vrec.ranking.features.arrays import Indices
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.video_counts import Doubles


class TasteSimilarity:
    """How like candidates are to tastes and histories, in vectors and in tags."""

    def __init__(self, catalog: CatalogFeatures, tastes: Doubles) -> None:
        self.vectors, self.tags = catalog.arrays.vectors, catalog.arrays.tags
        self.tastes = tastes
        self.has_taste = np.asarray(tastes.any(axis=1), bool)
        self.without_vector = np.ones(len(tastes), bool)

    def columns(
        self, video: Indices, edges: Sequence[int], rows: Indices, starts: Sequence[int]
    ) -> dict[str, Doubles]:
        """(N,) columns; candidates of request i are video[edges[i]:edges[i + 1]], likewise its history."""
        names = ("taste_cosine", "liked_cosine_max", "liked_cosine_mean")
        found = {name: np.full(len(video), np.nan) for name in names} | {
            "tags_affinity": np.zeros(len(video))
        }
        for i in range(len(self.tastes)):
            part, liked = slice(edges[i], edges[i + 1]), rows[starts[i] : starts[i + 1]]
            if self.tastes.shape[1]:
                self._cosines(i, video[part], liked, [found[name][part] for name in names])
            if len(liked):
                found["tags_affinity"][part] = self._tag_share(video[part], liked)
        return found

    def _cosines(self, i: int, candidates: Indices, liked: Indices, into: Sequence[Doubles]) -> None:
        wanted = self.vectors[candidates].astype(np.float64)
        there = wanted.any(axis=1)
        if self.has_taste[i]:
            into[0][there] = (wanted @ self.tastes[i])[there]
        known = self.vectors[liked].astype(np.float64)
        known = known[known.any(axis=1)]
        self.without_vector[i] = not len(known)
        if len(known):
            cosines = wanted @ known.T
            into[1][there] = cosines.max(axis=1)[there]
            into[2][there] = (cosines.sum(axis=1) / len(known))[there]

    def _tag_share(self, candidates: Indices, liked: Indices) -> Doubles:
        """(C,) of each candidate's known tags the mean share of the history that has them; 0 without tags."""
        having = np.bincount(self.tags[liked].ravel(), minlength=1)
        having[0] = 0
        tags = self.tags[candidates]
        having = np.pad(having, (0, max(0, int(tags.max(initial=0)) + 1 - len(having))))
        known = np.maximum((tags > 0).sum(axis=1), 1)
        return having[tags].sum(axis=1) / (known * len(liked))
