"""Search for moments over a bundle's indexes, without the videos that an answer must not have."""

import math
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from vrec.assistant.stop_words import CHINESE, ENGLISH
from vrec.bundle.bm25 import tokenize
from vrec.bundle.moments import CatalogMoments
from vrec.core.types import Modality, Vectors
from vrec.ranking.reranking.catalog import RowIndices
from vrec.retrieval.index.moments import MomentIndex
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.moments.messages import (
    FoundMoment,
    MomentExample,
    MomentQuery,
    MomentsMissing,
    MomentSource,
)

_STOPS = sorted(CHINESE, key=len, reverse=True)
_SOURCES: dict[Modality, MomentSource] = {"frames": "picture", "audio": "sound"}


def query_words(text: str) -> list[str]:
    """Return the tokens of a question that say something, each once; all of them if none does."""
    plain = text
    for stop in _STOPS:
        plain = plain.replace(stop, " ")
    words = [word for word in dict.fromkeys(tokenize(plain, is_query=True)) if word not in ENGLISH]
    return words or list(dict.fromkeys(tokenize(text, is_query=True)))


class MomentSearch:
    """Search over the moments of the videos that may be in an answer."""

    def __init__(self, moments: CatalogMoments, snapshot: CatalogSnapshot, min_similarity: float) -> None:
        """Build it over a bundle's moments, the catalog now, and the cosine from which texts match."""
        self._indexes, self._snapshot, self._min_similarity = moments.indexes, snapshot, min_similarity

    def by_words(
        self, query: MomentQuery, vector: Vectors | None, picture_vector: Vectors | None, allowed: Mask
    ) -> list[FoundMoment]:
        """Return the moments of `query.video_ids` that match its text, best first.

        Args:
            query: The search.
            vector: (dim,) text vector; ignored if it is not of the index's length.
            picture_vector: (dim,) vector of the text in the space of the pictures; None without a joint
                encoder.
            allowed: (N,) mask of the snapshot's videos that may be in the answer.
        """
        assert query.text is not None
        found: list[FoundMoment] = []
        for video_id in self._allowed_ids(query.video_ids, allowed):
            said = self._said(video_id, query_words(query.text), vector)
            shown = self._shown(video_id, picture_vector)
            found += sorted(said or shown, key=lambda one: (-one.score, one.start_s))[: query.per_video]
        return sorted(found, key=lambda one: (-one.score, one.video_id, one.start_s))[: query.k]

    def by_example(self, query: MomentQuery, allowed: Mask) -> list[FoundMoment]:
        """Return the moments nearest to an example, best first; those of the example itself are left out.

        Raises:
            MomentsMissing: The example has nothing to search by, or the catalog has no such moments.
        """
        example = query.example or self._example_of(query)
        modality, index, vectors = self._comparable(query, example)
        own = None if query.like is None else query.like[0]
        rows = self._snapshot.catalog.find(index.ids)
        usable = (rows >= 0) & allowed[np.maximum(rows, 0)]
        for video_id in self._replaced(index.ids):
            if video_id in index.places:
                usable[index.places[video_id]] = False
        if own in index.places:
            usable[index.places[own]] = False
        best = index.search(vectors, query.k, usable, query.per_video)
        return [_found(index, row, _SOURCES[modality], score) for row, score in best]

    def _example_of(self, query: MomentQuery) -> MomentExample:
        assert query.like is not None
        video_id, start_s, end_s = query.like
        vectors: dict[Modality, Vectors] = {}
        for modality, index in self._indexes.items():
            rows = index.rows_of(video_id)
            spans = index.spans[rows]
            rows = rows[(spans[:, 0] < end_s) & (spans[:, 1] > start_s)]
            if len(rows) and video_id not in self._replaced([video_id]):
                vectors[modality] = index.vectors(rows)
        encoders: dict[Modality, str] = {modality: self._indexes[modality].encoder for modality in vectors}
        if not vectors:
            raise MomentsMissing(f"{video_id} has no moments between {start_s:g} and {end_s:g} s")
        return MomentExample(vectors, encoders)

    def _comparable(
        self, query: MomentQuery, example: MomentExample
    ) -> tuple[Modality, MomentIndex, Vectors]:
        """Return the modality to search in, its index and the example's vectors."""
        for modality in ("frames", "audio"):
            wanted = query.by in (None, _SOURCES[modality])
            index = self._indexes.get(modality)
            same = index is not None and example.encoders.get(modality) == index.encoder
            if wanted and index is not None and same and len(example.vectors[modality]):
                return modality, index, example.vectors[modality]
        kind = query.by or "picture or sound"
        raise MomentsMissing(f"the example and the catalog have no moments of {kind} that can be compared")

    def _allowed_ids(self, video_ids: Sequence[str], allowed: Mask) -> list[str]:
        rows: RowIndices = self._snapshot.catalog.find(video_ids)
        replaced = self._replaced(video_ids)
        return [
            name
            for name, row in zip(video_ids, rows.tolist(), strict=True)
            if row >= 0 and allowed[row] and name not in replaced
        ]

    def _replaced(self, video_ids: Sequence[str]) -> Collection[str]:
        """Return the videos whose file is another one than the bundle's, which its moments say nothing of."""
        changed = self._snapshot.changed_rows
        if not changed:
            return ()
        return {
            name
            for name in (video_ids if len(video_ids) < len(changed) else changed)
            if name in changed and self._changed_file(name)
        }

    def _changed_file(self, video_id: str) -> bool:
        view, card = self._snapshot.view, self._snapshot.card(video_id)
        row = view.columns.catalog.row_by_id.get(video_id)
        return card is None or row is None or card["uri"] != view.videos.column("uri")[row].as_py()

    def _said(self, video_id: str, words: Sequence[str], vector: Vectors | None) -> list[FoundMoment]:
        index = self._indexes.get("text")
        rows = np.empty(0, np.int64) if index is None else index.rows_of(video_id)
        if index is None or index.texts is None or not len(rows):
            return []
        shares = word_shares([index.texts[row] or "" for row in rows], words)
        cosines = np.zeros(len(rows), np.float32)
        usable = vector is not None and vector.size == index.dim and bool(np.isfinite(vector).all())
        if vector is not None and usable:
            cosines = np.maximum(index.scores(vector.reshape(1, -1), rows), 0)
        found: list[FoundMoment] = []
        for row, share, cosine in zip(rows.tolist(), shares, cosines.tolist(), strict=True):
            if share > 0 or (cosine > 0 and cosine >= self._min_similarity):
                score = (share + cosine) / 2 if usable else share
                found.append(_found(index, row, "words" if share > 0 else "meaning", score))
        return found

    def _shown(self, video_id: str, vector: Vectors | None) -> list[FoundMoment]:
        index = self._indexes.get("frames")
        if index is None or vector is None or vector.size != index.dim:
            return []
        rows = index.rows_of(video_id)
        scores = index.scores(vector.reshape(1, -1), rows)
        return [
            _found(index, row, "picture", score) for row, score in zip(rows, scores.tolist(), strict=True)
        ]


def word_shares(texts: Sequence[str], words: Sequence[str]) -> list[float]:
    """Return the share of the words that each text has, from 0 to 1; rare words count more, by BM25's idf.

    Args:
        texts: Texts of one video's moments.
        words: Tokens of the question, each once.
    """
    held = [set(tokenize(text)) for text in texts]
    counts = Counter(word for tokens in held for word in tokens)
    count = len(texts)
    weights = {w: math.log(1 + (count - counts[w] + 0.5) / (counts[w] + 0.5)) for w in words}
    total = sum(weights.values())
    return [sum(weights[w] for w in words if w in tokens) / total if total else 0.0 for tokens in held]


def _found(index: MomentIndex, row: int, source: MomentSource, score: float) -> FoundMoment:
    start_s, end_s = (round(float(time), 3) for time in index.spans[row])
    text = None if index.texts is None else index.texts[row]
    # Vectors of 8-bit integers are of the length 1 but for their rounding.
    return FoundMoment(index.ids[index.owners[row]], start_s, end_s, source, min(1.0, float(score)), text)
