"""Search for the passage that answers a question, and refusal where none does."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import snowballstemmer
from scipy.special import expit

from vrec.assistant.content_words import ContentWords
from vrec.assistant.documents import Passage, sentences
from vrec.assistant.text import language_of, normal_form, units_of
from vrec.assistant.topics import COUNTRY, GENERAL_TOPICS, SERVICE_TOPICS, topic_index
from vrec.core.types import Vectors

Encode = Callable[[Sequence[str]], Vectors]
"""From texts to (n, dim) float32 unit rows."""

_GENERAL = frozenset(f"@{topic}" for topic in GENERAL_TOPICS)
_SERVICE = frozenset(f"@{topic}" for topic in SERVICE_TOPICS)
SAME_MEANING = 0.5
"""Similarity from which on the nearest passage of another language counts as a translation."""
FEATURES = ("words", "heading", "sentence", "passage", "lacking", "language", "meaning")
"""Features of a passage for a question; see `PassageSearch.features`."""
WEIGHTS = (1.25, 3.02, 4.3, 7.07, -3.52, 3.36, 4.3)
"""Weights of the features, by `benchmarks/assistant_passage_weights.py`."""
THRESHOLD = (7.85, 0.59, 4.84, 2.36)
"""Weights of a question's own features: one, the shares of its weight in words and in subjects that no
passage has, and whether it names no subject of customer service. Their sum is what a passage has to reach."""
WORD_WEIGHTS = (5.36, 2.81, 0.0, 0.0, -3.02, 4.57, 0.0)
WORD_THRESHOLD = (6.72, -0.81, 4.14, 1.71)
"""The same for questions without a vector."""
UNLIKE = 0.35
"""Similarity of two words up to which one says nothing of the other."""
MAX_WORDS = 20_000
"""Words of all passages whose vectors are kept, those in most passages first."""
MAX_ASKED_WORDS = 12
"""Words of a question that are compared by their meaning."""
MAX_REMEMBERED = 5_000


@dataclass(frozen=True, slots=True)
class PassageMatch:
    """Passage that may answer a question."""

    passage: Passage
    score: float
    """Probability that the passage answers the question, by a log-linear model of the features."""
    quote: str
    """The sentences of the passage that are nearest to the question, in order."""
    foreign_words: tuple[str, ...]
    """Words of the question that no passage has."""


class PassageSearch:
    """Immutable search in a shop's documents by words, subjects and meaning."""

    def __init__(
        self, passages: Sequence[Passage], encode: Encode, encode_question: Encode | None = None
    ) -> None:
        """Index the passages.

        Args:
            passages: At least one.
            encode: Sentence encoder for passages.
            encode_question: Encoder for questions and their words, zeros for what it cannot encode now; None
                for the same one.
        """
        self._passages, self._encode = tuple(passages), encode_question or encode
        self._content = ContentWords()
        self._headed = [self._all_tokens((passage.headings or ("",))[-1]) for passage in self._passages]
        self._tokens = [self._all_tokens(f"{passage.title}. {passage.text}") for passage in self._passages]
        held = Counter(token for tokens in self._tokens for token in tokens)
        self._weights = {
            token: math.log(1 + (len(self._passages) - count + 0.5) / (count + 0.5))
            * (0.5 if token in _GENERAL else 1)
            for token, count in held.items()
        }
        self._unseen = math.log(1 + 2 * (len(self._passages) + 0.5))
        lines = [(row, line) for row, passage in enumerate(self._passages) for line in _lines(passage)]
        self._line_rows = np.array([row for row, _ in lines])
        self._lines = [line for _, line in lines]
        self._line_vectors = encode(self._lines)
        self._languages = np.array([language_of(passage.text) for passage in self._passages])
        self._whole = encode([f"{passage.title}. {passage.text[:1000]}" for passage in self._passages])
        self._twins = _translations(self._whole, self._languages)
        self._words = _WordMeanings([self._words_of(f"{p.title}. {p.text}") for p in self._passages], encode)
        self._remembered: dict[str, Vectors] = {}

    def __len__(self) -> int:
        return len(self._passages)

    def translation_of(self, row: int) -> int:
        """Return the row of the passage that says the same in the other language, or the row itself."""
        return int(self._twins[row])

    def search(self, question: str, k: int = 3, vector: Vectors | None = None) -> list[PassageMatch]:
        """Return the passages that answer a question best.

        Args:
            question: In English or Chinese; the passages may be in the other language.
            k: Maximum number of passages.
            vector: (dim,) unit vector of the question by the same encoder; None has it encoded here.
        """
        meaning = self._encode([question])[0] if vector is None else vector
        passages, asked = self.features(question, meaning)
        known = bool(meaning.any())
        weights, threshold = (WEIGHTS, THRESHOLD) if known else (WORD_WEIGHTS, WORD_THRESHOLD)
        scores = expit(passages @ np.array(weights) - asked @ np.array(threshold))
        order = np.argsort(-scores, kind="stable")[:k]
        similar = self._line_vectors @ meaning
        foreign = tuple(
            token
            for token in self._asked_tokens(question)
            if token not in self._weights and not token.startswith("@")
        )
        return [
            PassageMatch(self._passages[row], float(scores[row]), self._quote(row, similar), foreign)
            for row in order.tolist()
        ]

    def features(
        self, question: str, vector: Vectors
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the features of each passage for a question, and those of the question alone.

        Of two passages that say the same in both languages, each has the better of both features, but for the
        language.

        Args:
            question: In English or Chinese.
            vector: (dim,) unit vector of the question; zeros if there is none.

        Returns:
            (passages, FEATURES) float64 shares and similarities: the share of the question's weight that
            the passage has, and its heading; the similarity of its nearest sentence, and of all of it; the
            share of the question's subjects of customer service that it lacks; whether it is in the
            question's language; the mean similarity of the question's words to the nearest word of the
            passage. And the (4,) features of the question, see THRESHOLD.
        """
        tokens = self._asked_tokens(question)
        nearest = np.full(len(self._passages), -1.0)
        np.maximum.at(nearest, self._line_rows, self._line_vectors @ vector)
        meaning = self._words.shares(self._word_vectors(question)) if vector.any() else np.zeros(len(nearest))
        better = np.stack(
            [
                self._coverages(tokens, self._tokens),
                self._coverages(tokens, self._headed),
                nearest,
                self._whole @ vector,
                -self._lacking(tokens),
                meaning,
            ],
            axis=1,
        )
        better = np.maximum(better, better[self._twins])
        own = self._languages == language_of(question)
        passages = np.column_stack([better[:, :4], -better[:, 4], own, better[:, 5]])
        return passages, self._asked_features(tokens)

    def _asked_features(self, tokens: Sequence[str]) -> npt.NDArray[np.float64]:
        total = sum(self._weights.get(token, self._unseen_weight(token)) for token in tokens) or 1.0
        unseen = [token for token in tokens if token not in self._weights]
        words = sum(self._unseen_weight(token) for token in unseen if not token.startswith("@"))
        subjects = sum(self._unseen_weight(token) for token in unseen if token.startswith("@"))
        return np.array([1.0, words / total, subjects / total, float(_SERVICE.isdisjoint(tokens))])

    def _asked_tokens(self, question: str) -> list[str]:
        # What may be no word counts only where the documents have it too.
        pairs = (pair for pair in self._mixed_pairs(question) if pair in self._weights)
        return list(dict.fromkeys((*self._tokens_of(question), *pairs)))

    def _words_of(self, text: str) -> list[str]:
        """Return the content words of a text, of Chinese ones each pair of characters."""
        units = units_of(normal_form(text))
        content = self._content.indices(units)
        found: list[str] = []
        for index, after in zip_longest(content, content[1:], fillvalue=-1):
            if not units[index].is_han:
                found.append(units[index].text)
            elif after == index + 1 and units[after].is_han:
                found.append(units[index].text + units[after].text)
        return list(dict.fromkeys(found))

    def _word_vectors(self, question: str) -> Vectors:
        """Return the (words, dim) vectors of a question's words; those without one are left out."""
        words = self._words_of(question)[:MAX_ASKED_WORDS]
        if new := [word for word in words if word not in self._remembered]:
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered = {}
            vectors = self._encode(new)
            self._remembered = self._remembered | {
                word: vector for word, vector in zip(new, vectors, strict=True) if vector.any()
            }
        known = [vector for word in words if (vector := self._remembered.get(word)) is not None]
        return np.array(known, np.float32).reshape(len(known), self._whole.shape[1])

    def _coverages(self, tokens: Iterable[str], held: Sequence[frozenset[str]]) -> npt.NDArray[np.float64]:
        """Return the share of a question's weight that each passage has."""
        weights = {token: self._weights.get(token, self._unseen_weight(token)) for token in tokens}
        total = sum(weights.values()) or 1.0
        return np.array([sum(weights[token] for token in weights if token in one) for one in held]) / total

    def _lacking(self, tokens: Iterable[str]) -> npt.NDArray[np.float64]:
        """Return the share of a question's subjects of customer service that each passage does not have."""
        subjects = _SERVICE.intersection(tokens)
        return np.array([len(subjects - held) / max(1, len(subjects)) for held in self._tokens])

    def _unseen_weight(self, token: str) -> float:
        # Most pairs of Chinese characters that no passage has are no words.
        return self._unseen if token.isascii() else self._unseen / 2

    def _quote(self, row: int, similar: np.ndarray) -> str:
        text = self._passages[row].text
        parts = sentences(text)
        if len(text) <= 300 or len(parts) < 3:
            return " ".join(parts) if language_of(text) == "en" else "".join(parts)
        near = {
            line: float(score)
            for line, score, owner in zip(self._lines, similar, self._line_rows, strict=True)
            if owner == row
        }
        best = max(range(len(parts)), key=lambda index: near.get(parts[index], -1.0))
        chosen = parts[max(0, best - 1) : best + 2]
        return " ".join(chosen) if language_of(text) == "en" else "".join(chosen)

    def _all_tokens(self, text: str) -> frozenset[str]:
        return frozenset((*self._tokens_of(text), *self._mixed_pairs(text)))

    def _mixed_pairs(self, text: str) -> list[str]:
        """Return pairs of Chinese characters of which one is a stop word by itself, as in 估价."""
        units = units_of(normal_form(text))
        used = {i for mention in topic_index().find(units) for i in range(mention.first, mention.end)}
        content = set(self._content.indices(units))
        return [
            unit.text + units[index + 1].text
            for index, unit in enumerate(units[:-1])
            if unit.is_han
            and units[index + 1].is_han
            and (index in content) != (index + 1 in content)
            and not {index, index + 1} <= used
        ]

    def _tokens_of(self, text: str) -> list[str]:
        """Return subjects and words of a text; a word of a subject counts as the subject alone."""
        units = units_of(normal_form(text))
        topics = topic_index().find(units)
        used = {index for mention in topics for index in range(mention.first, mention.end)}
        subjects = (term.value for mention in topics for term in mention.terms)
        found = [f"@{'abroad' if one == COUNTRY else one}" for one in subjects]
        words = [index for index in self._content.indices(units) if index not in used]
        for index, after in zip_longest(words, words[1:], fillvalue=-1):
            if not units[index].is_han:
                found.append(_stem(units[index].stem))
            elif after == index + 1 and units[after].is_han:
                found.append(units[index].text + units[after].text)
        return found


class _WordMeanings:
    """Vectors of the words of all passages, to find those that mean the same as a question's words."""

    def __init__(self, words: Sequence[Sequence[str]], encode: Encode) -> None:
        held = Counter(word for one in words for word in one)
        vocabulary = [word for word, _ in held.most_common(MAX_WORDS)]
        places = {word: place for place, word in enumerate(vocabulary)}
        rows = [[places[word] for word in one if word in places] for one in words]
        self._has = np.array([bool(row) for row in rows])
        self._places = np.array([place for row in rows for place in row], np.int64)
        ends = np.cumsum([len(row) for row in rows])
        self._starts = np.concatenate([[0], ends[:-1]])[self._has]
        self._vectors = encode(vocabulary) if vocabulary else None

    def shares(self, asked: Vectors) -> npt.NDArray[np.float64]:
        """Return for each passage the mean over a question's words of the similarity to its nearest word.

        Args:
            asked: (words, dim) vectors of the question's words.
        """
        found = np.zeros(len(self._has))
        if self._vectors is None or not len(asked):
            return found
        similar = np.clip((asked @ self._vectors.T - UNLIKE) / (1 - UNLIKE), 0, 1)
        found[self._has] = np.maximum.reduceat(similar[:, self._places], self._starts, axis=1).mean(axis=0)
        return found


@cache
def _stemmer() -> Any:
    return snowballstemmer.stemmer("english")


def _stem(word: str) -> str:
    """Return an English word without its endings (Porter 1980, in its second version)."""
    return str(_stemmer().stemWord(word))


def _translations(vectors: Vectors, languages: npt.NDArray[np.str_]) -> npt.NDArray[np.intp]:
    """Return the row of the passage in another language that says the same as each one, or its own.

    Two passages are translations if each is the other's nearest in its language, and near enough.
    """
    similar = np.where(languages[:, None] == languages, -1.0, vectors @ vectors.T)
    nearest, own = similar.argmax(axis=1), np.arange(len(vectors))
    is_pair = (nearest[nearest] == own) & (similar[own, nearest] >= SAME_MEANING)
    return np.where(is_pair, nearest, own)


def _lines(passage: Passage) -> list[str]:
    """Return what a question is compared with: the headings, each sentence, and all of it."""
    parts = sentences(passage.text)
    return list(dict.fromkeys([*([passage.title] if passage.headings else []), *parts, passage.text[:1000]]))
