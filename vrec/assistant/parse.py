"""Understanding of one message: what it asks for, refuses, refers to and commands."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from vrec.assistant.commands import Command, Span, commands
from vrec.assistant.content_words import ContentWords
from vrec.assistant.lexicon import Mention, ShopLexicon
from vrec.assistant.numerals import with_digits
from vrec.assistant.phrases import (
    ORDINALS,
    Reference,
    asks_for_popular,
    asks_for_products,
    asks_for_things,
    asks_how,
    asks_of_shown,
    asks_of_the_world,
    asks_what_it_is,
    companions,
    corrections,
    is_elliptic,
    is_question,
    is_size,
    leaves_subject,
    needs_another,
    pointers,
    references,
    replaces,
    says_also,
    says_or,
    says_other_color,
    sizes,
    speaks_of_own,
)
from vrec.assistant.prices import PriceWish
from vrec.assistant.query import Facet, FacetValues
from vrec.assistant.spelling import SpellingIndex
from vrec.assistant.text import Unit, has_han, language_of, normal_form, units_of
from vrec.assistant.topics import names_service, topic_index
from vrec.assistant.understanding.clauses import Attitude, attitudes, clause_marks
from vrec.assistant.understanding.indifference import says_any
from vrec.assistant.understanding.mentions import subjects_and_corrected
from vrec.assistant.understanding.price_phrases import amount_alone, price_wishes
from vrec.assistant.understanding.utterance import Utterance

MAX_MESSAGE_CHARS = 2_000
"""Characters of a message that are read."""
_OF_ANY_LANGUAGE = frozenset({"ok", "okay", "s", "m", "l", "xl", "xxl"})
MAX_BORROWED = 1
"""English words that leave a Chinese conversation Chinese, as in "budget 200"."""
_SENTENCES = """
    a an the i i'm i'd it it's is are was do does did can could will would what which who how where when why
    to of for in on at with without and or not no me my you your this that please under over below above less
    than more most least between about around any only from
