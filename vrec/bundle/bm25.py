"""Search by words: BM25 over what the catalogue says of videos."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import bm25s
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays
from vrec.core.schema import VIDEOS, conform
from vrec.retrieval.topk import topk_dense

_WORDS = re.compile(r"[^\W_]+")
_NO_SPACES = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003fffd"
)
"""Chinese characters, kana and Hangul."""
_RUNS = re.compile(f"[{_NO_SPACES}]+|[^{_NO_SPACES}]+")
_DENSE = re.compile(f"[{_NO_SPACES}]")
MATRIX = ("data", "indices", "indptr")


def tokenize(text: str, *, is_query: bool = False) -> Iterator[str]:
    """The tokens of a text: lower-cased words of letters and digits, after NFKC.

    Of Chinese, Japanese and Korean, which put few spaces or none, every two characters that stand side by
    side, and every single one; of a query (`asked`) a single one only where it stands alone. So one
    character finds all words with it, and a word of two is not found by either alone.
    """
    for word in _WORDS.findall(unicodedata.normalize("NFKC", text).casefold()):
        for run in _RUNS.findall(word):
            if not _DENSE.match(run):
                yield run
                continue
            if not is_query or len(run) == 1:
                yield from run
            yield from (run[at : at + 2] for at in range(len(run) - 1))


class Bm25Index:
    """BM25 (Robertson and Zaragoza 2009, as Lucene has it) over titles, tags, categories and creators."""

    def __init__(self, ids: Sequence[str], words: Mapping[str, int], matrix: Arrays) -> None:
        """`matrix` is (videos, words), by words: data, indices and indptr of the scores of each word."""
        self.ids, self.words, self._matrix = tuple(ids), words, matrix
        self._model = bm25s.BM25(backend="numpy")
        self._model.scores = {**matrix, "num_docs": len(self.ids)}
        self._model.nonoccurrence_array = None

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def from_videos(cls, videos: pa.Table) -> Self:
        """The lexicon of VIDEOS, whose order is of no consequence; raises SchemaError."""
        table = conform(videos, VIDEOS, stage="lexicon", extra=True).sort_by("video_id")
        words: dict[str, int] = {}
        documents = [
            [words.setdefault(token, len(words)) for field in fields if field for token in tokenize(field)]
            for fields in _texts(table)
        ]
        ids = table.column("video_id").to_pylist()
        if not words:
            return cls(ids, words, dict(zip(MATRIX, _no_words(), strict=True)))
        model = bm25s.BM25(backend="numpy")
        model.index((documents, words), create_empty_token=False, show_progress=False)
        return cls(ids, words, {name: model.scores[name] for name in MATRIX})

    def search(self, text: str, k: int) -> list[tuple[str, float]]:
        """The at most `k` videos that best match a text and their scores above 0, best first, ties by id.

        None where the text has no token, or none that any video has.
        """
        asked = [
            self.words[token] for token in dict.fromkeys(tokenize(text, is_query=True)) if token in self.words
        ]
        if not asked or k < 1:
            return []
        scores = self._model.get_scores_from_ids(asked)
        scores[scores <= 0] = -np.inf
        places, best = topk_dense(scores[None], k)
        pairs = zip(places[0].tolist(), best[0].tolist(), strict=True)
        return [(self.ids[place], score) for place, score in pairs if score > 0]

    def to_arrays(self) -> tuple[Arrays, pa.Table]:
        """What `restore` needs besides the ids."""
        return dict(self._matrix), pa.table({"word": pa.array(self.words, pa.string())})

    @classmethod
    def from_arrays(cls, ids: Sequence[str], arrays: Arrays, words: pa.Table) -> Self:
        """The lexicon that `store` gave; `ids` are the videos', ascending."""
        places = {word: place for place, word in enumerate(words.column("word").to_pylist())}
        return cls(ids, places, {name: arrays[name] for name in MATRIX})


def _texts(videos: pa.Table) -> Iterator[tuple[str | None, ...]]:
    names = ("title", "category", "creator_id", "tags")
    for *fields, tags in zip(*(videos.column(name).to_pylist() for name in names), strict=True):
        yield (*fields, *tags)


def _no_words() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    return np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(1, np.int32)
