"""Bulk upserts of many videos while lists are asked for: what a shop's nightly feed costs its shoppers.

Run as `python benchmarks/bulk_under_load.py [--rows 100000] [--parts 10] [--bundle DIR]`. A request for a
list goes out every 100 ms, whether or not earlier ones are answered, from a process of its own. In turns
there is nothing else, and a part of the feed, one `POST /v1/videos:bulk` with the next rows: the videos of
the bundle first and new ones after them. So whatever else the machine does falls on both.

Then a replica's way to the present state: reading the journal that the upserts have left, and applying all of
it to the bundle, which is what one that starts does.
"""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from harness import LoadProcess, number_parser
from large_shop import large_bundle

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.pipelines.cluster import connect_cluster
from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.deploy import deploy_service, stop_service
from vrec.serving.recommend.engine import RecommendEngine

PORT = 8094
EVERY_S = 0.1
LINES_PER_PIECE = 200


def row(video_id: str, number: int, price: float, uri: str) -> bytes:
    """Return a line of the feed."""
    fields = {"uri": uri, "creator_id": f"c{number % 500}"}
    more = {"title": f"Video {number} of the feed", "category": f"category {number % 20}", "price": price}
    return json.dumps({"video_id": video_id, **fields, **more}).encode() + b"\n"


async def send_feed(
    session: aiohttp.ClientSession, url: str, names: list[str], price: float, uri: str
) -> float:
    """Upsert all rows in one request, and return its seconds."""

    async def pieces() -> Any:
        for start in range(0, len(names), LINES_PER_PIECE):
            part = names[start : start + LINES_PER_PIECE]
            yield b"".join(row(name, start + n, price, uri) for n, name in enumerate(part))

    begun = time.perf_counter()
    headers = {"Content-Type": "application/x-ndjson"}
    timeout = aiohttp.ClientTimeout(total=1_800)
    async with session.post(
        f"{url}/v1/videos:bulk", data=pieces(), headers=headers, timeout=timeout
    ) as response:
        found = await response.json(content_type=None)
    if response.status != 200 or found["failed"] or found["added"] + found["updated"] != len(names):
        raise SystemExit(f"the feed was answered with {response.status}: {json.dumps(found)[:500]}")
    return time.perf_counter() - begun


async def ask_while(session: aiohttp.ClientSession, url: str, other: asyncio.Task[Any]) -> list[float]:
    """Return the milliseconds of requests for lists, one every EVERY_S, while another task runs."""
    ms, degraded = list[float](), list[bool]()

    async def ask(number: int) -> None:
        begun = time.perf_counter()
        body = {"user_id": f"s{number % 500}", "k": 10, "surface": "feed"}
        async with session.post(f"{url}/v1/recommend", json=body) as response:
            found = await response.json(content_type=None)
        degraded.append(bool(found.get("degraded")))
        if response.status != 200:
            raise SystemExit(f"a list was answered with {response.status}: {json.dumps(found)[:500]}")
        ms.append((time.perf_counter() - begun) * 1e3)

    asks: list[asyncio.Task[None]] = []
    while not other.done():
        asks.append(asyncio.create_task(ask(len(asks))))
        await asyncio.sleep(EVERY_S)
    await asyncio.gather(*asks)
    if any(degraded):
        print(f"{sum(degraded)} of {len(degraded)} lists were degraded", flush=True)
    return ms


async def measure(url: str, names: list[str], seconds: float, parts: int, uri: str) -> dict[str, Any]:
    """Return milliseconds of lists alone and beside the feed in turns, and seconds of its parts."""
    found: dict[str, Any] = {"alone": [], "beside": [], "feed_s": []}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await ask_while(session, url, asyncio.create_task(asyncio.sleep(3)))
        for part in range(parts):
            found["alone"] += await ask_while(session, url, asyncio.create_task(asyncio.sleep(seconds)))
            some = names[len(names) * part // parts : len(names) * (part + 1) // parts]
            feed = asyncio.create_task(send_feed(session, url, some, float(part + 1), uri))
            found["beside"] += await ask_while(session, url, feed)
            found["feed_s"].append(feed.result())
            # The other replica follows a moment later.
            found["beside"] += await ask_while(session, url, asyncio.create_task(asyncio.sleep(2)))
    return found


def show(found: dict[str, Any], rows: int) -> None:
    seconds = sum(found["feed_s"])
    print(f"{rows:,} rows in {len(found['feed_s'])} requests, {seconds:.1f} s, {rows / seconds:,.0f}/s")
    for q in (50, 95, 99):
        alone, beside = (np.percentile(found[name], q) for name in ("alone", "beside"))
        wanted = " (wanted 1.5)" if q == 95 else ""
        print(f"  p{q}: {alone:.1f} ms alone, {beside:.1f} ms beside, ratio {beside / alone:.2f}{wanted}")
    most = max(found["beside"])
    print(
        f"  {len(found['alone'])} lists alone, {len(found['beside'])} beside; the slowest took {most:.0f} ms"
    )


def measure_start(data: str, config: ServeConfig) -> None:
    """Print the seconds in which a replica reads the journal and applies all of it to its bundle."""

    def load_engine(uri: str) -> tuple[BundleCatalog, RecommendEngine]:
        bundle = ServingBundle.load(uri)
        return bundle, RecommendEngine(bundle, config)

    begun = time.perf_counter()
    asyncio.run(LiveCatalog(f"{data}-none", load_engine).move(config.bundle))
    bare_s, live = time.perf_counter() - begun, LiveCatalog(data, load_engine)
    begun = time.perf_counter()
    asyncio.run(live.move(config.bundle))
    spent_s = time.perf_counter() - begun
    print(f"a replica is at the present state after {spent_s:.2f} s, {bare_s:.2f} s without changes")


def main() -> None:
    parser = number_parser(__doc__, rows=100_000, videos=20_000, seconds=10.0, parts=10)
    parser.add_argument("--api", type=int, default=2, help="HTTP replicas, which rank")
    parser.add_argument("--bundle", default=None, help="one that was written before; drawn anew otherwise")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        clip.write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 9_000)
        bundle = asked.bundle or large_bundle(str(folder / "bundle"), videos=asked.videos)
        known = BundleCatalog.load(bundle).videos.column("video_id").to_pylist()
        names = [*known, *(f"new-{n}" for n in range(max(0, asked.rows - len(known))))][: asked.rows]
        config = ServeConfig.model_validate(
            {
                "bundle": bundle,
                "data": str(folder / "data"),
                "store": {"kind": "sqlite", "path": str(folder / "store.db")},
                "port": PORT,
                "replicas": {"api": asked.api, "ranking": 0, "encoder": 0},
                "security": {
                    "requests_per_second": 1e6,
                    "burst": 1_000_000,
                    "media_roots": [str(folder)],
                },
            }
        )
        with connect_cluster():
            done = deploy_service(config)
            arguments = (done["url"], names, asked.seconds, asked.parts, str(clip))
            found = LoadProcess(measure, *arguments).result()
            stop_service(config)
        show(found, len(names))
        measure_start(config.data, config)


if __name__ == "__main__":
    main()
