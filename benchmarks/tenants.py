"""Many shops in one service: memory of each, and what a noisy one costs another.

Run as `python benchmarks/tenants.py [--tenants 50] [--videos 300]`. All shops have the same bundle, without a
trained ranker, each loaded for itself. Memory is the USS of the HTTP, profile and ranking replicas, per shop
that was added to the running service and sent an event and a request for a list. With two sizes of the
catalog (`--videos` and `--more-videos`), the line through both says what a shop takes beyond what grows with
its catalog. `serve.warm_tenants` shops are in the ranking replica.

A quiet shop asks for a list every 100 ms, while another sends requests without pause from 16 connections, in
rounds that take turns with rounds without it, under three sets of limits.
"""

import asyncio
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from harness import LoadProcess, number_parser

from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.serve import ServeConfig
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.pipelines.cluster import connect_cluster
from vrec.profiles.update import ProfilesConfig
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.serving.deploy import deploy_service, stop_service
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

PORT = 8093
QUIET_EVERY_S = 0.1
NOISY_CONNECTIONS = 16
LIMITS: dict[str, dict[str, float]] = {
    "5/s, 1 at a time": {"requests_per_second": 5, "burst": 5, "concurrent": 1},
    "the defaults": {},
    "none": {"requests_per_second": 1e6, "burst": 1_000_000, "concurrent": 1_000},
}


def drawn_bundle(uri: str, videos: int) -> str:
    """Write the bundle of a simulated shop, without a trained ranker, and return its folder."""
    made = simulate(SimulationConfig(users=300, videos=videos, requests_per_user=8, dim=64))
    interest = InterestConfig()
    rows = aggregate_interactions(weigh_events(made.events, interest, made.videos), interest)
    parts = BundleInputs(
        videos=made.videos,
        ranker=None,
        profiles=ProfilesConfig(),
        fused=made.embeddings,
        recommender=ItemKnn().fit(rows),
        interactions=rows,
    )
    write_bundle(uri, parts, BundleConfig())
    return uri


def secret(name: str) -> str:
    return f"secret of {name}"


def key_entries(names: list[str]) -> str:
    digests = {name: hashlib.sha256(secret(name).encode()).hexdigest() for name in names}
    return ",".join(f"{name}/key:read+events+manage:{digest}" for name, digest in digests.items())


def replica_processes() -> list[tuple[psutil.Process, str]]:
    """Return the processes of the service that this one has started, with their titles."""
    found = [(process, " ".join(process.cmdline())) for process in psutil.Process().children(recursive=True)]
    return [(process, title) for process, title in found if "ServeReplica:vrec" in title]


def replica_memory() -> dict[str, float]:
    """Return the USS in MB of the replicas of each deployment."""
    found: dict[str, float] = {}
    for process, name in replica_processes():
        for deployment in ("Api", "Profiles", "Ranking"):
            if f"ServeReplica:vrec:{deployment}" in name:
                used = process.memory_full_info().uss / 1e6
                found[deployment] = found.get(deployment, 0.0) + used
    return found


def config_of(folder: Path, bundle: str, tenants: dict[str, dict[str, Any]]) -> ServeConfig:
    return ServeConfig.model_validate(
        {
            "bundle": bundle,
            "data": str(folder / "data"),
            "port": PORT,
            "replicas": {"encoder": 0},
            "security": {"requests_per_second": 1e6, "burst": 1_000_000},
            "tenants": tenants,
        }
    )


