"""Texts as a person reads them: without invisible characters, look-alikes of other scripts and stuffing."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

MAX_REPEATS = 3
"""Number of times that a word counts in one text, or in the texts of one video."""
SHORT_WORD = 3
"""Letters of the words, such as "the" and "and", that long honest texts repeat ..."""
MAX_SHORT_REPEATS = 12
"""... and number of times that one of them counts in one text."""
MAX_WORDS = 200
"""Number of words of one text that count, by far more than honest titles have."""
MAX_MARKS = 2
"""Combining marks that one letter may carry; more are decoration that hides the letter."""

_JOINERS = "\u200c\u200d"
_FILLERS = "\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\u2800"
"""Blank letters and joiners that have another category than format characters."""
_INVISIBLE = re.compile(
    rf"[\u00ad\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb{_FILLERS}"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_LETTERS = re.compile(r"[^\W\d_]+")
_WORDS = re.compile(r"\w+")

_CYRILLIC = dict(
    zip(
        "аеорсухіјѕһԁԛԝѵӏкмтнвпгиАВЕКМНОРСТУХІЈЅԌԚԜЗ",
        "aeopcyxijshdqwvlkmthbnruABEKMHOPCTYXIJSGQW3",
        strict=True,
    )
)
_GREEK = dict(
    zip(
        "αβεηικνορτυχγωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "abenikvoptuxywABEZHIKMNOPTYX",
        strict=True,
    )
)
_TO_LATIN = _CYRILLIC | _GREEK
"""Letters of Cyrillic and Greek that look like a Latin one, after the confusables of Unicode Technical
Standard 39, and some that shops meet as well."""
_ALWAYS_ALIKE = frozenset("аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅԚԜονΑΒΕΖΗΙΚΜΝΟΡΤΥΧ")
"""Those that look the same in most fonts, so that a whole word of them can stand for a Latin word."""
_TO_CYRILLIC = {
    latin: letter
    for letter, latin in reversed(_CYRILLIC.items())
    if letter in _ALWAYS_ALIKE and latin.isascii()
}
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_OTHER = re.compile("[\u0370-\u03ff\u0400-\u052f\u1f00-\u1fff]")
_CYRILLIC_LETTER = re.compile("[\u0400-\u052f]")


def plain_text(text: str) -> str:
    """Return a text in the form NFKC, without invisible characters and with look-alike letters folded.

    Letters are folded where scripts are mixed: in a word of Latin, Cyrillic and Greek letters, and in a whole
    word of look-alikes within a text whose other words are Latin. A text of one script keeps its letters, and
    the joiners without width that Arabic, Persian and Indic scripts are written with stay. The result is the
    same if it is given again.

    Args:
        text: Any text; lone surrogates become "?".
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    if whole.isascii():
        return whole
    seen = _without_invisible(unicodedata.normalize("NFKC", whole))
    # Without what stood between them, letters and marks may compose.
    folded = _fold_scripts(_without_towers(unicodedata.normalize("NFKC", seen)))
    return unicodedata.normalize("NFKC", folded)


def limit_repeats(
    words: Iterable[str], most: int = MAX_REPEATS, seen: Counter[str] | None = None
) -> Iterator[str]:
    """Iterate over words without those that have come `most` times before, in `seen` or here."""
    times: Counter[str] = Counter() if seen is None else seen
    for word in words:
        times[word] += 1
        if times[word] <= most:
            yield word


def without_stuffing(text: str, most_words: int = MAX_WORDS) -> str:
    """Return a text without repetitions of a word beyond MAX_REPEATS, and with at most `most_words` words.

    Words are runs of letters and digits, whatever their case; a run of Chinese is one word. Short words may
    come MAX_SHORT_REPEATS times. The other characters stay up to the last word that counts.
    """
    times: Counter[str] = Counter()
    pieces: list[str] = []
    end = count = 0
    for found in _WORDS.finditer(text):
        if count >= most_words:
            return "".join(pieces).rstrip()
        times[word := found.group().casefold()] += 1
        if times[word] <= (MAX_SHORT_REPEATS if len(word) <= SHORT_WORD and word.isascii() else MAX_REPEATS):
            pieces.append(text[end : found.end()])
            count += 1
        end = found.end()
    return "".join([*pieces, text[end:]])


def _without_invisible(text: str) -> str:
    """Return a text without characters that are not seen; joiners stay where a script needs them."""

    def replacement(found: re.Match[str]) -> str:
        before = text[found.start() - 1 : found.start()]
        if any(mark in found.group() for mark in _JOINERS) and before and _needs_joiners(before):
            return next(mark for mark in found.group() if mark in _JOINERS)
        # The word breaks of Thai, Lao, Burmese and Khmer are breaks.
        return " " if "\u200b" in found.group() and "\u0e00" <= before <= "\u17ff" else ""

    return _INVISIBLE.sub(replacement, text)


def _needs_joiners(letter: str) -> bool:
    """Return whether a letter is of a script, or an emoji, that joiners give a meaning."""
    return "\u0590" <= letter <= "\u0dff" or "\u0f00" <= letter <= "\u109f" or letter >= "\U0001f000"


def _without_towers(text: str) -> str:
    """Return a text with at most MAX_MARKS combining marks on each letter of Latin, Greek or Cyrillic."""
    kept: list[str] = []
    marks, is_tower = 0, False
    for char in text:
        if unicodedata.combining(char):
            marks += 1
            if is_tower and marks > MAX_MARKS:
                continue
        else:
            marks, is_tower = 0, char < "\u0590" or char >= "\u1e00"
        kept.append(char)
    return "".join(kept)


def _fold_scripts(text: str) -> str:
    if not _OTHER.search(text) or not _LATIN.search(text):
        return text
    scripts = {_script(word) for word in _LETTERS.findall(text)}
    is_latin = "latin" in scripts and "other" not in scripts
    return _LETTERS.sub(lambda found: _fold_word(found.group(), is_latin=is_latin), text)


def _script(word: str) -> Literal["latin", "other", "alike", "unclear"]:
    """Return the script that a word is meant in: Latin, another, either by its looks, or unclear."""
    others = _OTHER.findall(word)
    if not others:
        return "latin" if _LATIN.search(word) else "unclear"
    latin = _LATIN.findall(word)
    if not latin:
        return "alike" if len(word) > 1 and all(letter in _ALWAYS_ALIKE for letter in word) else "other"
    telling = [letter for letter in others if letter not in _ALWAYS_ALIKE]
    if all(letter in _TO_CYRILLIC for letter in latin) and telling and len(others) > len(latin):
        return "other" if all(map(_CYRILLIC_LETTER.match, others)) else "unclear"
    return "latin" if all(letter in _TO_LATIN for letter in others) else "unclear"


def _fold_word(word: str, *, is_latin: bool) -> str:
    """Return a word in one script; `is_latin` says that the text's other words are Latin."""
    script = _script(word)
    if script == "latin" or (script == "alike" and is_latin):
        return "".join(_TO_LATIN.get(letter, letter) for letter in word)
    if script == "other":
        return "".join(_TO_CYRILLIC.get(letter, letter) for letter in word)
    return word
