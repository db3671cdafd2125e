"""Words of a message that say something: no stop words, numbers or signs."""

from collections.abc import Sequence

from vrec.assistant.lexicon import PhraseIndex, Term
from vrec.assistant.stop_words import CHINESE, ENGLISH
from vrec.assistant.text import Unit

_SIGN = Unit("|", "|", 0, 0)


class ContentWords:
    """Filter of stop words in both languages."""

    def __init__(self) -> None:
        self._stops = PhraseIndex(parts=True)
        for word in CHINESE:
            self._stops.add(word, Term("tag", word))

    def indices(self, units: Sequence[Unit]) -> list[int]:
        """Return the indices of the units that are content words or characters of such."""
        stops = {
            index
            for mention in self._stops.find([unit if unit.is_han else _SIGN for unit in units])
            for index in range(mention.first, mention.end)
        }
        return [
            index
            for index, unit in enumerate(units)
            if index not in stops
            and not unit.is_sign
            and not unit.text[0].isdigit()
            and _says_something(unit)
        ]


def _says_something(unit: Unit) -> bool:
    # "You've" says as little as "you".
    head = unit.text.replace("’", "'").partition("'")[0]
    return unit.is_han or (len(unit.text) > 1 and ENGLISH.isdisjoint((unit.text, unit.stem, head)))
