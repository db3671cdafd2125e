"""Lexicon of a shop: what its categories, creators and tags are called, and where a text names them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from vrec.assistant.text import Unit, has_han, normal_form, stem_of, stems_of, units_of
from vrec.assistant.vocabulary import ATTRIBUTE_NAMES, OCCASIONS, PRODUCTS, RECIPIENTS, SHADES, names

TermKind = Literal[
    "category", "product", "color", "attribute", "tag", "creator", "occasion", "recipient"
]  # fmt: skip
MAX_PHRASE_UNITS = 12
"""Units of the longest phrase that is found."""
_PATH = re.compile(r"[>/|›»]|::")
"""Signs between the levels of a category."""
_AFTER_WORD = frozenset(
    "色的款吗呢吧呀啊嘛么和或跟与不没太也都就是有坏碎破丢打一些调系我你他她那可行还只最更很为比要换"
)
"""Characters that may follow a word of one character: 红的, not the 红 of 红包."""
_BEFORE_WORD = frozenset(
    "的有是偏卖者点个只条件双顶本款支张把盏套块台部瓶盒束买要找看给送穿戴用选换和或跟与色里家些"
)
"""Characters that may stand before a word of one character that is no color."""


@dataclass(frozen=True, slots=True)
class Term:
    """Thing that a phrase may stand for."""

    kind: TermKind
    value: str


@dataclass(frozen=True, slots=True)
class Mention:
    """Phrase of a text and what it stands for."""

    first: int
    """Index of its first unit."""
    end: int
    """Index after its last unit."""
    terms: tuple[Term, ...]
    """All that it may stand for, of one kind."""


class PhraseIndex:
    """Phrases by their units; of several that begin at a unit, the longest is found."""

    def __init__(self, *, parts: bool = False) -> None:
        """Begin an empty index.

        Args:
            parts: Whether a single Chinese character is found also as a part of a longer word.
        """
        self._parts = parts
        self._terms: dict[tuple[str, ...], dict[Term, None]] = {}
        self._most: dict[str, int] = {}

    def add(self, phrase: str, term: Term) -> None:
        """Let a phrase stand for a term too; one that is empty or too long is left out."""
        key = stems_of(phrase)
        if 0 < len(key) <= MAX_PHRASE_UNITS and not all(
            len(stem) == 1 and not stem.isalnum() for stem in key
        ):
            # Not in place: a copy of the index may have the same terms.
            self._terms[key] = {**self._terms.get(key, {}), term: None}
            self._most[key[0]] = max(len(key), self._most.get(key[0], 0))

    def words(self) -> set[str]:
        """Return the words of all phrases, without the endings of plurals."""
        return {stem for key in self._terms for stem in key}

    def terms(self, phrase: str) -> tuple[Term, ...]:
        """Return what a phrase stands for."""
        return tuple(self._terms.get(stems_of(phrase), ()))

    def copy(self) -> "PhraseIndex":
        """Return an index with the same phrases, to which others can be added."""
        other = copy(self)
        other._terms, other._most = dict(self._terms), dict(self._most)
        return other

    def plain(self, stems: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Return the phrases that `find` finds in a text without Chinese characters.

        Args:
            stems: The stems of its units.
        """
        found, start = list[tuple[str, ...]](), 0
        while start < len(stems):
            most = self._most.get(stems[start], 0)
            for end in range(min(len(stems), start + most), start, -1):
                if (key := stems[start:end]) in self._terms:
                    found.append(key)
                    start = end
                    break
            else:
                start += 1
        return found

    def terms_of(self, key: tuple[str, ...]) -> tuple[Term, ...]:
        """Return what a phrase stands for, by the stems of its units."""
        return tuple(self._terms.get(key, ()))

    def openings(self, kind: TermKind) -> frozenset[str]:
        """Return the first units of all phrases for terms of a kind."""
        found = (key[0] for key, terms in self._terms.items() if any(term.kind == kind for term in terms))
        return frozenset(found)

    def find(self, units: Sequence[Unit]) -> list[Mention]:
        """Return the phrases in a text, from the left, none of which overlaps another."""
        found: list[Mention] = []
        start = 0
        while start < len(units):
            follows = bool(found) and found[-1].end == start
            mention = self._longest(units, start, follows_phrase=follows)
            if mention is not None:
                found.append(mention)
            start = start + 1 if mention is None else mention.end
        return found

    def _longest(self, units: Sequence[Unit], start: int, *, follows_phrase: bool) -> Mention | None:
        most = self._most.get(units[start].stem, 0)
        for end in range(min(len(units), start + most), start, -1):
            terms = self._terms.get(tuple(unit.stem for unit in units[start:end]))
            if not terms:
                continue
            mention = Mention(start, end, tuple(terms))
            is_word = self._parts or end - start > 1 or not units[start].is_han
            if is_word or self._stands_alone(units, mention, follows_phrase=follows_phrase):
                return mention
        return None

    def _stands_alone(self, units: Sequence[Unit], mention: Mention, *, follows_phrase: bool) -> bool:
        """Return whether a single Chinese character is a word, not a part of a longer one."""
        before, end = units[mention.first - 1] if mention.first else None, mention.end
        is_color = any(term.kind == "color" for term in mention.terms)
        if not (
            is_color or follows_phrase or before is None or not before.is_han or before.text in _BEFORE_WORD
        ):
            return False
        if end == len(units) or not units[end].is_han or units[end].text in _AFTER_WORD:
            return True
        return self._longest(units, end, follows_phrase=True) is not None


