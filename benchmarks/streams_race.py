"""Ends of live streams that race answers, in process: the service's store, catalog, ranking and last look.

    python benchmarks/streams_race.py BUNDLE --answers 100000

Each process has two HTTP replicas, without HTTP and Serve, that share a SQLite store, each in a thread of its
own. Streams start on either replica, beat, and are over by DELETE or for want of beats; some beats come at
the moment of expiry, and streams start again with the same id. Meanwhile shoppers ask both replicas for lists
of streams and of videos. Nearly all is Python, so there is one process per core.

An answer is wrong if it has a stream that was over before the answer was asked for: its DELETE had returned,
or by the store's state, as read just before the request, it had ended or expired. An item names the start of
its stream, and so tells a stream that has started again from the one that is over. A beat that came in time
may be written just after the expiry that it moves: an answer with such a stream counts apart, as prolonged,
since the stream was live throughout. Each wrong answer is printed with the states before and after it.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import torch

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.http.lists import ListResponder
from vrec.serving.http.schemas.requests import UserRecommendRequest
from vrec.serving.streams.states import (
    STREAMS_TABLE,
    StreamBeat,
    StreamDetails,
    StreamOver,
    StreamState,
    unpack_state,
)

REPLICAS, STREAMERS, SHOPPERS = 2, 6, 6
IDS = 3
"""Ids of a streamer's streams, each of which starts again and again."""
LIFE_S, EXPIRY_S, BEAT_S = 0.6, 0.6, 0.15
"""Mean seconds until a streamer ends a stream or leaves it, seconds of expiry, seconds between beats."""
EDGE_S = 0.05
"""Standard deviation of the seconds between an expiry and a beat that comes at about that moment."""
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class LoopHandle:
    """Handle of a deployment that runs in the event loop of another thread."""

    def __init__(self, node: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._node, self._loop = node, loop

    def __getattr__(self, name: str) -> "LoopHandle":
        return LoopHandle(getattr(self._node, name), self._loop)

    def remote(self, *args: Any) -> Any:
        """Send the call."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._node(*args), self._loop))


class Race:
    """Streams and shoppers of one process, and what was counted."""

    def __init__(self, wanted: int, seconds: float, profiles: ProfilesDeployment) -> None:
        self.wanted, self.until, self._profiles = wanted, time.monotonic() + seconds, profiles
        self.counts: Counter[str] = Counter()
        self.ended: dict[str, int] = {}
        """Start (µs) of the last stream of each id whose DELETE has returned."""
        self.ids = [f"race-{seed}-{number}" for seed in range(STREAMERS) for number in range(IDS)]
        self.replicas: list[LoopHandle] = []
        """`StreamOperations` of the replicas."""
        self.lock, self.all_there = threading.Lock(), threading.Barrier(REPLICAS)

    @property
    def goes_on(self) -> bool:
        """Whether more answers are wanted."""
        return self.counts["answers"] < self.wanted and time.monotonic() < self.until

    async def stream(self, seed: int) -> None:
        """Start streams, one after the other, and end or leave them."""
        rng = np.random.default_rng(seed)
        while self.goes_on:
            name = f"race-{seed}-{rng.integers(IDS)}"
            state, _ = await self._any(rng).put.remote(name, StreamDetails(f"streamer-{seed}", "Shoes"))
            until = time.monotonic() + rng.exponential(LIFE_S)
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(left, BEAT_S))
                await self._beat(rng, name)
            if rng.random() < 0.6:
                await self._any(rng).end.remote(name)
                with self.lock:
                    self.ended[name] = state.started_at
                    self.counts["ends"] += 1
            else:
                await self._leave(rng, name)

    async def _leave(self, rng: np.random.Generator, name: str) -> None:
        """Wait until a stream has expired, and let some beats come at about that moment."""
        while True:
            state = await self._any(rng).get.remote(name)
            beats = rng.random() < 0.5
            late_s = rng.normal(0, EDGE_S) if beats else 0.01
            await asyncio.sleep(max(0.0, state.ends_at / 1e6 - time.time() + late_s))
            if beats and await self._beat(rng, name):
                self._count("beats at the edge in time")
                continue
            if not (await self._any(rng).get.remote(name)).is_live(time.time_ns() // 1000):
                self._count("expiries")
                return

    async def _beat(self, rng: np.random.Generator, name: str) -> bool:
        """Send a beat, and return whether the stream was live."""
        try:
            await self._any(rng).beat.remote(name, StreamBeat(viewers=int(rng.integers(1_000))))
        except StreamOver:
            return False
        return True

    async def shop(self, responder: ListResponder, user: str) -> None:
        """Ask for lists, and count what is wrong in them."""
        for turn in itertools.count():
            # Nothing in a request has to wait: without this, a shopper would have the loop alone.
            await asyncio.sleep(0)
            if not self.goes_on:
                return
            given = {"user_id": user, "k": 20, "kind": ("video", "stream")[turn % 2]}
            body = UserRecommendRequest.model_validate(given)
            with self.lock:
                ended, before_ends = dict(self.ended), self.counts["ends"]
            before, at = self._states(self.ids), time.time_ns() // 1000
            response = await responder.recommend(body, f"{user}-{turn}")
            content = json.loads(bytes(response.body))
            shown = {item["video_id"]: item.get("live") for item in content["items"] if _is_race(item)}
            self._check(shown, ended, before, at)
            with self.lock:
                self.counts["answers"] += 1
                self.counts["with a live stream"] += bool(shown)
                self.counts["during an end"] += self.counts["ends"] > before_ends
                self.counts["degraded"] += bool(content["degraded"])

    def _check(
        self, shown: Mapping[str, Any], ended: Mapping[str, int], before: Mapping[str, StreamState], at: int
    ) -> None:
        """Count an answer if it has a stream that was over at a time (µs), just before its request."""
        kinds: set[str] = set()
        for name, live in shown.items():
            start = None if live is None else _microseconds(live["started_at"])
            state = before.get(name)
            is_ended = start is None or ended.get(name) == start
            has_expired = state is not None and state.started_at == start and state.ends_at <= at
            if not is_ended and not has_expired:
                continue
            after = self._states([name]).get(name)
            in_time = (
                not is_ended
                and state is not None
                and state.ended_at is None
                and after is not None
                and after.started_at == start
                and state.beat_at < after.beat_at < state.expires_at
            )
            kinds.add("prolonged" if in_time else "wrong")
            if not in_time:
                print(f"{name} from {start}, asked at {at}, DELETE returned: {is_ended}\n  before {state}"
                      f"\n  after {after}", flush=True)  # fmt: skip
        with self.lock:
            self.counts.update(kinds)

    def _states(self, names: list[str]) -> dict[str, StreamState]:
        store = self._profiles.opened
        assert store is not None
        records = store.states(STREAMS_TABLE, names).items()
        found = ((name, unpack_state(name, record)) for name, (_, record) in records)
        return {name: state for name, state in found if state is not None}

    def _any(self, rng: np.random.Generator) -> LoopHandle:
        return self.replicas[rng.integers(REPLICAS)]

    def _count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1


def _is_race(item: Mapping[str, Any]) -> bool:
    return item["video_id"].startswith("race-")


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


async def run_replica(config: ServeConfig, profiles: Any, race: Race, number: int) -> None:
    """Run a replica with its part of the shoppers and streamers in the loop of this thread."""
    api = ApiDeployment(config, None, profiles, None)
    await api.reconfigure({"bundle": config.bundle})
    race.replicas.append(LoopHandle(api.streams, asyncio.get_running_loop()))
    await asyncio.to_thread(race.all_there.wait)
    responder = ListResponder(api, config)
    tasks = [race.stream(one) for one in range(number, STREAMERS, REPLICAS)]
    tasks += [race.shop(responder, f"u{one}") for one in range(number, SHOPPERS, REPLICAS)]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        race.wanted = 0  # the other replica's part ends too
        race.all_there.abort()
        raise
    # Streamers of the other replica may still call this one.
    await asyncio.to_thread(race.all_there.wait)
    await api.close()


def run_process(bundle: str, answers: int, seconds: float) -> Counter[str]:
    """Run a race over a store of its own, and return what was counted."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "bundle": bundle,
            "data": f"{folder}/data",
            "store": {"kind": "sqlite", "path": f"{folder}/store.db"},
            "live": {"expiry_s": EXPIRY_S},
            "replicas": {"ranking": 0},
        }
        config = ServeConfig.model_validate(given)
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        node = ProfilesDeployment(config)
        asyncio.run_coroutine_threadsafe(node.reconfigure({"bundle": bundle}), loop).result()
        race, profiles, cpu = Race(answers, seconds, node), LoopHandle(node, loop), time.process_time()
        threads = [
            threading.Thread(target=asyncio.run, args=(run_replica(config, profiles, race, number),))
            for number in range(REPLICAS)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(30 / REPLICAS)
            print(os.getpid(), dict(race.counts), file=sys.stderr, flush=True)
        race.counts["CPU seconds"] = round(time.process_time() - cpu)
        asyncio.run_coroutine_threadsafe(node.close(), loop).result()
    return race.counts


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3_600, help="end after so many, whatever was asked")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    begun, number = time.perf_counter(), options.processes
    with ProcessPoolExecutor(number, multiprocessing.get_context("spawn")) as pool:
        each = -(-options.answers // number)
        parts = pool.map(run_process, *zip(*[(options.bundle, each, options.seconds)] * number, strict=True))
        counts = sum(parts, Counter[str]())
    print(f"{counts['wrong']} of {counts['answers']:,} answers had a stream that was over")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count:,}")
    print(f"  {time.perf_counter() - begun:.0f} s, load average {os.getloadavg()[0]:.0f}")


if __name__ == "__main__":
    main()
