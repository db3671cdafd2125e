"""Text search: BM25 over the titles, tags, categories and creators of videos."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Self

import bm25s
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays
from vrec.core.schema import VIDEOS, conform
from vrec.retrieval.topk import topk_dense
from vrec.robustness.content.plain_text import limit_repeats, plain_text

_WORDS = re.compile(r"[^\W_]+")
_NO_SPACES = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003fffd"
)
"""Chinese characters, kana and Hangul."""
_RUNS = re.compile(f"[{_NO_SPACES}]+|[^{_NO_SPACES}]+")
_CJK = re.compile(f"[{_NO_SPACES}]")
MAX_TOKENS = 1000
"""Number of tokens of one text that count; a Chinese character has two."""
MATRIX = ("data", "indices", "indptr")
"""Arrays of the (videos, words) matrix of scores, compressed by word."""


def tokenize(text: str, *, is_query: bool = False) -> Iterator[str]:
    """Iterate over the tokens of a text: lower-cased words of letters and digits, after `plain_text`.

    Chinese, Japanese and Korean text, which has few spaces or none, gives every pair of adjacent characters
    and every single character; in a query a single one only where it stands alone. So one character finds all
    words that contain it, and a query of two does not find videos that contain only one of them.

    Args:
        text: Any text.
        is_query: Whether the text is a query, not a video's.
    """
    for word in _WORDS.findall(plain_text(text).casefold()):
        for run in _RUNS.findall(word):
            if not _CJK.match(run):
                yield run
                continue
            if not is_query or len(run) == 1:
                yield from run
            yield from (run[start : start + 2] for start in range(len(run) - 1))


class Bm25Index:
    """BM25 index (Robertson and Zaragoza 2009, Lucene's variant) of titles, tags, categories and creators."""

    def __init__(self, ids: Sequence[str], words: Mapping[str, int], matrix: Arrays) -> None:
        """Wrap a matrix of scores.

        Args:
            ids: The videos, ascending.
            words: Column of each word.
            matrix: `data`, `indices` and `indptr` of the (videos, words) scores, compressed by word.
        """
        self.ids, self.words, self._matrix = tuple(ids), words, matrix
        self._model = bm25s.BM25(backend="numpy")
        self._model.scores = {**matrix, "num_docs": len(self.ids)}
        self._model.nonoccurrence_array = None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_videos(cls, videos: pa.Table) -> Self:
        """Build the index of VIDEOS in any order; raise SchemaError for other columns."""
        table = conform(videos, VIDEOS, stage="text index", extra=True).sort_by("video_id")
        words: dict[str, int] = {}
        documents = [
            [words.setdefault(token, len(words)) for token in document_tokens(fields)]
            for fields in searched_texts(table)
        ]
        ids = table.column("video_id").to_pylist()
        if not words:
            return cls(ids, words, dict(zip(MATRIX, _empty_matrix(), strict=True)))
        model = bm25s.BM25(backend="numpy")
        model.index((documents, words), create_empty_token=False, show_progress=False)
        return cls(ids, words, {name: model.scores[name] for name in MATRIX})

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        """Return the at most `k` videos that best match a text with their scores, best first, ties by id.

        Scores are above 0. The result is empty if the text has no token that any video has.
        """
        columns = [
            self.words[token] for token in dict.fromkeys(tokenize(text, is_query=True)) if token in self.words
        ]
        if not columns or k < 1:
            return []
        scores = self._model.get_scores_from_ids(columns)
        scores[scores <= 0] = -np.inf
        rows, best = topk_dense(scores[None], k)
        pairs = zip(rows[0].tolist(), best[0].tolist(), strict=True)
        return [(self.ids[row], score) for row, score in pairs if score > 0]

    def part(self, first: int, end: int) -> Self:
        """Return the index of the videos in rows from `first` to before `end`, with the scores of this one.

        Scores depend on how many videos have a word, of which all count here.
        """
        data, rows, starts = (self._matrix[name] for name in MATRIX)
        inside = (rows >= first) & (rows < end)
        counts = np.concatenate([[0], np.cumsum(inside)])[starts]
        kept = np.flatnonzero(np.diff(counts))
        words = {word: place for place, word in enumerate(self._words_at(kept))}
        edges = np.append(counts[kept], counts[-1]).astype(starts.dtype)
        matrix = {"data": data[inside], "indices": rows[inside] - rows.dtype.type(first), "indptr": edges}
        return type(self)(self.ids[first:end], words, matrix)

    def _words_at(self, columns: npt.NDArray[np.int64]) -> list[str]:
        words = np.empty(len(self.words), object)
        words[list(self.words.values())] = list(self.words)
        return words[columns].tolist()

    def to_arrays(self) -> tuple[Arrays, pa.Table]:
        """Return the matrix and the table of words, which `from_arrays` needs besides the ids."""
        return dict(self._matrix), pa.table({"word": pa.array(self.words, pa.string())})

    @classmethod
    def from_arrays(cls, ids: Sequence[str], arrays: Arrays, words: pa.Table) -> Self:
        """Restore an index from the result of `to_arrays` and the videos' ids, ascending."""
        columns = {word: column for column, word in enumerate(words.column("word").to_pylist())}
        return cls(ids, columns, {name: arrays[name] for name in MATRIX})


def document_tokens(fields: Iterable[str | None]) -> list[str]:
    """Return the tokens of a video's texts that count: so many of each text, and each token a few times."""
    seen: Counter[str] = Counter()
    return [
        token
        for field in fields
        if field
        for token in limit_repeats(islice(tokenize(field), MAX_TOKENS), seen=seen)
    ]


def searched_texts(videos: pa.Table) -> Iterator[tuple[str | None, ...]]:
    """Iterate over the texts by which each of VIDEOS is found."""
    names = ("title", "category", "creator_id", "tags")
    for *fields, tags in zip(*(videos.column(name).to_pylist() for name in names), strict=True):
        yield (*fields, *tags)


def _empty_matrix() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    return np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(1, np.int32)
