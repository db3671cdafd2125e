"""Questions of customer service: the right passage cited, and what the documents do not say refused.

Run as `python benchmarks/assistant_policies.py`. 60 questions about the documents of the demo's shop, on
which thresholds are chosen, and 60 about those of another shop (`assistant_documents/`), which has other
headings and words. Each is asked of the whole assistant, in a new conversation and after cards were shown.
Beside it: the passage that BM25 over
the same passages has first, refused below the score that is best for the demo's shop.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from assistant_questions import SAMPLE, SEALED, Question
from assistant_shops import drawn_shop, video_row

from vrec.assistant.assistant import Assistant
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.documents import Passage, read_documents
from vrec.assistant.passages import PassageSearch
from vrec.bundle.bm25 import Bm25Index
from vrec.core.schema import VIDEOS
from vrec.core.types import Clip
from vrec.encoders.text import TextEncoder, TextEncoderConfig

ROOT = Path(__file__).resolve().parent
FOLDERS = {
    "sample": ROOT.parent / "vrec" / "synthetic" / "shop" / "policies",
    "sealed": ROOT / "assistant_documents",
}
QUESTIONS = {"sample": SAMPLE, "sealed": SEALED}


def word_index(passages: Sequence[Passage]) -> Bm25Index:
    """Return BM25 over the passages, each as the title of a video."""
    rows = [
        video_row(f"p{number:04d}", "", "", [], f"{passage.title} {passage.text}", None, "en")
        for number, passage in enumerate(passages)
    ]
    return Bm25Index.from_videos(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()))


def best_by_words(index: Bm25Index, passages: Sequence[Passage], question: str) -> tuple[str, float]:
    """Return the anchor of BM25's first passage and its score."""
    found = index.search(question, 1)
    return (passages[int(found[0][0][1:])].anchor, found[0][1]) if found else ("", 0.0)


def shares(questions: Sequence[Question], cited: Sequence[str | None]) -> str:
    """Return the share of answerable questions with the right passage, and of others refused, as text."""
    right = [one in anchors for (_, anchors), one in zip(questions, cited, strict=True) if anchors]
    wrong = [one is not None and one not in a for (_, a), one in zip(questions, cited, strict=True) if a]
    refused = [one is None for (_, anchors), one in zip(questions, cited, strict=True) if not anchors]
    return (
        f"cited {np.mean(right):.3f} of {len(right)} (another passage {np.mean(wrong):.3f}), "
        f"refused {np.mean(refused):.3f} of {len(refused)}"
    )


def best_threshold(questions: Sequence[Question], found: Sequence[tuple[str, float]]) -> float:
    """Return the score below which to refuse for most right answers."""

    def right(least: float) -> int:
        cited = [anchor if score >= least else None for anchor, score in found]
        return sum((c in a) if a else c is None for (_, a), c in zip(questions, cited, strict=True))

    return max(sorted({score for _, score in found}), key=right)


def ask_all(
    assistant: Assistant, search: PassageSearch, questions: Sequence[Question], *, show: bool
) -> dict[str, list[str | None]]:
    """Return the anchor cited for each question, None where it was refused, by how the conversation began."""
    cited: dict[str, list[str | None]] = {"in a new conversation": [], "after cards were shown": []}
    for question, anchors in questions:
        for begin, held in cited.items():
            state = DialogueState()
            if begin == "after cards were shown":
                opening = "看看台灯" if not question.isascii() else "show me lamps"
                state, _ = assistant.answer(state, opening, lambda request: request.video_ids[: request.k])
            _, answer = assistant.answer(state, question, lambda request: request.video_ids[: request.k])
            held.append(answer.sources[0].passage.anchor if answer.sources else None)
            if answer.kind not in ("passage", "person") and not anchors:
                held[-1] = f"({answer.kind})" if answer.kind == "cards" else None
            if show and (held[-1] or "") not in (anchors or ("",)):
                best = search.search(question, 1)[0]
                print(f"  {begin}: {question} -> {answer.kind} {held[-1]}")
                print(f"    best {best.passage.anchor} {best.score:.2f}")
    return cited


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--show", action="store_true", help="print what went wrong with the demo's documents")
    options = parser.parse_args()
    encoder, shop, least = TextEncoder(TextEncoderConfig()), drawn_shop(), 0.0

    def encode(texts: Sequence[str]) -> np.ndarray:
        return encoder.encode([Clip(str(number), text=text) for number, text in enumerate(texts)])

    for name, folder in FOLDERS.items():
        passages, questions = read_documents(folder), QUESTIONS[name]
        search = PassageSearch(passages, encode)
        assistant = Assistant(shop.table, search, "USD")
        cited = ask_all(assistant, search, questions, show=options.show)
        for begin, held in cited.items():
            print(f"{name}, {begin}: {shares(questions, held)}")
        index = word_index(passages)
        found = [best_by_words(index, passages, question) for question, _ in questions]
        least = least or best_threshold(questions, found)
        print(f"{name}, BM25: {shares(questions, [a if s >= least else None for a, s in found])}")


if __name__ == "__main__":
    main()
