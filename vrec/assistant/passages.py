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

from vrec.assistant.content_words import ContentWords
from vrec.assistant.documents import Passage, sentences
from vrec.assistant.text import language_of, normal_form, units_of
from vrec.assistant.topics import COUNTRY, GENERAL_TOPICS, SERVICE_TOPICS, topic_index
from vrec.core.types import Vectors

Encode = Callable[[Sequence[str]], Vectors]
"""From texts to (n, dim) float32 unit rows."""

_GENERAL = frozenset(f"@{topic}" for topic in GENERAL_TOPICS)
_SERVICE = frozenset(f"@{topic}" for topic in SERVICE_TOPICS)
OWN_LANGUAGE = 0.2
"""What a passage in the question's language is ahead of one in another."""
IN_TEXT = 0.75
"""Part of the score by words that counts them in text and headings; the rest counts those in headings."""
SAME_MEANING = 0.5
"""Similarity from which on the nearest passage of another language counts as a translation."""
OTHER_SUBJECT = 0.3
"""What a passage loses that has none of the question's subjects of customer service, or a share of it."""


@dataclass(frozen=True, slots=True)
class PassageMatch:
    """Passage that may answer a question."""

    passage: Passage
    score: float
    """Between 0 and 1: half the share of the question's weight that the passage has, half its similarity,
    less for subjects that it does not have."""
    quote: str
    """The sentences of the passage that are nearest to the question, in order."""
    foreign_words: tuple[str, ...]
    """Words of the question that no passage has."""


class PassageSearch:
    """Immutable search in a shop's documents by words, subjects and meaning."""

    def __init__(self, passages: Sequence[Passage], encode: Encode) -> None:
        """Index the passages.

        Args:
            passages: At least one.
            encode: Sentence encoder for passages and questions.
        """
        self._passages, self._encode = tuple(passages), encode
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
        whole = encode([f"{passage.title}. {passage.text[:1000]}" for passage in self._passages])
        self._twins = _translations(whole, self._languages)

    def __len__(self) -> int:
        return len(self._passages)

    def search(self, question: str, k: int = 3, vector: Vectors | None = None) -> list[PassageMatch]:
        """Return the passages that answer a question best.

        Args:
            question: In English or Chinese; the passages may be in the other language.
            k: Maximum number of passages.
            vector: (dim,) unit vector of the question by the same encoder; None has it encoded here.
        """
        similar = self._line_vectors @ (self._encode([question])[0] if vector is None else vector)
        nearest = np.full(len(self._passages), -1.0)
        np.maximum.at(nearest, self._line_rows, similar)
        # What may be no word counts only where the documents have it too.
        pairs = (pair for pair in self._mixed_pairs(question) if pair in self._weights)
        tokens = dict.fromkeys((*self._tokens_of(question), *pairs))
        scores = (self._covered(tokens) + nearest) / 2 - OTHER_SUBJECT * self._lacking(tokens)
        # Where the documents say the same in both languages, what finds one finds the other, and the
        # shopper's own comes first.
        scores = np.maximum(scores, scores[self._twins])
        bonus = self._languages == language_of(question)
        order = np.lexsort((-(scores + OWN_LANGUAGE * bonus),))[:k]
        foreign = tuple(token for token in tokens if token not in self._weights and not token.startswith("@"))
        scores = np.clip(scores, 0, 1)
        return [
            PassageMatch(self._passages[row], float(scores[row]), self._quote(row, similar), foreign)
            for row in order.tolist()
        ]

    def _covered(self, tokens: Iterable[str]) -> npt.NDArray[np.float64]:
        """Return the share of a question's weight that each passage has, more for that in its headings."""
        return np.array(
            [
                IN_TEXT * self._coverage(tokens, held) + (1 - IN_TEXT) * self._coverage(tokens, headed)
                for held, headed in zip(self._tokens, self._headed, strict=True)
            ]
        )

    def _lacking(self, tokens: Iterable[str]) -> npt.NDArray[np.float64]:
        """Return the share of a question's subjects of customer service that each passage does not have."""
        subjects = _SERVICE.intersection(tokens)
        return np.array([len(subjects - held) / max(1, len(subjects)) for held in self._tokens])

    def _coverage(self, tokens: Iterable[str], held: frozenset[str]) -> float:
        weights = {token: self._weights.get(token, self._unseen_weight(token)) for token in tokens}
        total = sum(weights.values())
        return sum(weight for token, weight in weights.items() if token in held) / total if total else 0.0

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
