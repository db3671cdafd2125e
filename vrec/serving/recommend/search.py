"""Text search by words (BM25) and by meaning (text vectors)."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.growing_bm25 import GrowingBm25, WordCounts
from vrec.core.types import Vectors
from vrec.profiles.update import embedding_matrix
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.catalog.updates import change_vector, changed_videos
from vrec.serving.messages import CatalogChange, ListItem, unranked_item
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.exact_scores import Scores, best_first, pair_scores
from vrec.serving.recommend.rank_fusion import fuse_ranks, fusion_depth

DEEPER = 8
"""Factor on the number of matches when too few of them are eligible."""


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
            "words": _pick_deeper(
                lambda limit: self.scored_words(text, limit, snapshot), depth, eligible, self.word_videos
            ),
            "words-new": _pick_deeper(
                lambda limit: self.scored_new_words(text, limit, snapshot), depth, eligible, None
            ),
        }
        if (meaning := self.scored_by_meaning(vector, snapshot)) is not None:
            orders["meaning"] = eligible.pick_independently(meaning[0], depth)
        return fuse_ranks(orders, k, "search", snapshot)

    @property
    def word_videos(self) -> int:
        """Number of videos in the bundle's BM25 index."""
        return len(self._words)

    def new_word_counts(self, text: str) -> WordCounts:
        """Return the counts of a text's words in changed videos."""
        return self._new_words.counts(text)

    def scored_words(self, text: str, limit: int, snapshot: CatalogSnapshot) -> tuple[RowIndices, Scores]:
        """Return the rows of the `limit` best matches among the bundle's videos, and their scores.

        A video that changed has row −1.
        """
        results, changed = self._words.search(text, limit), snapshot.changed_rows
        rows = snapshot.catalog.find([name for name, _ in results])
        rows[[name in changed for name, _ in results]] = -1
        return rows, np.array([score for _, score in results], np.float32)

    def scored_new_words(
        self, text: str, limit: int, snapshot: CatalogSnapshot, counts: WordCounts | None = None
    ) -> tuple[RowIndices, Scores]:
        """Return the rows of the `limit` best matches among changed videos, and their scores.

        Args:
            text: Words of the search.
            limit: Maximum number of rows.
            snapshot: The catalog.
            counts: Counts of a catalog that has more changed videos; None for those of these alone.
        """
        results = self._new_words.search(text, limit, counts)
        rows = snapshot.catalog.find([name for name, _ in results])
        return rows, np.array([score for _, score in results], np.float64)

    def scored_by_meaning(
        self, vector: Vectors | None, snapshot: CatalogSnapshot
    ) -> tuple[RowIndices, Scores] | None:
        """Return the rows of the videos whose text is similar enough to a vector, and their cosines.

        None without a vector, or with one of another length or that is not finite.
        """
        if vector is None or vector.size != self._vectors.shape[1] or not np.isfinite(vector).all():
            return None
        # A video that changed without a new vector keeps the bundle's.
        replaced = set(self._new_ids)
        rows = np.array(
            [-1 if name in replaced else snapshot.catalog.row_by_id.get(name, -1) for name in self._ids],
            np.int64,
        )
        rows = np.concatenate([rows, snapshot.catalog.find(self._new_ids)])
        vectors, query = np.concatenate([self._vectors, self._new_vectors]), vector.ravel()
        # By rounded products first, with a margin for their error.
        slack = np.float32(2 * len(query) * 2.0**-23 * np.linalg.norm(query))
        near = (rows >= 0) & (vectors @ query >= max(0.0, self._min_similarity) - slack)
        rows, scores = rows[near], pair_scores(vectors[near], query)
        matching = (scores > 0) & (scores >= self._min_similarity)
        rows, scores = rows[matching], scores[matching]
        order = best_first(scores, rows, snapshot.catalog.video_ids)
        return rows[order], scores[order]


def _pick_deeper(
    best: Callable[[int], tuple[RowIndices, Scores]],
    depth: int,
    eligible: EligibilityFilter,
    size: int | None,
) -> list[int]:
    """Return the first `depth` eligible rows of a search, which is repeated for more until there are as many.

    Args:
        best: Function from a number of matches to the rows of the best, −1 for none, and their scores.
        depth: Number of rows needed.
        eligible: The filter of the request.
        size: Number of videos that are searched; None if it is not known.
    """
    limit = depth
    while True:
        found, _ = best(limit)
        rows = eligible.pick_independently(found[found >= 0], depth)
        if len(rows) >= depth or len(found) < limit or (size is not None and limit >= size):
            return rows
        limit *= DEEPER


def popular_suggestions(
    snapshot: CatalogSnapshot, eligible: EligibilityFilter, k: int
) -> tuple[ListItem, ...]:
    """Return at most `k` popular videos for a search without matches; the score is 1 / slot, from slot 1."""
    rows, ids = eligible.pick_independently(snapshot.popular, k), snapshot.catalog.video_ids
    return tuple(unranked_item(ids[row], 1 / slot, "popular") for slot, row in enumerate(rows, start=1))
