"""Conversations, questions and nonsense by authors who knew nothing of the assistant's code.

Run as `python benchmarks/assistant_other_author.py [--author third]`. 40 conversations of 3 to 6 turns, half
of them Chinese, over the catalogs of `assistant.py`, and scored by it; 60 questions about the documents of a
shop for musical instruments, half of them in Chinese, scored by `assistant_policies.py`; 20 messages of
nonsense. By the third author: 60 conversations, of which 30 are English and 6 in both languages; 40 questions
about some of the documents of `assistant_policies.py`, half of them in another language than their document;
12 messages of nonsense. All of it was written before the assistant was run on it. The halves are the even and
the odd conversations, questions and messages, counted from 0; failures are printed for the even half alone.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from assistant import LiveShop, play, report, report_nonsense, report_ranking
from assistant_policies import ask_all, shares
from assistant_questions import Question
from assistant_shops import Shop, drawn_shop, shops
from assistant_talks import Talk

from vrec.assistant.assistant import Assistant
from vrec.assistant.documents import parse_document, read_documents
from vrec.assistant.passages import PassageSearch
from vrec.core.types import Clip
from vrec.encoders.text import TextEncoder, TextEncoderConfig

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "assistant_other_author"
THIRD_FOLDER = HERE / "assistant_third_author"
THIRD_DOCUMENTS = HERE / "assistant_documents"
LEFT_OUT = ("en/changing-your-mind.md", "en/paying.md", "zh/寄送说明.md", "zh/车间.md")
"""Documents of THIRD_DOCUMENTS that say what another one does in the other language, so that each question of
the third author has one answer."""
AROUND = 0.2
"""Share of an amount that a price may be off by where it was asked for approximately."""


def read_lines(name: str, folder: Path = FOLDER) -> list[str]:
    """Return the lines of a file of a folder without comments and empty ones."""
    text = (folder / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("# ")]


def read_conversations(every: dict[str, Shop], folder: Path = FOLDER) -> list[Talk]:
    """Return the conversations; each turn says all that is expected by then."""
    talks: list[Talk] = []
    for line in read_lines("conversations.txt", folder):
        if line.startswith("== "):
            _, shop, language = line.split()
            talks.append((shop, language, []))
        else:
            message, expected = line.rsplit(" => ", 1)
            talks[-1][2].append((message, _delta(expected, every[talks[-1][0]])))
    return talks


def _delta(expected: str, shop: Shop) -> dict[str, Any]:
    """Return what a turn changes in the sense of `assistant_oracle.py`, from what is expected by then."""
    found = dict(_expectations(expected))
    if "nothing" in found:
        return {"reset": True, "category": "no such thing"}
    if "nolist" in found:
        place = found.get("card") or found.get("cart")
        return {"about": int(place)} if place else {"nolist": True}
    category = next(name for name, nouns in shop.categories.items() if found["category"] in (name, *nouns))
    delta: dict[str, Any] = {"reset": True, "exact": True, "category": category}
    for name, key in (
        ("color", "color"), ("tag", "material"), ("brand", "brand"), ("size", "size"),
        ("-color", "refused"), ("-tag", "refused_material"), ("-brand", "refused_brand"),
    ):  # fmt: skip
        if name in found:
            delta[key] = found[name].split("|")
    if price := found.get("price"):
        amount = float(price[1:]) if price.startswith("~") else 0.0
        low, _, high = price.partition("..")
        if amount:
            low, high = str(amount * (1 - AROUND)), str(amount * (1 + AROUND))
        delta |= {"least": float(low)} if low else {}
        delta |= {"most": float(high)} if high else {}
    delta |= {"cheaper": True} if "cheaper" in found else {}
    delta |= {"like": int(found["like"])} if "like" in found else {}
    return delta | ({"more": True} if "new" in found else {})


def _expectations(text: str) -> Iterator[tuple[str, str]]:
    """Iterate over names and values; a value may have spaces."""
    name, value = "", ""
    for word in text.split():
        if "=" in word or word in ("cheaper", "new", "nothing", "nolist"):
            if name:
                yield name, value
            name, _, value = word.partition("=")
        else:
            value = f"{value} {word}"
    yield name, value


def read_questions(folder: Path = FOLDER) -> list[Question]:
    """Return the questions of a folder with the anchors of their passages."""
    questions: list[Question] = []
    for line in read_lines("questions.txt", folder):
        question, answer = line.rsplit(" => ", 1)
        file, _, heading = answer.partition(" # ")
        anchors = [one.anchor for one in parse_document(f"# {heading}\n\ntext", file)] if heading else []
        questions.append((question, tuple(anchors)))
    return questions


def halves(items: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Iterate over all of a set, its even half and its odd half."""
    yield from (("all", items), ("even", items[::2]), ("odd", items[1::2]))


def report_conversations(every: dict[str, Shop], folder: Path, *, show: bool) -> None:
    """Print the scores of the conversations."""
    played = [
        play(LiveShop(every[shop], number), language, turns, show=show and number % 2 == 0)
        for number, (shop, language, turns) in enumerate(read_conversations(every, folder))
    ]
    for name, part in halves(played):
        report(name, part)
        report_ranking(name, part)


def report_questions(folder: Path, *, show: bool) -> None:
    """Print how often the right passage was cited, and other questions refused."""
    encoder = TextEncoder(TextEncoderConfig())
    if folder == THIRD_FOLDER:
        kept = [one for one in read_documents(THIRD_DOCUMENTS) if not one.anchor.startswith(LEFT_OUT)]
    else:
        kept = read_documents(folder / "documents")

    def encode(texts: Sequence[str]) -> np.ndarray:
        return encoder.encode([Clip(str(number), text=text) for number, text in enumerate(texts)])

    search = PassageSearch(kept, encode)
    assistant = Assistant(drawn_shop().table, search, "USD")
    for name, questions in list(halves(read_questions(folder)))[1:]:
        cited = ask_all(assistant, search, questions, show=show and name == "even")
        for begin, held in cited.items():
            print(f"{name}, {begin}: {shares(questions, held)}")


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--show", action="store_true", help="print what went wrong in the even half")
    parser.add_argument("--author", choices=("other", "third"), default="other")
    options = parser.parse_args()
    folder = FOLDER if options.author == "other" else THIRD_FOLDER
    every = shops()
    report_conversations(every, folder, show=options.show)
    report_questions(folder, show=options.show)
    live = {name: LiveShop(shop, 0) for name, shop in every.items()}
    for name, messages in list(halves(read_lines("nonsense.txt", folder)))[1:]:
        print(name, end=" ")
        report_nonsense(live, messages, show=options.show and name == "even")


if __name__ == "__main__":
    main()
