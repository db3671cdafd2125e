"""How long lists take under load: a simulation, and the service itself, at three loads.

Run as `python benchmarks/capacity.py --bundle BUNDLE`. Everything that the simulation knows is measured on
the service at rest: the time of one list after another, and the CPU time of the proxy, of the HTTP replicas
and of the load itself for a list. It then predicts p50 and p99 of requests that arrive at random at a share
of the rate at which the machine is busy all the time, and the service is measured at those rates, in rounds
that take turns. With `--predict`, it prints what other machines would do by the same figures.

`--background` is the number of other processes that want a core meanwhile: 0 on a machine of its own. Where
it is not given, a busy loop's share of a core tells it.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from harness import LoadProcess, number_parser
from queueing import Doubles, Machine, Station, poisson_arrivals, simulate

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.pipelines.cluster import connect_cluster
from vrec.serving.deploy import deploy_service, stop_service

SHARES = (0.3, 0.5, 0.7)
"""Loads, as shares of the rate at which the machine is busy all the time."""
SHOPPERS = 200
PORT = 8094


@dataclass(frozen=True, slots=True)
class AtRest:
    """What a list costs while nothing else is asked for."""

    seconds: Doubles
    """Seconds of one list after another."""
    proxy_s: float
    """Mean CPU seconds of the proxy for a list."""
    replica_s: float
    """Mean CPU seconds of an HTTP replica for a list."""
    client_s: float
    """Mean CPU seconds of the load for a list."""

    def machine(self, replicas: int, cores: float, background: float = 0.0) -> Machine:
        """Return the machine that has these times at rest.

        What a list takes beyond the mean falls to the replica, where the ranking is; what no process works is
        waited.
        """
        slower = max(1.0, (1 + background) / cores)  # by what else ran while this was measured
        at_work = (self.proxy_s + self.replica_s) * slower
        waits = max(0.0, float(np.median(self.seconds)) - at_work)
        replica = np.maximum((self.seconds - waits) / slower - self.proxy_s, self.replica_s / 4)
        replica *= self.replica_s / replica.mean()
        proxy, client = np.array([self.proxy_s]), np.array([self.client_s])
        # The load's own work is part of each request: it shares the cores.
        stations = (Station(1, client), Station(1, proxy), Station(replicas, replica))
        return Machine(stations, cores, background, waits)


async def ask(session: aiohttp.ClientSession, url: str, shopper: int) -> None:
    body = {"user_id": f"s{shopper}", "k": 10, "surface": "feed"}
    async with session.post(f"{url}/v1/recommend", json=body) as response:
        answer = await response.json(content_type=None)
        if response.status != 200 or answer.get("degraded"):
            raise SystemExit(f"{response.status}: {str(answer)[:300]}")


async def one_after_another(url: str, count: int, rest_s: float = 0.02) -> tuple[list[float], float]:
    """Return the seconds of each list, and the CPU seconds of this process for one."""
    rng, seconds = np.random.default_rng(1), []
    async with aiohttp.ClientSession() as session:
        for _ in range(20):
            await ask(session, url, int(rng.integers(SHOPPERS)))
        cpu = time.process_time()
        for _ in range(count):
            begun = time.perf_counter()
            await ask(session, url, int(rng.integers(SHOPPERS)))
            seconds.append(time.perf_counter() - begun)
            await asyncio.sleep(rest_s)
        return seconds, (time.process_time() - cpu) / count


async def at_random(url: str, rates: list[float], seconds: float, rounds: int) -> list[list[float]]:
    """Return the seconds of lists at each rate, asked for at random times, from when each was due."""
    found: list[list[float]] = [[] for _ in rates]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for number in range(rounds):
            for place, per_s in enumerate(rates):
                found[place] += await _round(session, url, per_s, seconds, number)
    return found


async def _round(
    session: aiohttp.ClientSession, url: str, per_s: float, seconds: float, seed: int
) -> list[float]:
    rng = np.random.default_rng(seed)
    arrivals, found = poisson_arrivals(per_s, seconds, rng), list[float]()

    async def send(due: float) -> None:
        await ask(session, url, int(rng.integers(SHOPPERS)))
        found.append(time.perf_counter() - due)

    begun, tasks = time.perf_counter(), []
    for arrival in arrivals.tolist():
        if (wait := begun + arrival - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(send(begun + arrival)))
    await asyncio.gather(*tasks)
    return found


def busy_elsewhere(cores: int, seconds: float = 3.0) -> float:
    """Return how many other processes want a core, from the share that a busy loop gets."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        pass
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    return max(0.0, cores / share - 1) if share < 0.98 else 0.0


