"""`/v1/assistant` beside `/v1/recommend`, on one Ray at the same time, and what reading a catalog costs.

Run as `python benchmarks/assistant_serving.py [--videos 20000]`. The load comes from another process over
real HTTP, in rounds that take turns between the two operations, so that whatever else the machine does falls
on both: first one client, then 50 conversations side by side beside as many clients of recommendations. A
conversation asks for a category, narrows it, refers to a card, asks for more and starts again.

The cost of reading a catalog is that of `ShopLexicon` and `CatalogFacets` for 100,000 videos, each with a
title of its own, beside reading every title and tag word by word, once.
"""

import asyncio
import tempfile
import time
import uuid
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pyarrow as pa
from harness import LoadProcess, number_parser
from serve import SHOPPERS, Send, _sound, flood, kept_bundle, send_histories

from vrec.assistant.catalog import CatalogFacets
from vrec.assistant.lexicon import ShopLexicon
from vrec.assistant.text import normal_form, units_of
from vrec.config.serve import ServeConfig
from vrec.pipelines.cluster import connect_cluster
from vrec.serving.deploy import deploy_service, stop_service

CONVERSATIONS = 50
WORDS = (
    "soft",
    "new",
    "large",
    "red",
    "blue",
    "cotton",
    "classic",
    "light",
    "daily",
    "summer",
    "best",
    "white",
)


def conversation(category: str) -> list[str]:
    """Return the messages of a conversation about a category."""
    return [
        f"show me {category}", "under 60", "not red", "the second one, in blue", "cheaper", "show me more",
        "how much is the first one?", f"{category} for my mother", "start again",
    ]  # fmt: skip


def reading_costs(videos: int) -> tuple[float, float]:
    """Return the CPU seconds of reading a catalog per 100,000 videos: vrec's, and word by word."""
    rng = np.random.default_rng(0)
    titles = [f"{' '.join(rng.choice(WORDS, 5))} mug no {number}" for number in range(videos)]
    tags = [list(rng.choice(WORDS, 4)) for _ in range(videos)]
    table = pa.table(
        {
            "video_id": [f"v{number}" for number in range(videos)],
            "title": titles,
            "tags": tags,
            "category": [f"category {number % 40}" for number in range(videos)],
            "creator_id": [f"creator-{number % 500}" for number in range(videos)],
            "price": rng.uniform(1, 99, videos),
            "available": [True] * videos,
        }
    )
    begun = time.process_time()
    lexicon = ShopLexicon(table)
    CatalogFacets(table, lexicon)
    ours, begun = time.process_time() - begun, time.process_time()
    for title, held in zip(titles, tags, strict=True):
        for text in (title, *held):
            [unit.stem for unit in units_of(normal_form(text))]
            lexicon.mentions(units_of(normal_form(text)))
    return ours * 1e5 / videos, (time.process_time() - begun) * 1e5 / videos


async def measure(
    url: str, videos: list[str], categories: list[str], *, seconds: float, rounds: float
) -> dict[str, dict[str, list[float]]]:
    rng = np.random.default_rng(0)

    async def recommend(session: aiohttp.ClientSession) -> dict[str, Any]:
        body = {"user_id": f"s{rng.integers(SHOPPERS)}", "k": 10, "surface": "feed"}
        async with session.post(f"{url}/v1/recommend", json=body) as response:
            return await _sound(response, 200)

    talks = [cycle(conversation(str(rng.choice(categories)))) for _ in range(CONVERSATIONS)]
    free = list(range(CONVERSATIONS))

    async def talk(session: aiohttp.ClientSession) -> dict[str, Any]:
        shopper = free.pop()
        body = {"user_id": f"s{shopper}", "message": next(talks[shopper]), "message_id": uuid.uuid4().hex}
        try:
            async with session.post(f"{url}/v1/assistant", json=body) as response:
                return await _sound(response, 200)
        finally:
            free.insert(0, shopper)

    sides: dict[str, Send] = {"recommend": recommend, "assistant": talk}
    found: dict[str, dict[str, list[float]]] = {name: {"one": [], "many": [], "rate": []} for name in sides}
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector) as session:
        await send_histories(session, url, videos, rng)
        await asyncio.sleep(2)
        for send in sides.values():
            await flood(session, send, 2, 2.0)
        for _ in range(int(rounds)):
            for name, send in sides.items():
                found[name]["one"] += (await flood(session, send, 1, seconds))[0]
            for name, send in sides.items():
                ms, _, spent = await flood(session, send, CONVERSATIONS, seconds)
                found[name]["many"] += ms
                found[name]["rate"].append(len(ms) / spent)
    return found


def show(found: dict[str, dict[str, list[float]]], videos: int) -> None:
    print(f"{videos:,} videos")
    for load, clients in (("one", 1), ("many", CONVERSATIONS)):
        for q in (50, 95):
            a, b = (float(np.percentile(found[name][load], q)) for name in ("recommend", "assistant"))
            print(
                f"{clients} at a time, p{q}: /v1/recommend {a:.1f} ms, /v1/assistant {b:.1f} ms, "
                f"ratio {b / a:.2f}{' (wanted 3)' if q == 95 else ''}"
            )
    a, b = (float(np.median(found[name]["rate"])) for name in ("recommend", "assistant"))
    print(f"throughput with {CONVERSATIONS}: /v1/recommend {a:.0f}/s, /v1/assistant {b:.0f}/s")


def main() -> None:
    parser = number_parser(__doc__, videos=20_000, seconds=3.0, rounds=5)
    parser.add_argument("--api", type=int, default=1, help="HTTP replicas")
    parser.add_argument("--ranking", type=int, default=1, help="ranking replicas; with none, HTTP ones rank")
    parser.add_argument("--bundle", default=None, help="folder; drawn there if there is none")
    asked = parser.parse_args()
    ours, plain = reading_costs(min(asked.videos, 20_000))
    print(
        f"reading 100,000 videos: {ours:.1f} CPU s, word by word {plain:.1f} CPU s, ratio {plain / ours:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = asked.bundle or str(Path(tempfile.gettempdir()) / f"vrec-large-shop-{asked.videos}")
        table = kept_bundle(bundle, asked.videos).videos
        videos = table.column("video_id").to_pylist()
        categories = sorted({one for one in table.column("category").to_pylist() if one})
        config = ServeConfig.model_validate(
            {
                "bundle": bundle,
                "data": str(folder / "data"),
                "store": {"kind": "sqlite", "path": str(folder / "store.db")},
                "port": 8093,
                # No answer may be a degraded one, however busy the machine is.
                "ranking_timeout_s": 60.0,
                "profile_timeout_s": 60.0,
                "assistant": {"timeout_s": 60.0},
                "replicas": {"api": asked.api, "ranking": asked.ranking},
                "security": {"requests_per_second": 1e6, "burst": 1_000_000},
            }
        )
        with connect_cluster():
            done = deploy_service(config)
            more = {"seconds": asked.seconds, "rounds": asked.rounds}
            found = LoadProcess(measure, done["url"], videos, categories, **more).result()
            stop_service(config)
        show(found, len(videos))


if __name__ == "__main__":
    main()
