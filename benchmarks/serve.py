"""The service over HTTP beside bare Serve deployments, all on one Ray at the same time.

Run as `python benchmarks/serve.py [--videos 100000]`. The load comes from another process over real HTTP, in
rounds that take turns between the two, so that whatever else the machine does falls on both. The chain is
what Ray Serve costs by itself: HTTP to one deployment, a call to a second one and from there to a third,
nothing done. The service does as many hops, and on the way fetches a profile, finds 300 candidates among the
videos, scores the best of them with a DIN over the shopper's last events and makes a list.

Drawing the shop takes minutes, so that its bundle is kept in the folder for temporary files, and later runs
take it from there.

Single events go to the service, and to one deployment that appends to a store of the same kind and no more,
in batches of `serve.batch`: it checks nothing, has no second hop, and nobody reads what it stores.
"""

import asyncio
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import numpy as np
from fastapi import FastAPI, Request
from harness import LoadProcess, number_parser
from large_shop import large_bundle
from ray import serve

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.errors import BundleError
from vrec.pipelines.cluster import connect_cluster
from vrec.profiles.stores.codec import table_from_rows
from vrec.profiles.stores.sqlite.config import SqliteConfig
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.profiles.update import ProfilesConfig
from vrec.serving.deploy import deploy_service, stop_service

SHOPPERS = 500
HISTORY = 50
Send = Callable[[aiohttp.ClientSession], Awaitable[dict[str, Any]]]


class Last:
    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        return body


class Middle:
    def __init__(self, last: Any) -> None:
        self._last = last

    async def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._last.answer.remote(body)


floor = FastAPI()


@serve.ingress(floor)
class First:
    def __init__(self, middle: Any) -> None:
        self._middle = middle

    @floor.post("/recommend")
    async def recommend(self, request: Request) -> dict[str, Any]:
        return await self._middle.answer.remote(await request.json())


def chain() -> Any:
    few: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.05}, "max_ongoing_requests": 1000}
    last, middle, first = (cast("Any", serve.deployment(kind, **few)) for kind in (Last, Middle, First))
    return first.bind(middle.bind(last.bind()))


log = FastAPI()


@serve.ingress(log)
class EventLog:
    """Events of single requests into a store, as few calls as Serve makes of them."""

    def __init__(self, path: str) -> None:
        self._store = SqliteStore(SqliteConfig(path=path), lambda _: {}, ProfilesConfig())

    @log.post("/events")
    async def add(self, request: Request) -> dict[str, Any]:
        return await self._append(await request.json())

    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.0)
    async def _append(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        now = time.time_ns() // 1000
        rows = [
            (
                e["event_id"],
                e["user_id"],
                e["video_id"],
                e["kind"],
                e["value"],
                None,
                None,
                None,
                e["surface"],
                now,
            )
            for e in events
        ]
        await asyncio.wrap_future(self._store.submit(table_from_rows(rows)))
        return [{"new": 1}] * len(events)


def event_log(path: str) -> Any:
    few: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0.05}, "max_ongoing_requests": 1000}
    return cast("Any", serve.deployment(EventLog, **few)).bind(path)


async def send_histories(
    session: aiohttp.ClientSession, url: str, videos: list[str], rng: np.random.Generator
) -> None:
    """Send HISTORY events of every shopper."""
    for shopper in range(SHOPPERS):
        rows = [event(f"s{shopper}", videos, rng) for _ in range(HISTORY)]
        async with session.post(f"{url}/v1/events", json={"events": rows}) as response:
            await _sound(response, 202)


async def measure(url: str, videos: list[str], seconds: float, rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def ask(path: str) -> Send:
        async def send(session: aiohttp.ClientSession) -> dict[str, Any]:
            body = {"user_id": f"s{rng.integers(SHOPPERS)}", "k": 10, "surface": "feed"}
            async with session.post(f"{url}{path}", json=body) as response:
                return await _sound(response, 200)

        return send

    def tell(count: int, path: str = "/v1/events", status: int = 202) -> Send:
        async def send(session: aiohttp.ClientSession) -> dict[str, Any]:
            rows = [event(f"s{rng.integers(SHOPPERS)}", videos, rng) for _ in range(count)]
            body = {"events": rows} if count > 1 else rows[0]
            async with session.post(f"{url}{path}", json=body) as response:
                return await _sound(response, status)

        return send

    kinds = {"chain": ask("/floor/recommend"), "vrec": ask("/v1/recommend")}
    found: dict[str, Any] = {kind: {"ms": [], "rate": []} for kind in kinds}
    stages: list[dict[str, float]] = []
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector) as session:
        await send_histories(session, url, videos, rng)
        await asyncio.sleep(2)
        for send in kinds.values():
            await flood(session, send, 2, 2.0)
        for _ in range(rounds):
            for kind, send in kinds.items():
                ms, answers, _ = await flood(session, send, 1, seconds)
                found[kind]["ms"] += ms
                stages += [answer["spent_ms"] for answer in answers] if kind == "vrec" else []
            for kind, send in kinds.items():
                ms, _, spent = await flood(session, send, 16, seconds)
                found[kind]["rate"].append(len(ms) / spent)
        ms, _, spent = await flood(session, tell(100), 8, seconds * 2)
        found["events by 100"] = {"per_s": len(ms) * 100 / spent, "p50": float(np.median(ms))}
        single = {"bare": tell(1, "/log/events", 200), "vrec": tell(1)}
        found["events"] = await rates(session, single, seconds, rounds)
    names = list(stages[0])
    found["stages"] = {
        name: [float(np.percentile([s[name] for s in stages], q)) for q in (50, 99)] for name in names
    }
    return found


