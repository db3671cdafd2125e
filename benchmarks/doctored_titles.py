"""Doctored titles: what search and the text encoder make of them, before and after plain texts and caps.

`python benchmarks/doctored_titles.py --titles FILE.csv` takes a table of ids and titles, such as that of
MicroLens (19,220). Some titles are doctored: invisible characters, Cyrillic look-alikes, or a popular word 20
times. "Before" is NFKC alone. Nothing is chosen on the titles but which word counts as popular.
"""

import argparse
import contextlib
import csv
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index, tokenize
from vrec.core.schema import VIDEOS
from vrec.core.types import Clip, Vectors
from vrec.encoders.text import TextEncoder, TextEncoderConfig
from vrec.robustness.content.doctored import hidden_title, look_alike_title, stuffed_title

BLANK = {"uri": "", "kind": "clip", "product_ids": [], "domain": "", "creator_id": "", "tags": []}
DOCTORED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "invisible characters": hidden_title,
    "look-alike letters": look_alike_title,
}


def main() -> None:
    """Print the shares and cosines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--titles", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5_000)
    parser.add_argument("--doctored", type=int, default=300)
    parser.add_argument("--encoded", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with given.titles.open() as file:
        texts = [row[1] for row in islice(csv.reader(file), 1, given.count + 1)]
    chosen = np.random.default_rng(given.seed).permutation(len(texts))[: given.doctored].tolist()
    report_honest(texts)
    report_search(texts, chosen)
    report_stuffing(texts, chosen)
    report_vectors([texts[row] for row in chosen[: given.encoded]], common_word(texts))


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Search and encode as before: after NFKC alone."""
    with contextlib.ExitStack() as stack:
        for module in ("vrec.bundle.bm25", "vrec.encoders.text"):
            stack.enter_context(
                patch(f"{module}.plain_text", lambda text: unicodedata.normalize("NFKC", text))
            )
        stack.enter_context(patch("vrec.bundle.bm25.limit_repeats", _unlimited))
        stack.enter_context(patch("vrec.encoders.text.without_stuffing", str))
        yield


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _unlimited(words: Iterable[str], **_: object) -> Iterable[str]:
    return words


def report_honest(texts: list[str]) -> None:
    """Print how many honest titles are searched by other words than before."""
    now = [list(tokenize(text)) for text in texts]
    with as_before():
        changed = sum(list(tokenize(text)) != tokens for text, tokens in zip(texts, now, strict=True))
    print(f"honest titles whose words change: {changed} of {len(texts):,}")


def report_search(texts: list[str], chosen: list[int]) -> None:
    """Print how often a search for a title's words finds the video among the first ten."""
    queries = {row: " ".join(islice((t for t in tokenize(texts[row]) if len(t) > 3), 4)) for row in chosen}
    print("| titles | found before | found now |\n|---|---|---|")
    for name, doctor in DOCTORED.items():
        doctored = changed_titles(texts, chosen, doctor)
        shares = []
        for mode in (as_before(), contextlib.nullcontext()):
            with mode:
                index = build(doctored)
                hits = [video_id(row) in dict(index.search(queries[row], 10)) for row in chosen]
            shares.append(np.mean(hits))
        print(f"| {name} | {shares[0]:.3f} | {shares[1]:.3f} |")


def report_stuffing(texts: list[str], chosen: list[int]) -> None:
    """Print the places of titles that have a popular word 20 times in a search for it."""
    word = common_word(texts)
    stuffed = changed_titles(texts, chosen[:20], lambda title: stuffed_title(title, [word], 20))
    for name, mode in (("before", as_before()), ("now", contextlib.nullcontext())):
        with mode:
            found = [name for name, _ in build(stuffed).search(word, len(texts))]
        places = sorted(found.index(video_id(row)) + 1 for row in chosen[:20] if video_id(row) in found)
        print(
            f"20 of {len(texts):,} titles with “{word}” 20 times, {name}: best place {places[0]}, median "
            f"{np.median(places):.0f}, {sum(place <= 10 for place in places)} of the first ten"
        )


def report_vectors(titles: list[str], word: str) -> None:
    """Print how like the vector of a doctored title is to that of the honest one."""
    encoder = TextEncoder(TextEncoderConfig())
    honest = encode(encoder, titles)
    kinds = {**DOCTORED, "a popular word 20 times": lambda title: stuffed_title(title, [word], 20)}
    print("| titles | cosine before | cosine now |\n|---|---|---|")
    for name, doctor in kinds.items():
        doctored = [doctor(title) for title in titles]
        with as_before():
            before = encode(encoder, doctored)
        likeness = [
            float(np.median((vectors * honest).sum(axis=1)))
            for vectors in (before, encode(encoder, doctored))
        ]
        print(f"| {name} | {likeness[0]:.3f} | {likeness[1]:.3f} |")


def encode(encoder: TextEncoder, titles: list[str]) -> Vectors:
    """Return the unit vectors of titles."""
    return encoder.encode([Clip("title", text=title) for title in titles])


def changed_titles(texts: list[str], chosen: list[int], doctor: Callable[[str], str]) -> list[str]:
    """Return titles of which some are doctored."""
    doctored = list(texts)
    for row in chosen:
        doctored[row] = doctor(texts[row])
    return doctored


def common_word(texts: list[str]) -> str:
    """Return the 30th most frequent word of five letters or more."""
    words = Counter(word for text in texts for word in set(tokenize(text)) if len(word) > 4)
    return words.most_common(30)[-1][0]


def build(texts: list[str]) -> Bm25Index:
    """Return the index of videos with these titles."""
    rows = [BLANK | {"video_id": video_id(n), "available": True, "title": t} for n, t in enumerate(texts)]
    return Bm25Index.from_videos(pa.Table.from_pylist(rows, schema=VIDEOS.arrow()))


def video_id(row: int) -> str:
    """Return the id of a row's video."""
    return f"v{row:06}"


if __name__ == "__main__":
    main()