class ShopLexicon:
    """Words of a shop and of shoppers, and the colors that each of its videos is said to have."""

    def __init__(self, videos: pa.Table) -> None:
        """Read the words of a catalog.

        Args:
            videos: VIDEOS; categories, creators and tags are named as they stand, and a category also by the
                words that other shops use for it.
        """
        self._known: dict[str, frozenset[str]] = {
            "categories": frozenset(_distinct(videos.column("category").to_pylist())),
            "creators": frozenset(_distinct(videos.column("creator_id").to_pylist())),
            "tags": frozenset(
                _distinct(tag for tags in videos.column("tags").to_pylist() for tag in tags or ())
            ),
        }
        self.phrases = PhraseIndex()
        self._add_general_words()
        for tag in self.tags:
            if not self.phrases.terms(tag):
                self.phrases.add(tag, Term("tag", tag))
        for creator in self.creators:
            for name in _names_of(creator):
                self.phrases.add(name, Term("creator", creator))
        self._add_categories()
        self._color_openings = self.phrases.openings("color")
        self._colors_of: dict[tuple[str, ...], frozenset[str]] = {}
        """Shades of phrases that were seen, with their families."""

    def with_videos(self, videos: pa.Table) -> "ShopLexicon":
        """Return the lexicon with the categories, creators and tags of further VIDEOS; this one stays."""
        named = {
            "categories": _distinct(videos.column("category").to_pylist()),
            "creators": _distinct(videos.column("creator_id").to_pylist()),
            "tags": _distinct(tag for tags in videos.column("tags").to_pylist() for tag in tags or ()),
        }
        new = {name: set(held).difference(self._known[name]) for name, held in named.items()}
        if not any(new.values()):
            return self
        other = copy(self)
        other.phrases, other._category_names = self.phrases.copy(), dict(self._category_names)
        other._colors_of = {}
        other._known = {name: held | new[name] for name, held in self._known.items()}
        for tag in sorted(new["tags"]):
            if not other.phrases.terms(tag):
                other.phrases.add(tag, Term("tag", tag))
        for creator in sorted(new["creators"]):
            for name in _names_of(creator):
                other.phrases.add(name, Term("creator", creator))
        other._name_categories(sorted(new["categories"]))
        return other

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories of the shop, ascending."""
        return tuple(sorted(self._known["categories"]))

    @property
    def creators(self) -> tuple[str, ...]:
        """Creators of the shop, ascending."""
        return tuple(sorted(self._known["creators"]))

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of the shop, ascending."""
        return tuple(sorted(self._known["tags"]))

    def _add_general_words(self) -> None:
        for shade in SHADES:
            for name in (shade.name, *shade.names):
                self.phrases.add(name, Term("color", shade.name))
                if has_han(name) and len(name) > 1 and not name.endswith("色"):
                    self.phrases.add(f"{name}色", Term("color", shade.name))
        for attribute, called in ATTRIBUTE_NAMES.items():
            for name in called:
                self.phrases.add(name, Term("attribute", attribute))
        tables: tuple[tuple[TermKind, Mapping[str, str]], ...] = (
            ("occasion", OCCASIONS),
            ("recipient", RECIPIENTS),
        )
        for kind, table in tables:
            for value, line in table.items():
                for name in names(line):
                    self.phrases.add(name, Term(kind, value))

    def _add_categories(self) -> None:
        """Add each category under its own name and under those of the products that it may hold.

        A shopper's general word, such as 鞋, stands for all categories to whose products it belongs.
        """
        self._category_names: dict[str, tuple[str, ...]] = {}
        own = self._name_categories(self.categories)
        # What no category holds may still stand in a title, and must not be taken for a wish of no kind.
        for number in set(range(len(PRODUCTS))) - own:
            product, *others = names(PRODUCTS[number])
            for name in (product, *others):
                self.phrases.add(name, Term("product", product))

    def _name_categories(self, categories: Iterable[str]) -> set[int]:
        """Add names of categories, and return the lines of PRODUCTS that they hold."""
        own: set[int] = set()
        for category in categories:
            for part in (*_PATH.split(category), *_parts_of(category)):
                self.phrases.add(part, Term("category", category))
            # "Women > Running shoes" holds what "running shoes" names: the head of a name is its end.
            for number in _products_of(_parts_of(category)[-1], _PRODUCT_LINES):
                own.add(number)
                self._category_names.setdefault(category, names(PRODUCTS[number]))
                for name in names(PRODUCTS[number]):
                    self.phrases.add(name, Term("category", category))
        return own

    def category_name(self, category: str, language: str) -> str:
        """Return what a category is called in a language, `en` or `zh`; its own name if that is not known."""
        own_is_zh = not category.isascii()
        own = _parts_of(category)[-1]
        if own_is_zh == (language == "zh"):
            return own
        known = (name for name in self._category_names.get(category, ()) if name.isascii() == own_is_zh)
        return next(known, own)

    def mentions(self, units: Sequence[Unit]) -> list[Mention]:
        """Return the terms that a text names, each phrase with all terms of its most telling kind."""
        found = self.phrases.find(units)
        return [Mention(mention.first, mention.end, _most_telling(mention.terms)) for mention in found]

    def colors_in(self, text: str, stems: tuple[str, ...]) -> frozenset[str]:
        """Return the shades that a title or tag names, and their families.

        Args:
            text: The title or tag.
            stems: The stems of its units.
        """
        if self._color_openings.isdisjoint(stems):
            return frozenset()
        # Without Chinese characters no phrase depends on what is beside it.
        if has_han(text):
            named = [mention.terms for mention in self.mentions(units_of(normal_form(text)))]
            return _with_families(term for terms in named for term in terms)
        colors: list[frozenset[str]] = []
        for key in self.phrases.plain(stems):
            if (shades := self._colors_of.get(key)) is None:
                shades = self._colors_of[key] = _with_families(_most_telling(self.phrases.terms_of(key)))
            if shades:
                colors.append(shades)
        return colors[0] if len(colors) == 1 else frozenset[str]().union(*colors)


