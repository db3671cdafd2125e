"""Drills of the service on a cluster of network namespaces: what shoppers see while machines are lost.

Run as root on Linux: `python benchmarks/serving_drills.py [--bundle FOLDER] [--only DRILL;…]`. Two worker
nodes carry the deployments of `serve_configs/prod.yaml`, two replicas of each, without the encoder; the
head's state and the profiles are in a Redis outside the cluster. A client, like a load balancer with one
more try at another machine, sends a list and a batch of events every quarter of a second to the HTTP proxies
of the two nodes. Printed are the requests that failed although they were sent to both, the seconds until the
last failed one, what `/readyz` said, and whether every acknowledged event is in the log, once.
docs/drills.md has the table.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from namespaces import NETWORK, NamespaceCluster, namespace_cluster
from serve import kept_bundle

ROOT = Path(__file__).parents[1]
SHOPPERS, BATCH = 100, 10
REDIS_PORT = 6399
TIMEOUT_S = 10.0


class DrilledRedis:
    """Redis outside the cluster, which the nodes reach by the bridge; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.address = f"{NETWORK}.254:{REDIS_PORT}"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = ["redis-server", "--port", str(REDIS_PORT), "--bind", "0.0.0.0", "--protected-mode", "no"]
        command += [
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        return subprocess.Popen([*command, "--logfile", str(self._folder / "redis.log")])

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start it again with what it had."""
        self._process = self._start()


@dataclass
class ShopperOutcomes:
    """Outcomes of requests, in the order in which they ended."""

    at: list[float] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    """The last answer's; 0 where there was none."""
    retried: int = 0
    degraded: int = 0
    acknowledged: list[str] = field(default_factory=list)


class LoadBalancedClient:
    """Client of several machines that sends what fails at one to the next, once."""

    def __init__(self, urls: list[str], key: str, between_s: float) -> None:
        self.urls, self.seen, self._between_s = urls, ShopperOutcomes(), between_s
        self._headers = {"X-API-Key": key}
        self._turn = 0

    async def load(self, until: Callable[[], bool]) -> None:
        """Send lists and events until told otherwise, whatever earlier ones do."""
        under_way: set[asyncio.Task[None]] = set()
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        # A connection each: one that is kept would be that of a lost machine.
        async with aiohttp.ClientSession(
            timeout=timeout,
            headers=self._headers,
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
        ) as session:
            number = 0
            while not until():
                number += 1
                for call in (self._recommend(session, number), self._send(session, number)):
                    task = asyncio.create_task(call)
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                await asyncio.sleep(self._between_s)
            await asyncio.gather(*under_way)

    async def _recommend(self, session: aiohttp.ClientSession, number: int) -> None:
        await self._post(session, "/v1/recommend", {"user_id": f"s{number % SHOPPERS}", "k": 10})

    async def _send(self, session: aiohttp.ClientSession, number: int) -> None:
        rows = [
            {"event_id": uuid.uuid4().hex, "user_id": f"s{number % SHOPPERS}", "video_id": f"v{number % 50}"}
            | {"kind": "watch", "value": 5.0}
            for _ in range(BATCH)
        ]
        if await self._post(session, "/v1/events", {"events": rows}) == 202:
            self.seen.acknowledged += [row["event_id"] for row in rows]

    async def _post(self, session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> int:
        status = 0
        for attempt in range(2):
            self._turn += 1
            url = self.urls[self._turn % len(self.urls)]
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.post(url + path, json=body) as response:
                    status, answer = response.status, await response.json(content_type=None)
                    self.seen.degraded += bool(isinstance(answer, dict) and answer.get("degraded"))
            if 200 <= status < 300:
                break
            self.seen.retried += attempt == 0
        self.seen.at.append(time.time())
        self.seen.kind.append(path)
        self.seen.status.append(status)
        return status


def write_config(folder: Path, bundle: Path) -> Path:
    """Write the production config for this machine, and return its place."""
    text = (ROOT / "serve_configs" / "prod.yaml").read_text()
    config = yaml.safe_load(text)
    config["logging_config"]["log_level"] = "WARNING"
    (application,) = config["applications"]
    application["args"] |= {"data": str(folder / "data"), "bundles": str(bundle.parent)}
    application["args"]["replicas"] |= dict.fromkeys(("api_cpus", "ranking_cpus"), 0.2) | {"encoder": 0}
    application["args"]["replicas"]["ranking_most"] = 2
    application["args"]["security"] = {"serve_media": False}
    application["deployments"] = [one for one in application["deployments"] if one["name"] != "Encoder"]
    for deployment in application["deployments"]:
        deployment["user_config"] = {"bundle": str(bundle)}
    place = folder / "serve.yaml"
    place.write_text(yaml.safe_dump(config))
    return place


class ReadinessProbe:
    """What `/readyz` of each machine says to an operator, asked again and again.

    Args:
        urls: The machines.
        key: Key with which the reasons are said.
    """

    def __init__(self, urls: list[str], key: str) -> None:
        self._urls, self._headers = urls, {"X-API-Key": key}
        self.said: Counter[str] = Counter()
        """How often each thing was said, where a machine was not ready."""

    async def ask(self) -> bool:
        """Ask every machine once, and return whether all are ready."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers) as session:
            answers = await asyncio.gather(*(self._ask(session, url) for url in self._urls))
        self.said.update(f"node {node}: {said}" for node, said in enumerate(answers) if said)
        return not any(answers)

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> str:
        """Return what is not ready at a machine; an empty text if all is."""
        try:
            async with session.get(url + "/readyz") as response:
                if response.status == 200:
                    return ""
                answer = await response.json(content_type=None)
                parts = answer.get("parts", answer) if isinstance(answer, dict) else answer
                reasons = {part: said for part, said in parts.items() if said}
                return f"{response.status} {reasons}"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError):
            return "no answer"

    async def until_ready(self, seconds: float = 600.0) -> float:
        """Wait until every machine is ready, and return the seconds that it took."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if await self.ask():
                return time.monotonic() - begun
            await asyncio.sleep(0.5)
        raise RuntimeError(f"not ready after {seconds:.0f} s: {self.said}")


async def logged_events(url: str, key: str) -> Counter[str]:
    """Return how often each event is in the log of the service."""
    found: Counter[str] = Counter()
    after = 0
    async with aiohttp.ClientSession(headers={"X-API-Key": key}) as session:
        while True:
            params = {"after": after, "limit": 50_000}
            async with session.get(f"{url}/v1/events", params=params) as response:
                response.raise_for_status()
                table = pq.read_table(pa.BufferReader(await response.read()))
                after = int(response.headers["X-Next-Cursor"])
            if not table.num_rows:
                return found
            found.update(table.column("event_id").to_pylist())


@dataclass(frozen=True)
class ServingCluster:
    """What a drill may disturb."""

    cluster: NamespaceCluster
    redis: DrilledRedis


async def nothing(service: ServingCluster) -> None:
    """Disturb nothing."""
    await asyncio.sleep(20)


async def lose_a_worker(service: ServingCluster) -> None:
    """Kill a worker node, and start it again after 20 s."""
    await asyncio.to_thread(service.cluster.workers[0].kill)
    await asyncio.sleep(20)


async def lose_a_replica(service: ServingCluster) -> None:
    """Kill a replica of each deployment on one node."""
    for name in ("Api", "Ranking", "Profiles"):
        service.cluster.workers[0].kill_one(f"ServeReplica:vrec:{name}")
        await asyncio.sleep(5)


async def cut_a_worker_off(service: ServingCluster) -> None:
    """Cut a worker node off for 60 s, and start it again where Ray has given it up."""
    node = service.cluster.workers[1]
    node.cut_off()
    await asyncio.sleep(60)
    node.reconnect()


async def lose_the_head(service: ServingCluster) -> None:
    """Kill the head, and start it again after 10 s with the state in Redis."""
    await asyncio.to_thread(service.cluster.head.kill)
    await asyncio.sleep(10)


async def lose_redis(service: ServingCluster) -> None:
    """Kill Redis, with the head's state and the profiles, and start it again after 5 s."""
    service.redis.kill()
    await asyncio.sleep(5)
    service.redis.start()


DRILLS: dict[str, Callable[[ServingCluster], Awaitable[None]]] = {
    "nothing": nothing,
    "a replica of each deployment killed": lose_a_replica,
    "a worker node killed, back after 20 s": lose_a_worker,
    "a worker node cut off for 60 s": cut_a_worker_off,
    "the head killed, back after 10 s": lose_the_head,
    "Redis killed, back after 5 s": lose_redis,
}


async def disturb_and_mend(what: str, service: ServingCluster) -> None:
    """Disturb the service, and start what is gone for good, as a supervisor would."""
    await DRILLS[what](service)
    await asyncio.to_thread(service.cluster.mend)


async def drill(what: str, service: ServingCluster, client: LoadBalancedClient, key: str) -> None:
    """Disturb the service under load, wait until all nodes and parts are there, and print a line."""
    ended = False
    loading = asyncio.create_task(client.load(lambda: ended))
    await asyncio.sleep(5)
    first, begun = len(client.seen.at), time.time()
    retried, degraded = client.seen.retried, client.seen.degraded
    probe = ReadinessProbe(client.urls, key)
    disturbing = asyncio.create_task(disturb_and_mend(what, service))
    while not disturbing.done():
        await probe.ask()
        await asyncio.sleep(0.5)
    await disturbing
    await probe.until_ready()
    whole = time.time() - begun
    await asyncio.sleep(5)
    ended = True
    await loading
    seen = client.seen
    rows = list(zip(seen.at[first:], seen.kind[first:], seen.status[first:], strict=True))
    failed = [(at, kind, status) for at, kind, status in rows if not 200 <= status < 300]
    kinds = Counter(f"{kind.rpartition('/')[2]} {status or 'no answer'}" for _, kind, status in failed)
    last = max((at - begun for at, _, _ in failed), default=0.0)
    reasons = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
    print(
        f"| {what} | {len(rows)} | {reasons} | {seen.retried - retried} | {seen.degraded - degraded} "
        f"| {last:.0f} s | {whole:.0f} s |",
        flush=True,
    )
    for said, times in probe.said.most_common(8):
        print(f"    /readyz, {times} times: {said}", flush=True)


async def run(names: list[str], service: ServingCluster, key: str, between_s: float) -> None:
    """Run drills one after another, and compare the log with what was acknowledged."""
    urls = [f"http://{node.address}:8000" for node in service.cluster.workers]
    print(f"ready after {await ReadinessProbe(urls, key).until_ready():.0f} s", flush=True)
    client = LoadBalancedClient(urls, key, between_s)
    print(
        "| drill | requests | failed at both | sent again | degraded | last one after | whole again after |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in names:
        await drill(name, service, client, key)
    found = await logged_events(urls[0], key)
    counts = Counter(found[event] for event in client.seen.acknowledged)
    missing, twice = counts[0], sum(number for times, number in counts.items() if times > 1)
    print(f"{len(client.seen.acknowledged)} events acknowledged, {missing} missing, {twice} more than once")


def main() -> None:
    """Start Redis, the cluster and the service, and run the drills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("/tmp/vrec-large-shop-2000"))
    parser.add_argument("--only", default=";".join(DRILLS), help="drills, by semicolons")
    parser.add_argument("--out", type=Path, default=Path("/tmp/vrec-serving-drills"))
    parser.add_argument("--between", type=float, default=0.25, help="seconds between two lists")
    arguments = parser.parse_args()
    kept_bundle(str(arguments.bundle), 2_000)
    shutil.rmtree(arguments.out, ignore_errors=True)
    redis = DrilledRedis(arguments.out / "redis")
    os.environ["VREC_REDIS_URL"] = f"redis://{redis.address}/1"
    key = secrets.token_hex(16)
    digest = hashlib.sha256(key.encode()).hexdigest()
    # As in deploy/node-env.sh.
    os.environ |= {
        "RAY_grpc_client_keepalive_time_ms": "15000",
        "RAY_grpc_client_keepalive_timeout_ms": "15000",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "vrec.serving.http.request_ids:proxy_middlewares",
    }
    os.environ["VREC_API_KEYS"] = f"drill:read+events+manage:{digest}"
    try:
        with namespace_cluster(arguments.out / "cluster", redis=redis.address, worker_cpus=4) as cluster:
            config = write_config(arguments.out, arguments.bundle)
            serve = str(Path(sys.executable).with_name("serve"))
            log = arguments.out / "serve.log"
            command = [serve, "run", "--non-blocking", str(config)]
            code = cluster.run(command, log).wait(900)
            if code:
                raise RuntimeError(f"serve run: exit {code}: {log.read_text()[-2000:]}")
            service = ServingCluster(cluster, redis)
            asyncio.run(run(arguments.only.split(";"), service, key, arguments.between))
    finally:
        redis.kill()


if __name__ == "__main__":
    main()
