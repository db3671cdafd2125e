"""BM25 over videos that come and change a few at a time."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.bundle.bm25 import document_tokens, searched_texts, tokenize
from vrec.core.pauses import pause_if_due
from vrec.core.schema import VIDEOS, conform

SATURATION, LENGTH_SHARE = 1.5, 0.75
"""k1 and b of BM25, those of `Bm25Index`."""
MAX_GONE_SHARE = 0.5
"""Share of outdated documents from which they are removed."""

Numbers = npt.NDArray[np.int64]
_NONE: Numbers = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False, slots=True)
class _Postings:
    """Occurrences of words in documents, by ascending word."""

    words: Numbers
    documents: Numbers
    times: Numbers

    def of(self, word: int) -> tuple[Numbers, Numbers]:
        """Return the documents with a word, and how many times they have it."""
        start, end = np.searchsorted(self.words, (word, word + 1))
        return self.documents[start:end], self.times[start:end]


@dataclass(frozen=True, slots=True)
class WordCounts:
    """Counts of videos on which the scores of a search depend."""

    videos: int
    tokens: int
    """Number of words of all videos together."""
    with_word: Mapping[str, int]
    """Number of videos with each word of the search."""

    @classmethod
    def total(cls, parts: Iterable["WordCounts"]) -> "WordCounts":
        """Return the counts of the videos of all parts together."""
        videos, tokens, with_word = 0, 0, Counter[str]()
        for part in parts:
            videos, tokens = videos + part.videos, tokens + part.tokens
            with_word.update(part.with_word)
        return cls(videos, tokens, with_word)


class GrowingBm25:
    """Immutable BM25 index with the scores of a `Bm25Index` of the same videos.

    It keeps counts and not scores, which depend on all videos: so it costs as much to change some videos as
    they have words, however many there are.
    """

    def __init__(self) -> None:
        """Build the index of no videos."""
        self._columns: dict[str, int] = {}
        """Number of each word; later indexes add to it."""
        self._numbers: dict[str, int] = {}
        """Number of each video's document."""
        self._ids = np.empty(0, object)
        self._lengths = np.empty(0, np.int64)
        """Number of words of each document; 0 for those that are outdated."""
        self._present = np.empty(0, np.bool_)
        self._parts: tuple[_Postings, ...] = ()

    def __len__(self) -> int:
        return len(self._numbers)

    def with_videos(self, videos: pa.Table | None, gone: Collection[str] = ()) -> Self:
        """Return another index with VIDEOS added or replaced, and without others; this one stays as it is.

        Make one at a time. Raises SchemaError for other columns.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._numbers, other._present = dict(self._numbers), self._present.copy()
        ids: list[str] = []
        if videos is not None:
            table = conform(videos, VIDEOS, stage="text index", extra=True)
            ids = table.column("video_id").to_pylist()
            other._add(ids, table)
        outdated = [self._numbers[name] for name in (*ids, *gone) if name in self._numbers]
        other._present[outdated] = False
        for name in gone:
            other._numbers.pop(name, None)
        if len(other._present) - len(other) > MAX_GONE_SHARE * len(other._present):
            other._renumber()
        return other

    def counts(self, text: str) -> WordCounts:
        """Return the counts on which the scores of a search depend."""
        with_word = {token: len(self._occurrences(column)[0]) for token, column in self._columns_of(text)}
        return WordCounts(len(self), int(self._lengths[self._present].sum()), with_word)

    def search(self, text: str, k: int, counts: WordCounts | None = None) -> list[tuple[str, float]]:
        """Return the at most `k` videos that best match a text with their scores; see `Bm25Index.search`.

        Args:
            text: The text.
            k: Maximum number of videos.
            counts: Counts of a catalog that has more videos than these; None for those of these alone.
        """
        columns = self._columns_of(text)
        if not columns or k < 1 or not self._numbers:
            return []
        counts = counts or self.counts(text)
        scores = np.zeros(len(self._ids))
        mean = counts.tokens / counts.videos
        for token, column in columns:
            documents, times = self._occurrences(column)
            having = counts.with_word.get(token, 0)
            rarity = np.log1p((counts.videos - having + 0.5) / (having + 0.5))
            norm = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * self._lengths[documents] / mean)
            scores[documents] += (rarity * times / (times + norm)).astype(np.float32)
        return self._best(scores, k)

    def _columns_of(self, text: str) -> list[tuple[str, int]]:
        tokens = dict.fromkeys(tokenize(text, is_query=True))
        return [(token, self._columns[token]) for token in tokens if token in self._columns]

    def _occurrences(self, column: int) -> tuple[Numbers, Numbers]:
        """Return the present videos with a word, and how many times they have it."""
        found = [(_NONE, _NONE), *(part.of(column) for part in self._parts)]
        documents, times = (np.concatenate(one) for one in zip(*found, strict=True))
        is_present = self._present[documents]
        return documents[is_present], times[is_present]

    def _best(self, scores: npt.NDArray[np.float64], k: int) -> list[tuple[str, float]]:
        matching = np.flatnonzero(scores > 0)
        if len(matching) > k:
            # All that tie with the last one: which of them are in is decided by their ids.
            least = np.partition(scores[matching], -k)[-k]
            matching = matching[scores[matching] >= least]
        pairs = zip(self._ids[matching].tolist(), scores[matching].tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]

    def _add(self, ids: Sequence[str], table: pa.Table) -> None:
        start, columns = len(self._ids), self._columns
        documents: list[list[int]] = []
        for fields in searched_texts(table):
            tokens = document_tokens(fields)
            documents.append([columns.setdefault(token, len(columns)) for token in tokens])
            pause_if_due()
        lengths = np.array([len(words) for words in documents], np.int64)
        words = np.array([word for words in documents for word in words], np.int64)
        owners = np.repeat(np.arange(start, start + len(ids)), lengths)
        pairs, times = np.unique(np.stack([words, owners]), axis=1, return_counts=True)
        self._numbers |= {name: number for number, name in enumerate(ids, start)}
        self._ids = np.concatenate([self._ids, np.array(ids, object)])
        self._lengths = np.concatenate([self._lengths, lengths])
        self._present = np.concatenate([self._present, np.ones(len(ids), np.bool_)])
        parts = [*self._parts, _Postings(pairs[0], pairs[1], times)]
        # So that there are few: each is at least twice as long as the next.
        while len(parts) > 1 and 2 * len(parts[-1].words) >= len(parts[-2].words):
            parts[-2:] = [_merged(parts[-2:])]
        self._parts = tuple(parts)

    def _renumber(self) -> None:
        """Remove outdated documents."""
        present, numbers = self._present, np.cumsum(self._present) - 1
        whole = _merged(self._parts)
        kept = present[whole.documents]
        documents = numbers[whole.documents[kept]]
        self._parts = (_Postings(whole.words[kept], documents, whole.times[kept]),)
        self._numbers = {name: int(numbers[number]) for name, number in self._numbers.items()}
        self._ids, self._lengths = self._ids[present], self._lengths[present]
        self._present = np.ones(len(self._ids), np.bool_)


def _merged(parts: Sequence[_Postings]) -> _Postings:
    words = np.concatenate([part.words for part in parts])
    order = np.argsort(words, kind="stable")
    documents, times = ([getattr(part, name) for part in parts] for name in ("documents", "times"))
    return _Postings(words[order], np.concatenate(documents)[order], np.concatenate(times)[order])
