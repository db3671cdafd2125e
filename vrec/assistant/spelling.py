"""Correction of misspelled words by the words of a shop."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

MIN_LETTERS = 5
"""Letters from which on a word is corrected; shorter ones have too many neighbors."""
MIN_REPLACED = 6
"""Letters from which on a letter may be another one: "black" is not meant by "block"."""


class SpellingIndex:
    """Words that are found by a misspelling: one letter more, less or other, or two neighbors swapped.

    Words are compared by what is left of them without one letter (symmetric deletion). The first letter,
    which is seldom mistaken, stays: "night" is no "light".
    """

    def __init__(self, words: Iterable[str]) -> None:
        """Index the words; those that are too short or not of Latin letters are left out."""
        self._words = {
            word for word in words if len(word) >= MIN_LETTERS and word.isascii() and word.isalpha()
        }
        self._by_variant: dict[str, list[str]] = defaultdict(list)
        for word in sorted(self._words):
            for variant in _variants(word):
                self._by_variant[variant].append(word)

    def corrected(self, word: str) -> str | None:
        """Return the word that a misspelled one means; None if there is none, or more than one."""
        if len(word) < MIN_LETTERS or not word.isascii() or not word.isalpha() or word in self._words:
            return None
        found = {
            known
            for variant in _variants(word)
            for known in self._by_variant.get(variant, ())
            if known[0] == word[0] and _is_slip(word, known)
        }
        return found.pop() if len(found) == 1 else None


def _variants(word: str) -> Iterator[str]:
    yield word
    yield from dict.fromkeys(word[:place] + word[place + 1 :] for place in range(len(word)))


def _is_slip(word: str, known: str) -> bool:
    """Return whether two words, equal but for one deletion in each, are one slip apart."""
    if len(word) != len(known):
        return True
    places = [place for place, (mine, other) in enumerate(zip(word, known, strict=True)) if mine != other]
    if len(places) == 1:
        return len(word) >= MIN_REPLACED
    first, *others = places
    return others == [first + 1] and word[first] == known[first + 1] and word[first + 1] == known[first]