_KINDS: tuple[TermKind, ...] = (
    "category", "color", "attribute", "recipient", "occasion", "creator", "product", "tag"
)  # fmt: skip
"""Kinds of terms, the most telling first."""


def _most_telling(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Return the terms of the most telling kind."""
    kinds = {term.kind for term in terms}
    if len(kinds) < 2:
        return tuple(terms)
    kind = next(kind for kind in _KINDS if kind in kinds)
    return tuple(term for term in terms if term.kind == kind)


def _with_families(terms: Iterable[Term]) -> frozenset[str]:
    """Return the shades among terms, and their families."""
    shades = {term.value for term in terms if term.kind == "color"}
    plain = {TRUE[shade] for shade in shades if shade in TRUE}
    return frozenset(shades | plain | {family for shade in shades for family in FAMILIES[shade]})


FAMILIES = {shade.name: shade.families for shade in SHADES}
"""Broader colors of each shade."""
NEAR = {shade.name: shade.near for shade in SHADES if shade.near}
"""Colors that are near to a shade and that it is seldom called by."""
TRUE = {"red": "true red"}
"""Shade of what is called by a broader color itself: 大红 finds what is red, and no burgundy."""


def wider_colors(shade: str) -> tuple[str, ...]:
    """Return the colors by which a shade is refused too."""
    return (*FAMILIES.get(shade, ()), *NEAR.get(shade, ()))


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value and value.strip()}))


def _readable(name: str) -> str:
    """Return an id as words: "phone_cases" gives "phone cases"."""
    return " ".join(name.replace("_", " ").replace("-", " ").replace("&", " ").split()) or name


def _names_of(creator: str) -> Iterable[str]:
    """Return what shoppers call a creator: "Kerb & Co" is "Kerb and Co" too."""
    return dict.fromkeys((_readable(creator), creator, creator.replace("&", " and ")))


def _parts_of(category: str) -> list[str]:
    """Return the names in the path of a category, such as "Women > Shoes", the last one last."""
    parts = [_readable(part) for part in _PATH.split(category) if part.strip()]
    return parts or [_readable(category)]


def _key(name: str) -> str:
    return " ".join(stem_of(word) for word in normal_form(name).replace("-", " ").split())


def _products_of(category: str, by_name: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the lines of PRODUCTS whose names the category's name ends with, by the longest such name."""
    key = _key(category)
    words = key.split()
    for start in range(len(words)):
        if found := by_name.get(" ".join(words[start:])):
            return list(found)
    ends = [key[start:] for start in range(len(key))]
    return next((list(by_name[end]) for end in ends if end in by_name and not end.isascii()), [])


def _product_lines() -> dict[str, list[int]]:
    """Return the lines of PRODUCTS by each name."""
    lines: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(PRODUCTS):
        for name in names(line):
            lines[_key(name)].append(number)
    return dict(lines)


_PRODUCT_LINES = _product_lines()
