"""Mentions that count: the heads of compound nouns, and what a message says after it corrects itself."""

from collections.abc import Sequence

from vrec.assistant.commands import Span
from vrec.assistant.lexicon import Mention
from vrec.assistant.text import Unit
from vrec.assistant.understanding.clauses import Attitude

_SUBJECTS = frozenset({"category", "product"})
_DETERMINERS = frozenset({"a", "an", "the", "my", "our", "her", "his", "their"})
_CONTEXT = frozenset({"for", "on", "onto", "beside"})
"""Words before what a thing is for: "a lamp for my desk"."""


def subjects_and_corrected(
    units: Sequence[Unit], mentions: Sequence[Mention], meant: Sequence[Attitude], fixes: Sequence[Span]
) -> list[Mention]:
    """Return the mentions of a message that count.

    Args:
        units: Units of the message.
        mentions: All that it names, from the left.
        meant: Attitude to each unit.
        fixes: Where the message corrects itself.
    """
    kept: list[Mention] = []
    for place, mention in enumerate(mentions):
        if _is_corrected(units, mentions, meant, fixes, place):
            continue
        after = mentions[place + 1] if place + 1 < len(mentions) else None
        if after is not None and _is_modifier(units, mention, after):
            continue
        if _is_purpose(units, mention) and any(one.terms[0].kind == "category" for one in kept):
            continue
        kept.append(mention)
    return kept


def _is_corrected(
    units: Sequence[Unit],
    mentions: Sequence[Mention],
    meant: Sequence[Attitude],
    fixes: Sequence[Span],
    place: int,
) -> bool:
    """Return whether a wish is replaced by one of its kind behind a correction: "black, no wait, white"."""
    mention = mentions[place]
    end = units[mention.end - 1].end
    fix = next((span for span in reversed(fixes) if span.start >= end), None)
    if fix is None or meant[mention.first] != "wants":
        return False
    group = _group(mention)
    return any(
        _group(other) == group and meant[other.first] == "wants" and units[other.first].start >= fix.end
        for other in mentions[place + 1 :]
    )


def _group(mention: Mention) -> str:
    kind = mention.terms[0].kind
    return "subject" if kind in _SUBJECTS else kind


def _is_modifier(units: Sequence[Unit], mention: Mention, after: Mention) -> bool:
    """Return whether a noun only says more of the one behind it: "dress shirt", 电脑包, 喝咖啡的杯子."""
    kind, last = mention.terms[0].kind, units[mention.end - 1]
    if kind not in _SUBJECTS or after.terms[0].kind not in _SUBJECTS:
        return False
    between = units[mention.end : after.first]
    if not last.is_han:
        # "Mugs lamps" are two things, a "dress shirt" is one.
        return not between and last.text == last.stem and not units[after.first].is_han
    is_absent = kind == "product" and after.terms[0].kind == "category"
    return is_absent and all(unit.text == "的" for unit in between)


def _is_purpose(units: Sequence[Unit], mention: Mention) -> bool:
    """Return whether a product that no category holds is what another thing is for: "a lamp for my desk"."""
    if mention.terms[0].kind != "product":
        return False
    first = mention.first - 1
    while first >= 0 and units[first].text in _DETERMINERS:
        first -= 1
    return first >= 0 and units[first].text in _CONTEXT
