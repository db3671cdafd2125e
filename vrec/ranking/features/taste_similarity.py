"""Similarity of candidates to the taste and history of a user, in content vectors and tags."""

from collections.abc import Sequence

import numpy as np

from vrec.ranking.features.arrays import Indices
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.video_counts import Doubles


class TasteSimilarity:
    """Similarities of candidates to the tastes and histories of R users."""

    def __init__(self, catalog: CatalogFeatures, tastes: Doubles) -> None:
        """Take (R, dim) unit taste vectors, zeros for a user without one."""
        self.vectors, self.tags = catalog.arrays.vectors, catalog.arrays.tags
        self.tastes = tastes
        self.has_taste = np.asarray(tastes.any(axis=1), bool)
        self.without_vector = np.ones(len(tastes), bool)
        """(R,) whether no video of the history has a vector; set by `columns`."""

    def columns(
        self, video: Indices, edges: Sequence[int], rows: Indices, starts: Sequence[int]
    ) -> dict[str, Doubles]:
        """Return (N,) columns by name; a cosine is NaN where either side has no vector.

        Args:
            video: (N,) catalog rows of all candidates.
            edges: (R + 1,) bounds: the candidates of request i are `video[edges[i]:edges[i + 1]]`.
            rows: (H,) catalog rows of all history entries.
            starts: (R + 1,) bounds of the histories in `rows`.
        """
        names = ("taste_cosine", "liked_cosine_max", "liked_cosine_mean")
        columns = {name: np.full(len(video), np.nan) for name in names} | {
            "tags_affinity": np.zeros(len(video))
        }
        for i in range(len(self.tastes)):
            own, liked = slice(edges[i], edges[i + 1]), rows[starts[i] : starts[i + 1]]
            if self.tastes.shape[1]:
                self._cosines(i, video[own], liked, [columns[name][own] for name in names])
            if len(liked):
                columns["tags_affinity"][own] = self._tag_share(video[own], liked)
        return columns

    def _cosines(self, i: int, candidates: Indices, liked: Indices, into: Sequence[Doubles]) -> None:
        """Write the cosines of one request into the views `into`, in place."""
        vectors = self.vectors[candidates].astype(np.float64)
        has_vector = vectors.any(axis=1)
        if self.has_taste[i]:
            into[0][has_vector] = (vectors @ self.tastes[i])[has_vector]
        liked_vectors = self.vectors[liked].astype(np.float64)
        liked_vectors = liked_vectors[liked_vectors.any(axis=1)]
        self.without_vector[i] = not len(liked_vectors)
        if len(liked_vectors):
            cosines = vectors @ liked_vectors.T
            into[1][has_vector] = cosines.max(axis=1)[has_vector]
            # The mean over entries with a vector; the others have no cosine.
            into[2][has_vector] = (cosines.sum(axis=1) / len(liked_vectors))[has_vector]

    def _tag_share(self, candidates: Indices, liked: Indices) -> Doubles:
        """Return (C,) mean over a candidate's known tags of the share of the history with the tag, else 0."""
        count_by_tag = np.bincount(self.tags[liked].ravel(), minlength=1)
        count_by_tag[0] = 0
        tags = self.tags[candidates]
        count_by_tag = np.pad(count_by_tag, (0, max(0, int(tags.max(initial=0)) + 1 - len(count_by_tag))))
        known = np.maximum((tags > 0).sum(axis=1), 1)
        return count_by_tag[tags].sum(axis=1) / (known * len(liked))
