"""Measure which searches match by meaning, by the floor on the similarity.

    python benchmarks/search_floor.py --videos demo-out/shop/VIDEOS.parquet [--titles TITLES.csv]

The queries are for the clips of `make demo`. The floor is chosen on the first set and reported on the second.
"""

import argparse
import csv
import random
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from vrec.core.types import Clip
from vrec.encoders.text import TextEncoder, TextEncoderConfig, clip_text

FLOORS = (0.15, 0.2, 0.225, 0.25, 0.275, 0.3, 0.35)
SIZES = (70, 1_000, 8_000)
QUERIES = {
    "chosen on": {
        "backpacks": "rucksack for school|bag for hiking|schoolbag|daypack|travel bag|书包|旅行背包|mochila",
        "dresses": "gown|evening wear|summer frock|clothes for a wedding|sundress|裙子|晚礼服|vestido",
        "headphones": "earphones|listen to music|earbuds|noise cancelling|headset|蓝牙耳机|auriculares",
        "lamps": "light for my desk|bedside light|lantern|lighting|desk light|灯|床头灯|lámpara",
        "mugs": "coffee cup|tea cup|drink coffee from|ceramic cup|杯子|咖啡杯|taza|Kaffeebecher",
        "plants": "houseplant|green leaves|indoor garden|flower pot|succulent|盆栽|planta|plante verte",
        "sneakers": "running shoes|sports shoes|trainers|jogging footwear|gym shoes|跑步鞋|zapatillas",
        "watches": "wristwatch|timepiece|clock for the wrist|chronograph|tell the time|腕表|reloj|montre",
    },
    "reported on": {
        "backpacks": "knapsack|satchel|bag for the gym|carry books to college|sac à dos|zaino|背囊",
        "dresses": "ball gown|maxi skirt outfit|cocktail attire|prom clothes|Kleid|连身裙",
        "headphones": "earpiece|wireless audio for commuting|gaming headset|Kopfhörer|cuffie|头戴耳机",
        "lamps": "reading light|night light|illumination for the study|table light|Leselampe|lampada|夜灯",
        "mugs": "espresso cup|cup for tea|drinkware|pottery cup|tazza|чашка|茶杯|breakfast drink cup",
        "plants": "potted greenery|fern|cactus|foliage|Zimmerpflanze|pianta|花草|grow something at home",
        "sneakers": "tennis shoes|footwear for running|marathon shoes|scarpe da corsa|кроссовки|球鞋",
        "watches": "pocket watch|quartz timepiece|smartwatch|analog clock to wear|orologio|часы|机械表",
    },
}
OTHER_TOPICS = {
    "chosen on": "income tax return|quantum chromodynamics|python programming|parliament election|"
    "dentist appointment|stock market crash|recipe for lasagna|history of rome|mortgage rates|税务申报|牙医",
    "reported on": "black hole|tax deduction|surgery recovery|bridge engineering|cricket score|opera tickets|"
    "tractor repair|prime minister|beer brewing|car insurance|chess opening|visa application|fishing rod",
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--titles", type=Path, help="CSV of ids and titles, with a header")
    options = parser.parse_args()
    encoder = TextEncoder(TextEncoderConfig())
    videos = pq.read_table(options.videos).to_pylist()
    catalog = _vectors(encoder, [clip_text(row["title"], row["tags"]) for row in videos])
    for seed, (name, queries) in enumerate(QUERIES.items(), start=1):
        groups = {
            "in other words": [query for line in queries.values() for query in line.split("|")],
            "nonsense": _nonsense(random.Random(seed)),
            "other topics": OTHER_TOPICS[name].split("|"),
        }
        print(f"\n{name}: share of queries that match something")
        for group, texts in groups.items():
            best = (_vectors(encoder, texts) @ catalog.T).max(axis=1)
            shares = "  ".join(f"{floor}: {(best >= floor).mean():.3f}" for floor in FLOORS)
            print(f"  {group} ({len(texts)})  {shares}")
    if options.titles:
        _print_by_size(encoder, options.titles)


def _print_by_size(encoder: TextEncoder, path: Path) -> None:
    with path.open(newline="") as file:
        titles = [row[1] for row in csv.reader(file)][1:]
    random.Random(0).shuffle(titles)
    vectors = _vectors(encoder, titles[: max(SIZES)])
    nonsense = _vectors(encoder, _nonsense(random.Random(2)))
    print(f"\nnonsense that matches something in {path.name}, by the number of titles")
    for size in SIZES:
        best = (nonsense @ vectors[:size].T).max(axis=1)
        print(f"  {size:,}", "  ".join(f"{floor}: {(best >= floor).mean():.3f}" for floor in FLOORS))


def _nonsense(rng: random.Random) -> list[str]:
    """Return 160 texts of random letters, Chinese characters, digits and signs."""

    def some(alphabet: str, shortest: int, longest: int) -> str:
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(shortest, longest)))

    words = [
        " ".join(some(string.ascii_lowercase, 4, 10) for _ in range(rng.randint(1, 3))) for _ in range(120)
    ]
    chinese = [some("的一是在不了有和人这中大为上个国我以要他", 3, 6) for _ in range(20)]
    digits = [some(string.digits, 5, 9) for _ in range(10)]
    return [*words, *chinese, *digits, *(some(string.punctuation, 4, 8) for _ in range(10))]


def _vectors(encoder: TextEncoder, texts: Sequence[str | None]) -> np.ndarray:
    clips = [Clip(str(number), text=text) for number, text in enumerate(texts)]
    return np.concatenate([encoder.encode(clips[start : start + 64]) for start in range(0, len(clips), 64)])


if __name__ == "__main__":
    main()
