"""Videos for a text: by its words, and by its meaning."""

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
    """Finds videos by texts, changed videos among them."""

    def __init__(self, lexicon: Bm25Index, texts: pa.Table | None) -> None:
        """`texts` are the bundle's EMBEDDINGS of modality text."""
        self._lexicon = lexicon
        self._texts = texts
        self._ids: list[str] = [] if texts is None else texts.column("entity_id").to_pylist()
        self._vectors = np.zeros((0, 0), np.float32) if texts is None else _matrix(texts)
        self._encoder = None if texts is None else texts.column("encoder")[0].as_py()
        self._new_words: Bm25Index | None = None
        self._new_ids: list[str] = []
        self._new_vectors = self._vectors[:0]

    def with_changes(self, latest: Mapping[str, CatalogChange]) -> Self:
        """Another finder, to which all these changes are known; it costs in proportion to them."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        rows = [change.row for change in latest.values() if change.row is not None]
        other._new_words = Bm25Index.from_videos(concat_videos(rows)) if rows else None
        dim = self._vectors.shape[1]
        found = {name: change_vector(change, "text", self._encoder, dim) for name, change in latest.items()}
        known = {name: vector for name, vector in found.items() if vector is not None}
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
        """At most `k` videos, by BM25 and by the cosine of text vectors, fused by reciprocal rank.

        The source is `search:words`, `search:meaning` or `search:both`. Scores of two lexicons cannot be
        compared, so videos that changed are an order of their own beside the bundle's. A vector of another
        length than the bundle's is left out. Rules are those of a stranger of unknown age.
        """
        depth = fusion_depth(k)
        orders = {
            "words": self._by_words(text, depth, snapshot, eligible),
            "words-new": self._by_new_words(text, depth, snapshot, eligible),
        }
        if vector is not None and vector.size == self._vectors.shape[1] and np.isfinite(vector).all():
            orders["meaning"] = eligible.pick_independently(self._by_meaning(vector.ravel(), snapshot), depth)
        return fuse_ranks(orders, k, "search", snapshot)

    def _by_words(self, text: str, depth: int, wares: CatalogSnapshot, gate: EligibilityFilter) -> list[int]:
        asked, whole = depth, len(self._lexicon)
        while True:
            found = self._lexicon.search(text, asked)
            ids = [name for name, _ in found if name not in wares.top]
            rows = gate.pick_independently(wares.shelf.find(ids), depth)
            if len(rows) >= depth or len(found) < asked or asked >= whole:
                return rows
            asked *= 8

    def _by_new_words(
        self, text: str, depth: int, wares: CatalogSnapshot, gate: EligibilityFilter
    ) -> list[int]:
        if self._new_words is None:
            return []
        found = self._new_words.search(text, len(self._new_words))
        return gate.pick_independently(wares.shelf.find([name for name, _ in found]), depth)

    def _by_meaning(self, vector: Vectors, wares: CatalogSnapshot) -> RowIndices:
        """The rows of the videos whose texts have anything to do with the vector, best first."""
        # What changed without a new vector keeps the bundle's.
        again = set(self._new_ids)
        rows = np.array(
            [-1 if name in again else wares.shelf.row_by_id.get(name, -1) for name in self._ids], np.int64
        )
        rows = np.concatenate([rows, wares.shelf.find(self._new_ids)])
        scores = np.concatenate([self._vectors @ vector, self._new_vectors @ vector])
        there = (rows >= 0) & (scores > 0)
        rows, scores = rows[there], scores[there]
        return rows[np.lexsort((rows, -scores))]


def _matrix(texts: pa.Table) -> Vectors:
    column = texts.column("vector").combine_chunks()
    return np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
