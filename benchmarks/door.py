"""Cost of pseudonyms, coarser fields and redacted texts, beside the same service without them.

Run as `python benchmarks/door.py [--shoppers 500,5000] [--rounds 9]`. Two services run in one process over
one bundle, each with HTTP application, ranking, profiles and store, and take turns request by request:
whatever else the machine does falls on both, and the order of a pair is drawn at random. Printed are the
medians of `POST /v1/recommend` and of `POST /v1/events` with one event and with a hundred, wall-clock, the
median over the rounds of their ratio, and the least and greatest of those. Wanted: a ratio of at most 1.03.
The time that the door itself takes is printed apart.
"""

import asyncio
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import interleaved_times, number_parser
from in_process import Handle, post
from large_shop import large_bundle

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.privacy.door.door import Door
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.http.app import create_app

ENVIRONMENT = {"KEY": "k" * 32}
PRIVACY = {
    "key": "KEY",
    "fields": {
        "value": {"kind": "bands", "edges": [5, 10, 20, 50, 100, 500]},
        "at": {"kind": "round", "to": "hour"},
        "age": {"kind": "bands", "edges": [13, 18, 25, 35, 50, 65]},
    },
}
HISTORY = 50
REQUESTS = {"recommend": 100, "event": 200, "100 events": 40}
"""Pairs of requests of a round."""


class Service:
    """A service in this process, and senders of requests to it."""

    def __init__(self, bundle: str, folder: Path, privacy: dict[str, Any], shoppers: int) -> None:
        self.config = ServeConfig.model_validate(
            {
                "bundle": bundle,
                "data": str(folder),
                "replicas": {"ranking": 0, "encoder": 0},
                "security": {"requests_per_second": 1e6, "burst": 1_000_000},
                "privacy": privacy,
            }
        )
        self._videos = ServingBundle.load(bundle).videos.column("video_id").to_pylist()
        self._rng, self._shoppers = np.random.default_rng(0), shoppers
        self.profiles = ProfilesDeployment(self.config)
        handle: Any = Handle(self.profiles)
        self.api = ApiDeployment(self.config, None, handle, None)
        self.app = create_app(self.api, self.config, environment=ENVIRONMENT)

    async def start(self) -> None:
        for deployment in (self.profiles, self.api):
            await deployment.reconfigure({"bundle": self.config.bundle})
        for _ in range(self._shoppers * HISTORY // 1_000):
            await post(self.app, "/v1/events", self.events(1_000))
        await asyncio.sleep(2 * self.config.refresh_s)

    async def close(self) -> None:
        for deployment in (self.api, self.profiles):
            await deployment.close()

    def events(self, size: int) -> dict[str, Any]:
        return {"events": [self.event() for _ in range(size)]}

    def event(self) -> dict[str, Any]:
        video = self._videos[self._rng.integers(len(self._videos))]
        more = {"kind": "watch", "value": float(self._rng.integers(5, 60)), "surface": "feed"}
        return {"event_id": uuid.uuid4().hex, "user_id": self._shopper(), "video_id": video} | more

    def request(self, kind: str) -> tuple[str, dict[str, Any]]:
        if kind == "recommend":
            return "/v1/recommend", {"user_id": self._shopper(), "k": 10, "context": {"age": 30}}
        return "/v1/events", self.event() if kind == "event" else self.events(100)

    async def time(self, kind: str) -> float:
        """Return the seconds of one request."""
        path, body = self.request(kind)
        begun = time.perf_counter()
        await post(self.app, path, body)
        return time.perf_counter() - begun

    def _shopper(self) -> str:
        return f"shopper-{self._rng.integers(self._shoppers)}"


async def compare(bundle: str, folder: Path, shoppers: int, rounds: int) -> None:
    sides = {
        "plain": Service(bundle, folder / f"{shoppers}-plain", {}, shoppers),
        "private": Service(bundle, folder / f"{shoppers}-private", PRIVACY, shoppers),
    }
    await compare_services(sides, shoppers, rounds)


async def compare_services(sides: Mapping[str, Service], shoppers: int, rounds: int) -> None:
    """Print the ratio of the second side's times to the first one's."""
    base, other = sides
    for side in sides.values():
        await side.start()
    order = np.random.default_rng(1)
    for kind, count in REQUESTS.items():
        medians: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            taken: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(count):
                for name in order.permutation(list(sides)):
                    taken[name].append(await sides[name].time(kind))
            if number:  # the first round warms up
                for name, found in taken.items():
                    medians[name].append(statistics.median(found) * 1e3)
        ratios = [b / a for a, b in zip(medians[base], medians[other], strict=True)]
        before, after = (statistics.median(medians[name]) for name in sides)
        print(
            f"{shoppers:,} shoppers, {kind}: p50 {before:.3f} ms {base}, {after:.3f} ms {other}, ratio "
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}; wanted 1.03)",
            flush=True,
        )
    for side in sides.values():
        await side.close()


def time_door(rounds: int) -> None:
    """Print what the door takes by itself, in µs."""
    door = Door(ServeConfig.model_validate({"privacy": PRIVACY}).privacy, "default", ENVIRONMENT)
    row = ("e", "shopper-1", "v1", "watch", 23.0, 3, "r", 0.5, "feed", 1_700_000_000_000_000)
    rows = [(f"e{n}", f"shopper-{n}", *row[2:]) for n in range(100)]
    calls = {
        "an id": lambda: door.shopper("shopper-1"),
        "an event": lambda: door.rows([row]),
        "100 events": lambda: door.rows(rows),
        "a text": lambda: door.text("linen shirts under 40, not white"),
        "a text with a number": lambda: door.text("call 13812345678 about linen shirts"),
    }
    many = 200
    sides = {name: lambda call=call: [call() for _ in range(many)] for name, call in calls.items()}
    for name, taken in interleaved_times(sides, rounds).items():
        print(f"{name}: {statistics.median(wall for wall, _ in taken) / many * 1e6:.1f} µs")


def main() -> None:
    parser = number_parser(__doc__, videos=20_000, rounds=9)
    parser.add_argument("--shoppers", default="500,5000", help="numbers of shoppers")
    parser.add_argument("--bundle", default=None, help="folder; drawn there if there is none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    time_door(asked.rounds)
    bundle = asked.bundle or str(Path(tempfile.gettempdir()) / f"vrec-large-shop-{asked.videos}")
    if not Path(bundle).is_dir():
        large_bundle(bundle, videos=asked.videos)
    for shoppers in map(int, asked.shoppers.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(compare(bundle, Path(folder), shoppers, asked.rounds))


if __name__ == "__main__":
    main()
