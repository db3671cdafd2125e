"""Weights of `vrec/assistant/passages.py`: when a passage answers a question of customer service.

Run as `python benchmarks/assistant_passage_weights.py`. A log-linear model over the passages of a shop and
"none of them" is fitted on the questions of three shops: those that the documents answer, those that they do
not, and the first again without the documents that answer them (leave-one-document-out), which must be
refused. Printed are the weights, the shares with each of the three shops left out of the fit, and those of a
fourth shop that is never fitted on (`assistant_garden/`), also of the whole assistant with the weights that
it has. The second fit is for questions without a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from assistant_other_author import FOLDER as OTHER
from assistant_other_author import read_questions
from assistant_policies import FOLDERS, QUESTIONS, ROOT, ask_all
from assistant_policies import shares as shares_of
from assistant_questions import Question
from assistant_shops import drawn_shop
from scipy.optimize import minimize

from vrec.assistant.assistant import Assistant
from vrec.assistant.documents import Passage, read_documents
from vrec.assistant.passages import FEATURES, PassageSearch
from vrec.core.types import Clip, Vectors
from vrec.encoders.text import TextEncoder, TextEncoderConfig

LEFT_OUT = 0.2
"""Weight of a question whose documents are left out, beside 1 for the others."""
PENALTY = 0.002
"""Weight of the mean square of the weights."""
GARDEN = ROOT / "assistant_garden"


@dataclass(frozen=True)
class Case:
    """Question with the features of each passage of its shop."""

    passages: np.ndarray
    asked: np.ndarray
    right: tuple[int, ...]
    """Rows of the passages that answer it; none if it is to be refused."""
    is_left_out: bool


class Encoder:
    """Encoder that encodes each text once."""

    def __init__(self, *, is_blind: bool) -> None:
        self._encoder, self._is_blind = TextEncoder(TextEncoderConfig()), is_blind
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            vectors = self._encoder.encode([Clip(str(n), text=text) for n, text in enumerate(new)])
            self._known |= dict(zip(new, vectors * (not self._is_blind), strict=True))
        return np.stack([self._known[text] for text in texts])


def cases(passages: Sequence[Passage], questions: Sequence[Question], encode: Encoder) -> list[Case]:
    """Return the cases of a shop."""
    whole, less = PassageSearch(passages, encode), dict[tuple[str, ...], PassageSearch]()
    found: list[Case] = []
    for question, anchors in questions:
        right = tuple(row for row, passage in enumerate(passages) if passage.anchor in anchors)
        found.append(Case(*whole.features(question, encode([question])[0]), right, is_left_out=False))
        if right:
            rows = {row for one in right for row in (one, whole.translation_of(one))}
            gone = tuple(sorted({passages[row].document for row in rows}))
            if gone not in less:
                less[gone] = PassageSearch([one for one in passages if one.document not in gone], encode)
            found.append(Case(*less[gone].features(question, encode([question])[0]), (), is_left_out=True))
    return found


def loss(weights: np.ndarray, fitted: Sequence[Case]) -> float:
    """Return the negative log-likelihood of the passages that answer, or of "none of them"."""
    total = 0.0
    for case in fitted:
        scores = np.concatenate(
            [[case.asked @ weights[len(FEATURES) :]], case.passages @ weights[: len(FEATURES)]]
        )
        right = [row + 1 for row in case.right] or [0]
        likelihood = np.logaddexp.reduce(scores[right]) - np.logaddexp.reduce(scores)
        total -= likelihood * (LEFT_OUT if case.is_left_out else 1.0)
    return total / len(fitted) + PENALTY * float(np.mean(weights**2))


def fit(fitted: Sequence[Case]) -> np.ndarray:
    """Return the weights of the features, then those of the threshold."""
    start = np.zeros(fitted[0].passages.shape[1] + len(fitted[0].asked))
    return minimize(loss, start, args=(fitted,), method="L-BFGS-B").x


def shares(weights: np.ndarray, tested: Sequence[Case]) -> str:
    """Return how often the right passage is found, and other questions are refused."""
    right, wrong, refused, left_out = list[bool](), list[bool](), list[bool](), list[bool]()
    for case in tested:
        scores = case.passages @ weights[: len(FEATURES)]
        best = int(np.argmax(scores))
        answered = bool(scores[best] > case.asked @ weights[len(FEATURES) :])
        if case.right:
            right.append(answered and best in case.right)
            wrong.append(answered and best not in case.right)
        else:
            (left_out if case.is_left_out else refused).append(not answered)
    return (
        f"cited {np.mean(right):.3f} (another passage {np.mean(wrong):.3f}), refused {np.mean(refused):.3f}, "
        f"refused without its document {np.mean(left_out):.3f}"
    )


def main() -> None:
    """Print the report."""
    folders = FOLDERS | {"other author": OTHER / "documents", "garden": GARDEN / "documents"}
    questions = QUESTIONS | {"other author": read_questions(), "garden": read_questions(GARDEN)}
    for is_blind in (False, True):
        encode = Encoder(is_blind=is_blind)
        shops = {
            name: cases(read_documents(folder), questions[name], encode) for name, folder in folders.items()
        }
        unseen = shops.pop("garden")
        print("without vectors" if is_blind else "with vectors")
        for name, tested in shops.items():
            rest = [case for other, held in shops.items() if other != name for case in held]
            print(f"  {name}, left out: {shares(fit(rest), tested)}")
        weights = fit([case for held in shops.values() for case in held])
        print(f"  garden: {shares(weights, unseen)}")
        print("  weights", tuple(round(float(one), 2) for one in weights[: len(FEATURES)]))
        print("  threshold", tuple(round(float(one), 2) for one in weights[len(FEATURES) :]))
    search = PassageSearch(read_documents(folders["garden"]), Encoder(is_blind=False))
    assistant = Assistant(drawn_shop().table, search, "USD")
    for begin, cited in ask_all(assistant, search, questions["garden"], show=False).items():
        print(f"garden, the assistant, {begin}: {shares_of(questions['garden'], cited)}")


if __name__ == "__main__":
    main()