"""
_OF_SENTENCES = frozenset(_SENTENCES.split())
_COVER = "|"
"""Sign in place of what has been understood."""
_FACET_OF: dict[str, Facet] = {
    "category": "category", "product": "product", "color": "color", "attribute": "attribute",
    "tag": "tag", "creator": "creator",
}  # fmt: skip


IsWord = Callable[[str], bool]
"""Whether a text is a word of the shop."""


class MessageParser:
    """Parser of messages by a shop's lexicon; it keeps nothing between messages."""

    def __init__(self, lexicon: ShopLexicon) -> None:
        """Build the parser.

        Args:
            lexicon: The words of the shop.
        """
        self._lexicon = lexicon
        self._content = ContentWords()
        self._spelling = SpellingIndex(lexicon.phrases.words())
        own = (*lexicon.categories, *lexicon.creators, *lexicon.tags)
        self._own_names = {
            unit.text for name in own for unit in units_of(normal_form(name)) if not unit.is_sign
        }

    def parse(
        self, message: str, default_language: str | None = None, in_catalog: IsWord | None = None
    ) -> Utterance:
        """Understand a message.

        Args:
            message: What the shopper wrote.
            default_language: Language of the conversation, for a message that has none of its own.
            in_catalog: Whether a word stands in a title or tag; such a word is not misspelled.
        """
        text = with_digits(normal_form(message[:MAX_MESSAGE_CHARS]))
        covered = _Covered(text)
        fixes = corrections(text)
        covered.hide(fixes, ";")
        covered.hide(companions(covered.text))
        orders = commands(covered.text)
        places = self._places(covered.text, [span for _, span in orders], in_catalog)
        covered.hide(places)
        measures = sizes(covered.text)
        covered.hide(span for _, span in measures)
        wishes = price_wishes(covered.text)
        covered.hide(wishes)
        other_color = says_other_color(covered.text)
        covered.hide([other_color] if other_color else [])
        no_matter = says_any(covered.text)
        covered.hide(span for _, span in no_matter)
        meant = _outside(orders, [*wishes, *(span for _, span in no_matter)])
        facets = self._facets(
            covered, [*(span for _, span in meant), *clause_marks(covered.text)], in_catalog, fixes
        )
        wanted = facets.of("wants").adding("size", _last_sizes(measures, fixes))
        named: tuple[Command, ...] = tuple(dict.fromkeys(kind for kind, _ in meant))
        return Utterance(
            text=text,
            language=self._language(
                message[:MAX_MESSAGE_CHARS],
                default_language,
                # "Cheaper" is all that an English sentence needs.
                is_whole=bool(named) or any(wish.range is None for wish in wishes),
            ),
            commands=named,
            wanted=wanted,
            unwanted=facets.of("refuses"),
            freed=facets.of("frees"),
            removed=facets.of("removes"),
            permitted=facets.of("permits"),
            prices=tuple(wishes),
            amount=None if wishes else amount_alone(text),
            references=tuple(places),
            points=bool(pointers(covered.text)),
            occasion=facets.occasion,
            recipient=facets.recipient,
            **_manner(text),
            any_of=tuple(dict.fromkeys(facet for facet, _ in no_matter)),
            other_color=other_color is not None,
        )

    def _language(self, message: str, default: str | None, *, is_whole: bool) -> Literal["en", "zh"]:
        """Return the language of a message; names that the shop has in one language only tell nothing."""
        units = units_of(normal_form(message))
        own = "".join(
            "|" if unit.text in self._own_names | _OF_ANY_LANGUAGE else f" {unit.text}" for unit in units
        )
        told = language_of(own, "")
        if default == "zh" and (has_han(own) or not (is_whole or _is_english_sentence(own))):
            # Who writes Chinese uses English words without leaving it.
            told = default
        return "zh" if (told or default or language_of(message)) == "zh" else "en"

    def _facets(
        self, covered: "_Covered", no_words: Sequence[Span], in_catalog: IsWord | None, fixes: Sequence[Span]
    ) -> "_Facets":
        """Collect the facets of what is not understood yet, each wanted or not; `no_words` say no more."""
        units = units_of(covered.text)
        meant = attitudes(covered.text, units)
        facets = _Facets()
        commanded = {
            index
            for index, unit in enumerate(units)
            if any(span.start <= unit.start < span.end for span in no_words)
        }
        known = self._mentions(units, commanded, in_catalog)
        used = {index for mention in known for index in range(mention.first, mention.end)}
        for mention in subjects_and_corrected(units, known, meant, fixes):
            facets.add(mention, meant[mention.first])
        for first, end in self._words(units, used | commanded):
            word = covered.text[units[first].start : units[end - 1].end]
            facets.add_word(word, meant[first])
        return facets

    def _mentions(self, units: list[Unit], commanded: set[int], in_catalog: IsWord | None) -> list[Mention]:
        """Return the terms that a text names, after its misspelled words are corrected in `units`."""
        known = self._lexicon.mentions(units)
        used = {index for mention in known for index in range(mention.first, mention.end)} | commanded
        slips = 0
        for index in self._content.indices(units):
            unit = units[index]
            if index in used or (in_catalog is not None and in_catalog(unit.stem)):
                continue
            if topic_index().find([unit]):  # "charge" is no slip of "charger"
                continue
            if (color := self._color_of(unit.stem)) is not None:
                units[index], slips = replace(unit, text=color, stem=color), slips + 1
                continue
            if (meant := self._spelling.corrected(unit.stem)) is not None:
                units[index], slips = replace(unit, text=meant, stem=meant), slips + 1
        return self._lexicon.mentions(units) if slips else known

    def _places(self, text: str, orders: Sequence[Span], in_catalog: IsWord | None) -> list[Reference]:
        """Return the references to places of the last list; "the third floor" is none in a question."""
        places, units = references(text), units_of(text)
        if not places or in_catalog is None or not is_question(text):
            return places
        content = set(self._content.indices(units))
        kept: list[Reference] = []
        for place in places:
            after = next((i for i, unit in enumerate(units) if unit.start >= place.end), len(units))
            noun = units[after] if after in content and not units[after].is_han else None
            ordinal = text[place.start : place.end].rsplit(maxsplit=1)[-1] in ORDINALS
            if noun is not None and any(span.start <= noun.start < span.end for span in orders):
                noun = None  # "the second set me back" has no set
            if noun is None or not ordinal or in_catalog(noun.stem) or self._lexicon.mentions([noun]):
                kept.append(place)
        return kept

    def _color_of(self, word: str) -> str | None:
        """Return the color that a word such as "reddish" is made from."""
        base = word.removesuffix("ish")
        forms = (base, base[:-1], f"{base}e") if base not in ("", word) else ()
        named = self._lexicon.phrases.terms
        return next((form for form in forms if any(term.kind == "color" for term in named(form))), None)

    def _words(self, units: Sequence[Unit], used: set[int]) -> list[tuple[int, int]]:
        """Return the stretches of units that are words of their own: not used, and no stop words."""
        found: list[tuple[int, int]] = []
        for index in self._content.indices(units):
            if index in used:
                continue
            han = units[index].is_han
            if han and found and found[-1][1] == index and units[index - 1].is_han:
                found[-1] = (found[-1][0], index + 1)
            else:
                found.append((index, index + 1))
        return found


