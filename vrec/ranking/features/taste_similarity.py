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
        self.catalog, self.tastes = catalog, tastes
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
        cosines, tags = np.full((3, len(video)), np.nan), np.zeros(len(video))
        for i in range(len(self.tastes)):
            own, liked = slice(edges[i], edges[i + 1]), rows[starts[i] : starts[i + 1]]
            if self.tastes.shape[1]:
                self._cosines(i, video[own], liked, cosines[:, own])
            if len(liked):
                tags[own] = self._tag_share(video[own], liked)
        if self.tastes.shape[1]:
            np.copyto(cosines, np.nan, where=~self.catalog.has_vector.take(video))
        names = ("taste_cosine", "liked_cosine_max", "liked_cosine_mean")
        return {**dict(zip(names, cosines, strict=True)), "tags_affinity": tags}

    def _cosines(self, i: int, candidates: Indices, liked: Indices, into: Doubles) -> None:
        """Write the (3, C) cosines of one request into `into`, in place, as if all candidates had vectors."""
        vectors, liked = self.catalog.arrays.vectors, liked[self.catalog.has_vector[liked]]
        count = len(liked)
        self.without_vector[i] = not count
        if not count and not self.has_taste[i]:
            return
        # All products and their sums are exact, see ROUNDING_GRID: so the history may be summed before.
        sides = np.empty((count + 2, vectors.shape[1]))
        sides[:count] = vectors.take(liked, axis=0)
        sides[:count].sum(axis=0, out=sides[count])
        sides[count + 1] = self.tastes[i]
        products = sides @ vectors.take(candidates, axis=0).astype(np.float64).T
        if self.has_taste[i]:
            into[0] = products[count + 1]
        if count:
            products[:count].max(axis=0, out=into[1])
            # The mean over entries with a vector; the others have no cosine.
            np.divide(products[count], count, out=into[2])

    def _tag_share(self, candidates: Indices, liked: Indices) -> Doubles:
        """Return (C,) mean over a candidate's known tags of the share of the history with the tag, else 0."""
        catalog, tags = self.catalog, self.catalog.arrays.tags.take(candidates, axis=0)
        count_by_tag = np.bincount(
            catalog.arrays.tags.take(liked, axis=0).ravel(), minlength=int(tags.max(initial=0)) + 1
        ).astype(np.float64)
        count_by_tag[0] = 0
        counted = count_by_tag.take(tags) @ np.ones(tags.shape[1])
        return counted / (catalog.tag_counts.take(candidates) * len(liked))
