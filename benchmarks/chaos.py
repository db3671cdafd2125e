"""A service under constant load while its parts are killed: what shoppers see, and whether events are lost.

Run as `python benchmarks/chaos.py --bundle DIR --store sqlite|redis --seconds 300`. The service is a real one
on a local Ray; the load comes over HTTP from another process. Killed with SIGKILL are the ranking replica,
the profile replica (with SQLite the process that owns the file), Serve's controller, the HTTP replica and,
with Redis, the server, which is started again after three seconds, as a supervisor would. A client whose
events were not acknowledged sends them again, as any must. Afterwards the log is read back over HTTP: every
acknowledged event must be in it exactly once.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from harness import LoadProcess, number_parser
from ray.serve.context import _get_global_client

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.pipelines.cluster import connect_cluster
from vrec.serving.deploy import APPLICATION_NAME, deploy_service, stop_service

SHOPPERS = 200
BATCH = 20
PATIENCE_S = 60.0
"""Seconds that a client goes on sending events that were not acknowledged."""


@dataclass
class RequestOutcomes:
    """Outcomes of one kind of request."""

    at: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    """0 where there was no answer."""
    degraded: list[bool] = field(default_factory=list)


@dataclass
class LoadResult:
    """Message of the load process when it ends."""

    recommend: RequestOutcomes = field(default_factory=RequestOutcomes)
    events: RequestOutcomes = field(default_factory=RequestOutcomes)
    acknowledged: list[str] = field(default_factory=list)
    sent: int = 0


async def load(url: str, seconds: float, rate: float, videos: list[str]) -> LoadResult:
    """Send `rate` requests of each kind per second, and return their outcomes."""
    told, rng, tasks = LoadResult(), np.random.default_rng(0), set()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        begun = time.time()
        for turn in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, begun + turn / rate - time.time()))
            shopper = f"shopper-{rng.integers(SHOPPERS)}"
            rows = [_event(shopper, videos[int(rng.integers(len(videos)))]) for _ in range(BATCH)]
            for work in (_recommend(session, url, shopper, told), _send(session, url, rows, told)):
                task = asyncio.create_task(work)
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return told


def _event(shopper: str, video: str) -> dict[str, Any]:
    return {
        "event_id": uuid.uuid4().hex,
        "user_id": shopper,
        "video_id": video,
        "kind": "watch",
        "value": 5.0,
        "surface": "feed",
    }


async def _recommend(session: aiohttp.ClientSession, url: str, shopper: str, told: LoadResult) -> None:
    await _post(session, f"{url}/v1/recommend", {"user_id": shopper, "k": 10}, told.recommend)


async def _send(
    session: aiohttp.ClientSession, url: str, rows: list[dict[str, Any]], told: LoadResult
) -> None:
    told.sent += len(rows)
    until = time.time() + PATIENCE_S
    while time.time() < until:
        if await _post(session, f"{url}/v1/events", {"events": rows}, told.events) == 202:
            told.acknowledged += [row["event_id"] for row in rows]
            return
        await asyncio.sleep(0.5)


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any], seen: RequestOutcomes) -> int:
    at, begun, status, degraded = time.time(), time.perf_counter(), 0, False
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.post(url, json=body) as response:
            status, answer = response.status, await response.json(content_type=None)
            degraded = bool(answer.get("degraded"))
    seen.at.append(at)
    seen.ms.append((time.perf_counter() - begun) * 1e3)
    seen.status.append(status)
    seen.degraded.append(degraded)
    return status


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Any]:
    """Start a Redis server, set VREC_REDIS_URL, and yield a function that kills and restarts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("there is no redis-server here: apt-get install redis-server")
    command = [binary, "--port", str(port), "--dir", str(folder), "--appendonly", "yes"]
    command += ["--appendfsync", "always", "--save", "", "--logfile", str(folder / "redis.log")]
    running = [subprocess.Popen(command)]
    os.environ["VREC_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"

    def kill() -> None:
        running[-1].send_signal(signal.SIGKILL)
        running[-1].wait()
        time.sleep(3)
        running.append(subprocess.Popen(command))

    try:
        time.sleep(0.5)
        yield kill
    finally:
        running[-1].kill()
        running[-1].wait()


def replica_pid(deployment: str) -> int:
    """Return the process id of a running replica."""
    client: Any = _get_global_client()
    replicas = client.get_serve_details()["applications"][APPLICATION_NAME]["deployments"][deployment][
        "replicas"
    ]
    return next(one["pid"] for one in replicas if one["state"] == "RUNNING")


def controller_pid() -> int:
    """Return the process id of Serve's controller."""
    named = (one for one in psutil.process_iter(["name", "cmdline"]) if one.info["cmdline"])
    return next(one.pid for one in named if one.info["cmdline"][0].startswith("ray::ServeController"))


def report(what: str, killed_at: float, until: float, told: LoadResult) -> dict[str, Any]:
    """Summarize the requests between a kill and the next one."""
    said: dict[str, Any] = {"killed": what}
    for kind, seen in (("recommend", told.recommend), ("events", told.events)):
        at, status, ms = np.array(seen.at), np.array(seen.status), np.array(seen.ms)
        inside = (at >= killed_at) & (at < until)
        failed = inside & ~np.isin(status, (200, 202))
        weak = failed | (inside & np.array(seen.degraded, bool))
        said[kind] = {
            "requests": int(inside.sum()),
            "failed": int(failed.sum()),
            "status": {str(k): v for k, v in Counter(status[failed].tolist()).items()},
            "degraded": int((weak & ~failed).sum()),
            "until the last failure, s": round(float(at[failed].max() - killed_at), 1)
            if failed.any()
            else 0.0,
            "until all is whole again, s": round(float(at[weak].max() - killed_at), 1) if weak.any() else 0.0,
            "p50 ms": round(float(np.median(ms[inside])), 1) if inside.any() else None,
            "p99 ms": round(float(np.percentile(ms[inside], 99)), 1) if inside.any() else None,
        }
    return said


async def logged(url: str) -> Counter[str]:
    """How often each event's id is in the log, read back over HTTP."""
    found: Counter[str] = Counter()
    after = 0
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{url}/v1/events", params={"after": after, "limit": 50_000}) as response:
                response.raise_for_status()
                table, after = (
                    pq.read_table(pa.BufferReader(await response.read())),
                    int(response.headers["X-Next-Cursor"]),
                )
            if not table.num_rows:
                return found
            found.update(table.column("event_id").to_pylist())


def run(config: ServeConfig, kills: dict[str, Any], seconds: float, rate: float) -> dict[str, Any]:
    """Run the load with all kills; return their reports and the reconciliation of events."""
    url = deploy_service(config)["url"]
    videos = ServingBundle.load(config.bundle).videos.column("video_id").to_pylist()
    loader = LoadProcess(load, url, seconds, rate, videos)
    gap = seconds / (len(kills) + 1)
    begun, moments = time.time() + 2, []
    for number, (what, kill) in enumerate(kills.items(), start=1):
        time.sleep(max(0.0, begun + number * gap - time.time()))
        moments.append((what, time.time()))
        kill()
    told = loader.result()
    ends = [at for _, at in moments[1:]] + [np.inf]
    first = report("nothing", 0, moments[0][1], told)
    reports = [report(what, at, end, told) for (what, at), end in zip(moments, ends, strict=True)]
    log = asyncio.run(logged(url))
    reconciled = {
        "sent": told.sent,
        "acknowledged": len(told.acknowledged),
        "of them missing": sum(log[name] == 0 for name in told.acknowledged),
        "of them more than once": sum(log[name] > 1 for name in told.acknowledged),
        "in the log": sum(log.values()),
        "in the log, not acknowledged": sum(log.values()) - sum(log[name] for name in told.acknowledged),
    }
    return {"kills": [first, *reports], "reconciliation": reconciled}


def main() -> None:
    parser = number_parser(__doc__, seconds=300.0)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--rate", type=float, default=10, help="requests of each kind a second")
    parser.add_argument("--api", type=int, default=1, help="HTTP replicas")
    parser.add_argument("--ranking", type=int, default=1, help="ranking replicas; with none, HTTP ones rank")
    parser.add_argument("--out", default=None, help="a JSON file")
    asked = parser.parse_args()

    def killer(deployment: str) -> Any:
        return lambda: os.kill(replica_pid(deployment), signal.SIGKILL)

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        kills = {
            "the ranking replica": killer("Ranking"),
            "the profile replica": killer("Profiles"),
            "the controller": lambda: os.kill(controller_pid(), signal.SIGKILL),
            "the HTTP replica" if asked.api == 1 else f"one of {asked.api} HTTP replicas": killer("Api"),
        }
        if not asked.ranking:
            del kills["the ranking replica"]
        store: dict[str, Any] = {"kind": "sqlite", "path": str(folder / "store.db")}
        if asked.store == "redis":
            kills["the Redis server"] = stack.enter_context(redis_server(folder))
            store = {"kind": "redis"}
        config = ServeConfig.model_validate(
            {
                "bundle": asked.bundle,
                "data": str(folder / "data"),
                "store": store,
                "port": 8091,
                "replicas": {"api": asked.api, "ranking": asked.ranking},
            }
        )
        stack.enter_context(connect_cluster())
        found = run(config, kills, asked.seconds, asked.rate)
        stop_service(config)
        ray.shutdown()
    for one in found["kills"]:
        print(json.dumps(one))
    print(json.dumps(found["reconciliation"]))
    if asked.out:
        Path(asked.out).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