async def rates(
    session: aiohttp.ClientSession, sides: dict[str, Send], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Return the requests a second of each side by round, with 64 clients."""
    found: dict[str, list[float]] = {kind: [] for kind in sides}
    for number in range(rounds + 1):
        for kind, send in sides.items():
            ms, _, spent = await flood(session, send, 64, seconds)
            if number:  # first calls open connections
                found[kind].append(len(ms) / spent)
    return found


def event(shopper: str, videos: list[str], rng: np.random.Generator) -> dict[str, Any]:
    video = videos[int(rng.integers(len(videos)))]
    more = {"kind": "watch", "value": float(rng.integers(5, 60)), "surface": "feed"}
    return {"event_id": uuid.uuid4().hex, "user_id": shopper, "video_id": video} | more


async def flood(
    session: aiohttp.ClientSession, send: Send, many: int, seconds: float
) -> tuple[list[float], list[dict[str, Any]], float]:
    """Milliseconds and answers of `many` clients that send one request after another, and the seconds."""
    begun, ms, answers = time.perf_counter(), list[float](), list[dict[str, Any]]()

    async def client() -> None:
        while time.perf_counter() - begun < seconds:
            at = time.perf_counter()
            answers.append(await send(session))
            ms.append((time.perf_counter() - at) * 1e3)

    await asyncio.gather(*(client() for _ in range(many)))
    return ms, answers, time.perf_counter() - begun


async def _sound(response: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    answer = await response.json(content_type=None)
    if response.status != status or answer.get("degraded"):
        raise SystemExit(f"{response.url} said {response.status}: {json.dumps(answer)[:500]}")
    return answer


def show(found: dict[str, Any], cold_s: float, videos: int) -> None:
    print(f"ready {cold_s:.1f} s after a cold start with Ray up; {videos:,} videos, {SHOPPERS} shoppers")
    chain_ms, vrec_ms = (np.array(found[kind]["ms"]) for kind in ("chain", "vrec"))
    for q, limit in ((50, 1.5), (99, 2.0)):
        a, b = np.percentile(chain_ms, q), np.percentile(vrec_ms, q)
        print(f"p{q}: chain {a:.2f} ms, /v1/recommend {b:.2f} ms, ratio {b / a:.2f} (wanted {limit})")
    a, b = (float(np.median(found[kind]["rate"])) for kind in ("chain", "vrec"))
    rounds = ", ".join(
        f"{v / c:.2f}" for c, v in zip(found["chain"]["rate"], found["vrec"]["rate"], strict=True)
    )
    print(f"throughput: chain {a:.0f}/s, vrec {b:.0f}/s, ratio {b / a:.2f} (wanted .65; by round {rounds})")
    print("where the time goes, p50 and p99 in ms; `total` is what the HTTP process waited for all of it:")
    for name, (half, most) in found["stages"].items():
        print(f"  {name:<12}{half:8.2f}{most:8.2f}")
    inside = sum(half for name, (half, _) in found["stages"].items() if name != "total")
    rest = np.percentile(vrec_ms, 50) - inside
    print(f"  {'HTTP, hops':<12}{rest:8.2f}")
    by_100 = found["events by 100"]
    print(f"events by 100: {by_100['per_s']:,.0f} durable events/s, a request takes {by_100['p50']:.1f} ms")
    bare, own = found["events"]["bare"], found["events"]["vrec"]
    rounds = ", ".join(f"{b / a:.2f}" for a, b in zip(bare, own, strict=True))
    a, b = float(np.median(bare)), float(np.median(own))
    print(f"events one by one: bare {a:.0f}/s, vrec {b:.0f}/s, ratio {b / a:.2f} (wanted .8; by {rounds})")


def kept_bundle(uri: str, videos: int) -> ServingBundle:
    """Return the bundle in a folder, drawn now if there is none or one of another version of vrec."""
    try:
        return ServingBundle.load(uri)
    except BundleError:
        shutil.rmtree(uri, ignore_errors=True)
        print(f"drawing a shop into {uri}", flush=True)
        return ServingBundle.load(large_bundle(uri, videos=videos))


def main() -> None:
    parser = number_parser(__doc__, videos=100_000, seconds=3.0, rounds=5)
    parser.add_argument("--api", type=int, default=2, help="HTTP replicas, as in serve_configs/dev.yaml")
    parser.add_argument("--ranking", type=int, default=0, help="ranking replicas; with none, HTTP ones rank")
    parser.add_argument("--bundle", default=None, help="folder; drawn there if there is none")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = asked.bundle or str(Path(tempfile.gettempdir()) / f"vrec-large-shop-{asked.videos}")
        loaded_bundle = kept_bundle(bundle, asked.videos)
        videos = loaded_bundle.videos.column("video_id").to_pylist()
        config = ServeConfig.model_validate(
            {
                "bundle": bundle,
                "data": str(folder / "data"),
                "store": {"kind": "sqlite", "path": str(folder / "store.db")},
                "port": 8092,
                "replicas": {"api": asked.api, "ranking": asked.ranking},
                "security": {"requests_per_second": 1e6, "burst": 1_000_000},
            }
        )
        with connect_cluster():
            done = deploy_service(config)
            serve.run(chain(), name="floor", route_prefix="/floor")
            serve.run(event_log(str(folder / "log.db")), name="log", route_prefix="/log")
            found = LoadProcess(measure, done["url"], videos, asked.seconds, asked.rounds).result()
            stop_service(config)
        show(found, done["seconds"], len(videos))


if __name__ == "__main__":
    main()