async def send(
    session: aiohttp.ClientSession, tenant: str, path: str, body: dict[str, Any]
) -> tuple[int, Any]:
    """Return status and content of the reply to a request with a tenant's key."""
    headers = {"X-API-Key": secret(tenant)}
    async with session.post(f"http://127.0.0.1:{PORT}{path}", json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def visit(names: list[str]) -> None:
    """Send each tenant an event, and ask it for a list until its bundle is in memory."""
    event = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click"}
    async with aiohttp.ClientSession() as session:
        for name in names:
            status, found = await send(session, name, "/v1/events", event)
            assert status == 202, found
            while True:
                status, found = await send(session, name, "/v1/recommend", {"user_id": "u", "k": 10})
                assert status == 200, found
                if not found["degraded"]:
                    break
                await asyncio.sleep(0.2)


def measure_memory(names: list[str], videos: int) -> dict[str, float]:
    """Return the MB per tenant of each deployment, and the share of a core that the idle service takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = drawn_bundle(str(folder / "bundle"), videos)
        few = names[: ServeConfig().warm_tenants]
        # As many as are warm from the beginning, so that those that come are without a bundle in ranking.
        deploy_service(config_of(folder, bundle, {name: {"bundle": bundle} for name in few}))
        asyncio.run(visit(few))
        time.sleep(5)
        before, idle_before = replica_memory(), idle_share()
        begun = time.perf_counter()
        config = config_of(folder, bundle, {name: {"bundle": bundle} for name in names})
        deploy_service(config)
        added_s = time.perf_counter() - begun
        asyncio.run(visit(names))
        time.sleep(5)
        after, idle = replica_memory(), idle_share()
        stop_service(config)
    added = len(names) - len(few)
    each = {name: (after[name] - before[name]) / added for name in after}
    print(f"{videos:,} videos, {added} tenants added in {added_s:.1f} s; MB per tenant: ", end="")
    print(", ".join(f"{name} {mb:.2f}" for name, mb in each.items()), f"together {sum(each.values()):.2f}")
    print(f"  idle replicas: {idle_before:.2f} of a core with {len(few)} shops, {idle:.2f} with {len(names)}")
    return each


def idle_share(seconds: float = 5.0) -> float:
    """Return the CPU seconds per second of all replicas, while nobody sends requests."""

    def taken() -> float:
        found = 0.0
        for process, _ in replica_processes():
            found += sum(process.cpu_times()[:2])
        return found

    before = taken()
    time.sleep(seconds)
    return (taken() - before) / seconds


async def quiet_round(seconds: float, *, noisy: bool) -> tuple[list[float], int, int]:
    """Return the quiet shop's latencies in ms, and the noisy one's served and refused requests."""
    latencies: list[float] = []
    served = refused = 0
    until = time.perf_counter() + seconds
    body = {"user_id": "u", "k": 10}

    async def shout(session: aiohttp.ClientSession) -> None:
        nonlocal served, refused
        while time.perf_counter() < until:
            status, _ = await send(session, "noisy", "/v1/recommend", body)
            served, refused = served + (status == 200), refused + (status == 429)
            if status == 429:
                await asyncio.sleep(0.05)

    async def ask(session: aiohttp.ClientSession) -> None:
        begun = time.perf_counter()
        status, found = await send(session, "quiet", "/v1/recommend", body)
        assert status == 200, found
        latencies.append((time.perf_counter() - begun) * 1e3)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        noise = [asyncio.create_task(shout(session)) for _ in range(NOISY_CONNECTIONS if noisy else 0)]
        asks = []
        while time.perf_counter() < until:
            asks.append(asyncio.create_task(ask(session)))
            await asyncio.sleep(QUIET_EVERY_S)
        await asyncio.gather(*asks, *noise)
    return latencies, served, refused


async def load(seconds: float, rounds: int) -> list[Any]:
    """Return rounds without and with the noisy shop, in turns."""
    return [await quiet_round(seconds, noisy=noisy) for _ in range(rounds) for noisy in (False, True)]


def measure_noise(videos: int, seconds: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = drawn_bundle(str(folder / "bundle"), videos)
        quiet = {"bundle": bundle, "limits": LIMITS["none"]}
        config = config_of(folder, bundle, {"quiet": quiet})
        for title, limits in LIMITS.items():
            noisy = {"bundle": bundle, "limits": limits}
            config = config_of(folder, bundle, {"quiet": quiet, "noisy": noisy})
            deploy_service(config)
            asyncio.run(visit(["quiet", "noisy"]))
            time.sleep(2)
            found = LoadProcess(load, seconds, rounds).result()
            show_noise(title, found, seconds)
        stop_service(config)


def show_noise(title: str, found: list[Any], seconds: float) -> None:
    calm, loud = found[::2], found[1::2]
    alone, beside = ([one for latencies, _, _ in side for one in latencies] for side in (calm, loud))
    by_round = [np.percentile(b[0], 95) / np.percentile(a[0], 95) for a, b in zip(calm, loud, strict=True)]
    served, refused = (sum(one[at] for one in loud) / seconds / len(loud) for at in (1, 2))
    print(f"limits of the noisy shop: {title}; {served:.0f}/s served, {refused:.0f}/s refused")
    for q in (50, 95):
        a, b = np.percentile(alone, q), np.percentile(beside, q)
        print(f"  quiet p{q}: {a:.1f} ms alone, {b:.1f} ms beside it, ratio {b / a:.2f}")
    print(f"  ratios of p95 by round: {', '.join(f'{one:.2f}' for one in by_round)} (wanted 1.2)")


def main() -> None:
    parser = number_parser(__doc__, tenants=50, videos=300, more_videos=1200, seconds=8.0, rounds=4)
    asked = parser.parse_args()
    names = [f"shop-{number}" for number in range(asked.tenants)]
    os.environ["VREC_API_KEYS"] = key_entries([*names, "quiet", "noisy"])
    with connect_cluster():
        few = measure_memory(names, asked.videos)
        if asked.more_videos:
            many = measure_memory(names, asked.more_videos)
            slope = (sum(many.values()) - sum(few.values())) / (asked.more_videos - asked.videos)
            beyond = sum(few.values()) - slope * asked.videos
            print(f"{beyond:.2f} MB per tenant (wanted 5) and {slope * 1e3:.1f} kB per video of its catalog")
        if asked.rounds:
            measure_noise(asked.videos, asked.seconds, asked.rounds)


if __name__ == "__main__":
    main()