def _outside(
    orders: Sequence[tuple[Command, Span]], understood: Sequence[Span | PriceWish]
) -> list[tuple[Command, Span]]:
    """Return the commands outside phrases that mean something else: the "more" of "5 or more" is none."""
    return [
        (kind, span)
        for kind, span in orders
        if not any(span.start < one.end and one.start < span.end for one in understood)
    ]


def _last_sizes(measures: Sequence[tuple[str, Span]], fixes: Sequence[Span]) -> list[str]:
    """Return the sizes that a message ends with: those behind its last correction, if there are any."""
    behind = [size for size, span in measures if fixes and span.start >= fixes[-1].end]
    return behind or [size for size, _ in measures]


def _is_english_sentence(text: str) -> bool:
    """Return whether a text has more than one English word, or one that only sentences have."""
    words = [unit.text for unit in units_of(text) if unit.text[0].isalpha()]
    return len(words) > MAX_BORROWED or not _OF_SENTENCES.isdisjoint(words)


def _manner(text: str) -> dict[str, Any]:
    """Return the fields of an Utterance that the phrases of the whole text decide."""
    return {
        "also": says_also(text),
        "either": says_or(text),
        "replaces": replaces(text),
        "leaves_subject": leaves_subject(text),
        "elliptic": is_elliptic(text),
        "is_question": is_question(text),
        "asks_service": names_service(units_of(text), of_things=not asks_for_things(text)),
        "asks_for_products": asks_for_products(text),
        "asks_for_things": asks_for_things(text),
        "needs_another": needs_another(text),
        "asks_for_popular": asks_for_popular(text),
        "asks_of_shown": asks_of_shown(text),
        "speaks_of_own": speaks_of_own(text),
        "asks_what_it_is": asks_what_it_is(text),
        "asks_how": asks_how(text),
        "asks_of_the_world": asks_of_the_world(text),
    }


class _Facets:
    """Values of a message by what is meant by them."""

    def __init__(self) -> None:
        self._by: dict[Attitude, FacetValues] = {}
        self.occasion: str | None = None
        self.recipient: str | None = None

    def of(self, attitude: Attitude) -> FacetValues:
        return self._by.get(attitude, FacetValues())

    def add(self, mention: Mention, attitude: Attitude) -> None:
        kind = mention.terms[0].kind
        values = [term.value for term in mention.terms]
        is_wish = attitude in ("wants", "permits")
        if kind == "occasion":
            self.occasion = values[0] if is_wish else None
        elif kind == "recipient":
            self.recipient = values[0] if is_wish else None
        elif kind == "tag" and all(is_size(value) for value in values):
            self._by[attitude] = self.of(attitude).adding("size", [normal_form(value) for value in values])
        elif attitude == "wants" and kind == "category" and (both := self._also(values)):
            # "Women's sneakers" are what is both.
            self._by[attitude] = self.of(attitude).with_values("category", both)
        else:
            self._by[attitude] = self.of(attitude).adding(_FACET_OF[kind], values)

    def _also(self, categories: Sequence[str]) -> list[str]:
        return [one for one in self.of("wants").category if one in categories]

    def add_word(self, word: str, attitude: Attitude) -> None:
        # What may be, or was never asked for, needs no words.
        attitude = "frees" if attitude == "removes" else attitude
        if attitude != "permits":
            self._by[attitude] = self.of(attitude).adding("word", [word])


class _Covered:
    """Text in which what has been understood is hidden from those who read after."""

    def __init__(self, text: str) -> None:
        self.text = text

    def hide(self, spans: Iterable[Span | PriceWish], cover: str = _COVER) -> None:
        for span in spans:
            self.text = self.text[: span.start] + cover * (span.end - span.start) + self.text[span.end :]
