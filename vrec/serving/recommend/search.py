"""Text search by words (BM25) and by meaning (text vectors)."""

from collections.abc import Mapping
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.core.types import Vectors
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.columns import concat_videos
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.catalog.updates import change_vector
from vrec.serving.messages import CatalogChange, ListItem
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.rank_fusion import fuse_ranks, fusion_depth


class TextSearch:
    """Immutable text search over a bundle's and changed videos."""

    def __init__(self, words: Bm25Index, texts: pa.Table | None) -> None:
        """Build the search from a bundle's BM25 index and its EMBEDDINGS of modality text."""
        self._words = words
        self._texts = texts
        self._ids: list[str] = [] if texts is None else texts.column("entity_id").to_pylist()
        self._vectors = np.zeros((0, 0), np.float32) if texts is None else _matrix(texts)
        self._encoder = None if texts is None else texts.column("encoder")[0].as_py()
        self._new_words: Bm25Index | None = None
        self._new_ids: list[str] = []
        self._new_vectors = self._vectors[:0]

    def with_changes(self, latest: Mapping[str, CatalogChange]) -> Self:
        """Return another search with these latest changes by video; the cost is proportional to them."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        rows = [change.row for change in latest.values() if change.row is not None]
        other._new_words = Bm25Index.from_videos(concat_videos(rows)) if rows else None
        dim = self._vectors.shape[1]
        vectors = {name: change_vector(change, "text", self._encoder, dim) for name, change in latest.items()}
        known = {name: vector for name, vector in vectors.items() if vector is not None}
        other._new_ids = list(known)
        other._new_vectors = np.stack(list(known.values())) if known else self._vectors[:0]
        return other

    def search(
        self,
        text: str,
        vector: Vectors | None,
        k: int,
        snapshot: CatalogSnapshot,
        eligible: EligibilityFilter,
    ) -> tuple[ListItem, ...]:
        """Search by BM25 and by the cosine of text vectors, fused by reciprocal rank.

        Scores of two BM25 indexes are not comparable, so changed videos are an order of their own.

        Args:
            text: Words of the search.
            vector: (dim,) text vector; ignored if its length differs from the bundle's or it is not finite.
            k: Maximum number of items.
            snapshot: The catalog.
            eligible: The filter of the request.

        Returns:
            Items with the source `search:words`, `search:meaning` or `search:both`.
        """
        depth = fusion_depth(k)
        orders = {
            "words": self._by_words(text, depth, snapshot, eligible),
            "words-new": self._by_new_words(text, depth, snapshot, eligible),
        }
        if vector is not None and vector.size == self._vectors.shape[1] and np.isfinite(vector).all():
            orders["meaning"] = eligible.pick_independently(self._by_meaning(vector.ravel(), snapshot), depth)
        return fuse_ranks(orders, k, "search", snapshot)

    def _by_words(
        self, text: str, depth: int, snapshot: CatalogSnapshot, eligible: EligibilityFilter
    ) -> list[int]:
        limit, size = depth, len(self._words)
        while True:
            results = self._words.search(text, limit)
            ids = [name for name, _ in results if name not in snapshot.changed_rows]
            rows = eligible.pick_independently(snapshot.catalog.find(ids), depth)
            if len(rows) >= depth or len(results) < limit or limit >= size:
                return rows
            limit *= 8

    def _by_new_words(
        self, text: str, depth: int, snapshot: CatalogSnapshot, eligible: EligibilityFilter
    ) -> list[int]:
        if self._new_words is None:
            return []
        results = self._new_words.search(text, len(self._new_words))
        return eligible.pick_independently(snapshot.catalog.find([name for name, _ in results]), depth)

    def _by_meaning(self, vector: Vectors, snapshot: CatalogSnapshot) -> RowIndices:
        """Return the rows of the videos whose text has a positive cosine with the vector, best first."""
        # A video that changed without a new vector keeps the bundle's.
        replaced = set(self._new_ids)
        rows = np.array(
            [-1 if name in replaced else snapshot.catalog.row_by_id.get(name, -1) for name in self._ids],
            np.int64,
        )
        rows = np.concatenate([rows, snapshot.catalog.find(self._new_ids)])
        scores = np.concatenate([self._vectors @ vector, self._new_vectors @ vector])
        matching = (rows >= 0) & (scores > 0)
        rows, scores = rows[matching], scores[matching]
        return rows[np.lexsort((rows, -scores))]


def _matrix(texts: pa.Table) -> Vectors:
    column = texts.column("vector").combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
