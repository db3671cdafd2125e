"""Text search by words (BM25) and by meaning (text vectors)."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.growing_bm25 import GrowingBm25
from vrec.core.types import Vectors
from vrec.profiles.update import embedding_matrix
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.catalog.updates import change_vector, changed_videos
from vrec.serving.messages import CatalogChange, ListItem, unranked_item
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.rank_fusion import fuse_ranks, fusion_depth


class TextSearch:
    """Immutable text search over a bundle's and changed videos."""

    def __init__(self, words: Bm25Index, texts: pa.Table | None, min_similarity: float) -> None:
        """Build the search.

        Args:
            words: A bundle's BM25 index.
            texts: Its EMBEDDINGS of modality text, if any.
            min_similarity: Cosine from which a video matches by meaning.
        """
        texts = texts if texts is not None and texts.num_rows else None
        self._words, self._min_similarity = words, min_similarity
        self._ids: list[str] = [] if texts is None else texts.column("entity_id").to_pylist()
        self._vectors = np.zeros((0, 0), np.float32) if texts is None else embedding_matrix(texts)
        self._encoder = None if texts is None else texts.column("encoder")[0].as_py()
        self._new_words = GrowingBm25()
        self._new_ids: list[str] = []
        self._new_vectors = self._vectors[:0]

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another search after more changes, at most one of a video; the cost is proportional to them,
        apart from a copy of the changed videos' vectors."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        present = [change for change in changes if change.row is not None]
        gone = [change.video_id for change in changes if change.row is None]
        other._new_words = self._new_words.with_videos(changed_videos(present) if present else None, gone)
        dim = self._vectors.shape[1]
        known = dict(zip(self._new_ids, self._new_vectors, strict=True))
        for change in changes:
            known.pop(change.video_id, None)
            if (vector := change_vector(change, "text", self._encoder, dim)) is not None:
                known[change.video_id] = vector
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
            Items with the source `search:words`, `search:meaning` or `search:both`; none if nothing matches.
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
        limit = depth
        while True:
            results = self._new_words.search(text, limit)
            rows = eligible.pick_independently(snapshot.catalog.find([name for name, _ in results]), depth)
            if len(rows) >= depth or len(results) < limit:
                return rows
            limit *= 8

    def _by_meaning(self, vector: Vectors, snapshot: CatalogSnapshot) -> RowIndices:
        """Return the rows of the videos whose text is similar enough to the vector, best first."""
        # A video that changed without a new vector keeps the bundle's.
        replaced = set(self._new_ids)
        rows = np.array(
            [-1 if name in replaced else snapshot.catalog.row_by_id.get(name, -1) for name in self._ids],
            np.int64,
        )
        rows = np.concatenate([rows, snapshot.catalog.find(self._new_ids)])
        scores = np.concatenate([self._vectors @ vector, self._new_vectors @ vector])
        matching = (rows >= 0) & (scores > 0) & (scores >= self._min_similarity)
        rows, scores = rows[matching], scores[matching]
        return rows[np.lexsort((rows, -scores))]


def popular_suggestions(
    snapshot: CatalogSnapshot, eligible: EligibilityFilter, k: int
) -> tuple[ListItem, ...]:
    """Return at most `k` popular videos for a search without matches; the score is 1 / slot, from slot 1."""
    rows, ids = eligible.pick_independently(snapshot.popular, k), snapshot.catalog.video_ids
    return tuple(unranked_item(ids[row], 1 / slot, "popular") for slot, row in enumerate(rows, start=1))
