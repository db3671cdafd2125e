"""Sentences about moments of videos, such as where something is shown."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from vrec.assistant.answers import Answer
from vrec.assistant.text import one_line, stems_of
from vrec.assistant.vocabulary import ATTRIBUTE_NAMES
from vrec.assistant.wording import Wording


def clock_text(seconds: float) -> str:
    """Return a time as people write it, such as 0:41 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def says_of(text: str, labels: Sequence[str]) -> bool:
    """Return whether a text, such as a subtitle, names one of the things that a question asks about.

    Args:
        text: The text.
        labels: Names of the things; of a quality in the vocabulary, every other name counts too.
    """
    line = f" {' '.join(stems_of(text))} "
    called = [name for label in labels for name in _names_of(label)]
    return any(f" {' '.join(stems_of(name))} " in line for name in called if stems_of(name))


def _names_of(label: str) -> Sequence[str]:
    return next((held for held in ATTRIBUTE_NAMES.values() if label in held), (label,))


def said_answer(answer: Answer, text: str, start_s: float, end_s: float, words: Wording) -> Answer:
    """Return an answer about a fact with what is said of it in the video.

    Args:
        answer: Answer that the catalog does not say it.
        text: The subtitle.
        start_s: Its start in seconds.
        end_s: Its end in seconds.
        words: The shopper's language.
    """
    said = words.say("In the video it is said: “%(text)s” (%(start)s to %(end)s).") % {
        "text": one_line(text), "start": clock_text(start_s), "end": clock_text(ceil(end_s)),
    }  # fmt: skip
    return replace(answer, text=words.joined([answer.text, said]))


def moment_answer(
    answer: Answer,
    found: Sequence[tuple[str, str | None, float, float]],
    asked: tuple[str, ...],
    words: Wording,
) -> Answer:
    """Return an answer about a moment with the times that were found, such as "0:41 to 0:47".

    Args:
        answer: Answer that says nothing of the times yet; it stays where no video was named and none found.
        found: Video, its title, start and end in seconds of each moment, the best first.
        asked: Videos that the shopper named, of those that the answer may have.
        words: The shopper's language.
    """
    if not found and not answer.video_ids:
        return answer
    if not found:
        text = words.say("I found no such moment. Nothing that is said in the video matches.")
        return replace(answer, text=text, video_ids=asked)
    sentences: list[str] = []
    for _, title, start_s, end_s in found:
        times = words.say("%(start)s to %(end)s") % {
            "start": clock_text(start_s),
            "end": clock_text(ceil(end_s)),
        }
        sentences.append(f"{one_line(title)}: {times}" if title else times)
    ids = tuple(dict.fromkeys(name for name, *_ in found))
    return replace(answer, text="; ".join(sentences), video_ids=ids)