def cpu_of(name: str) -> float:
    """Return the CPU seconds so far of Serve's processes whose title has a name."""
    found = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if name in " ".join(process.info["cmdline"] or ()):
            times = process.cpu_times()
            found += times.user + times.system
    return found


def measure_at_rest(url: str, count: int) -> AtRest:
    before = {name: cpu_of(name) for name in ("ProxyActor", "ServeReplica:vrec:Api")}
    begun = time.perf_counter()
    idle_s = 5.0
    time.sleep(idle_s)  # replicas follow catalog and counts also when nothing is asked for
    idle = {name: (cpu_of(name) - before[name]) / (time.perf_counter() - begun) for name in before}
    before, begun = {name: cpu_of(name) for name in before}, time.perf_counter()
    seconds, client_s = LoadProcess(one_after_another, url, count).result()
    took = time.perf_counter() - begun
    proxy, replica = (max(0.0, cpu_of(name) - before[name] - idle[name] * took) for name in before)
    calls = count + 20
    return AtRest(np.array(seconds), proxy / calls, replica / calls, client_s)


def percentiles(seconds: Doubles | list[float]) -> tuple[float, float]:
    half, most = np.percentile(np.asarray(seconds) * 1e3, (50, 99))
    return float(half), float(most)


def predict(machine: Machine, per_s: float) -> tuple[float, float]:
    """Return the predicted p50 and p99 in ms."""
    rng = np.random.default_rng(7)
    return percentiles(simulate(machine, poisson_arrivals(per_s, max(60.0, 4_000 / per_s), rng), rng))


def compare(url: str, machine: Machine, seconds: float, rounds: int) -> None:
    most = machine.most_per_s()
    print(f"busy all the time at {most:.1f} lists/s")
    rates = [most * share for share in SHARES]
    measured = LoadProcess(at_random, url, rates, seconds, rounds).result()
    for share, per_s, found in zip(SHARES, rates, measured, strict=True):
        own, said = percentiles(found), predict(machine, per_s)
        print(
            f"{share:.0%} ({per_s:.1f}/s, {len(found)} lists): measured p50 {own[0]:.1f} ms, "
            f"p99 {own[1]:.1f} ms; predicted {said[0]:.1f}, {said[1]:.1f}; "
            f"predicted / measured {said[0] / own[0]:.2f}, {said[1] / own[1]:.2f}"
        )


def show_other_machines(rest: AtRest) -> None:
    print("other machines without other work, the load elsewhere; ms at p50 and p99 by share of the most:")
    for cores, replicas in ((2, 2), (4, 3), (8, 6), (16, 12)):
        # The load is on another machine: none of its work is left here.
        machine = replace(rest, client_s=1e-6).machine(replicas, cores)
        most = machine.most_per_s()
        rows = [(share, *predict(machine, most * share)) for share in (0.5, 0.7, 0.85)]
        text = ", ".join(f"{share:.0%} {half:.0f} and {end:.0f}" for share, half, end in rows)
        print(f"  {cores} cores, {replicas} replicas: at most {most:.0f} lists/s; {text}")


def show_rest(rest: AtRest, where: str) -> None:
    half, most = percentiles(rest.seconds)
    costs = (rest.proxy_s * 1e3, rest.replica_s * 1e3, rest.client_s * 1e3)
    print(f"{where}: at rest p50 {half:.1f} ms, p99 {most:.1f} ms")
    print("CPU ms for a list: proxy {:.1f}, replica {:.1f}, load {:.1f}".format(*costs))


def main() -> None:
    parser = number_parser(__doc__, seconds=10.0, rounds=3, count=300, replicas=2, background=-1.0)
    parser.add_argument("--bundle", required=True, help="folder of a bundle")
    parser.add_argument("--predict", action="store_true", help="also print what other machines would do")
    asked = parser.parse_args()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        videos = ServingBundle.load(asked.bundle).videos.num_rows
        config = ServeConfig.model_validate(
            {
                "bundle": asked.bundle,
                "data": str(Path(name) / "data"),
                "store": {"kind": "sqlite", "path": str(Path(name) / "store.db")},
                "port": PORT,
                "replicas": {"api": asked.replicas, "ranking": 0, "encoder": 0},
                "security": {"requests_per_second": 1e6, "burst": 1_000_000},
            }
        )
        with connect_cluster():
            url: Any = deploy_service(config)["url"]
            others = asked.background if asked.background >= 0 else busy_elsewhere(cores)
            rest = measure_at_rest(url, asked.count)
            show_rest(
                rest, f"{videos:,} videos, {asked.replicas} replicas, {cores} cores, {others:.1f} others"
            )
            compare(url, rest.machine(asked.replicas, cores, others), asked.seconds, asked.rounds)
            if asked.predict:
                show_other_machines(rest)
            stop_service(config)


if __name__ == "__main__":
    main()
