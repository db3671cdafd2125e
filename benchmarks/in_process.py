"""CPU time of requests to the whole service in one process: HTTP application, ranking, profiles and store.

Run as `python benchmarks/in_process.py BUNDLE [--against CHECKOUT | --guard]`. Requests are given to the ASGI
application itself, without sockets, proxies and calls through Serve, and the time is the process's CPU time,
threads included. With another checkout of the repository, or with `--guard` the guard against click farms on
and off, a process of each takes turns, in rounds.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import ROOT, CheckoutProcess

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment

SHOPPERS, HISTORY = 500, 50
KINDS = {"recommend": 50, "events by 1": 200, "events by 1, 64 at once": 960, "events by 100": 2_000}
"""What is timed, and the number of recommendations or events of a round."""


class Method:
    def __init__(self, method: Callable[..., Awaitable[Any]]) -> None:
        self.remote = method


class Handle:
    """Handle of a deployment in this process."""

    def __init__(self, deployment: object) -> None:
        self._deployment = deployment

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self._deployment, name))


async def post(app: Any, path: str, content: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of a response."""
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    ends = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000)}
    asgi = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
    scope = {**asgi, "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    messages, sent = [{"type": "http.request", "body": body, "more_body": False}], list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else await asyncio.sleep(3_600, {})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({**scope, **ends, "root_path": "", "headers": headers, "state": {}}, receive, send)
    if sent[0]["status"] >= 300:
        raise SystemExit(f"{path} said {sent[0]['status']}: {sent[1]['body'][:500]!r}")
    return json.loads(b"".join(one.get("body", b"") for one in sent[1:]))


class Shop:
    """The service, and senders of requests to it."""

    def __init__(self, app: Any, videos: list[str]) -> None:
        self._app, self._videos, self._rng = app, videos, np.random.default_rng(0)

    def event(self) -> dict[str, Any]:
        shopper, video = (
            f"s{self._rng.integers(SHOPPERS)}",
            self._videos[self._rng.integers(len(self._videos))],
        )
        more = {"kind": "watch", "value": float(self._rng.integers(5, 60)), "surface": "feed"}
        return {"event_id": uuid.uuid4().hex, "user_id": shopper, "video_id": video} | more

    async def many(self, events: int, size: int) -> None:
        for _ in range(events // size):
            await post(self._app, "/v1/events", {"events": [self.event() for _ in range(size)]})

    async def single(self, events: int) -> None:
        for _ in range(events):
            await post(self._app, "/v1/events", self.event())

    async def run(self, kind: str, count: int) -> dict[str, float]:
        """Return the median milliseconds of the stages of recommendations."""
        stages: dict[str, list[float]] = defaultdict(list)
        if kind == "recommend":
            for _ in range(count):
                body = {"user_id": f"s{self._rng.integers(SHOPPERS)}", "k": 10, "surface": "feed"}
                for name, spent in (await post(self._app, "/v1/recommend", body))["spent_ms"].items():
                    stages[name].append(spent)
        elif kind == "events by 100":
            await self.many(count, 100)
        else:
            senders = 64 if kind.endswith("at once") else 1
            await asyncio.gather(*(self.single(count // senders) for _ in range(senders)))
        return {name: statistics.median(spent) for name, spent in stages.items()}


async def work(bundle: str, folder: str, more: dict[str, Any]) -> None:
    """Time what each line of the standard input names, and print the CPU milliseconds."""
    config = ServeConfig.model_validate(
        {
            "bundle": bundle,
            "data": folder,
            "replicas": {"ranking": 0, "encoder": 0},
            "security": {"requests_per_second": 1e6, "burst": 1_000_000},
            **more,
        }
    )
    profiles = ProfilesDeployment(config)
    handle: Any = Handle(profiles)
    api: Any = ApiDeployment(config, None, handle, None)
    for deployment in (profiles, api):
        await deployment.reconfigure({"bundle": bundle})
    made = api.http_app() if hasattr(api, "http_app") else api.__serve_build_asgi_app__()
    shop = Shop(made, ServingBundle.load(bundle).videos.column("video_id").to_pylist())
    await shop.many(SHOPPERS * HISTORY, 500)
    await asyncio.sleep(2 * config.refresh_s)  # ranking has opened the store by then
    await shop.run("recommend", 20)
    print("ready", flush=True)
    while kind := (await asyncio.to_thread(sys.stdin.readline)).strip():
        begun = time.process_time()
        stages = await shop.run(kind, KINDS[kind])
        spent_ms = (time.process_time() - begun) * 1e3 / KINDS[kind]
        print(json.dumps({"cpu_ms": spent_ms, "stages": stages}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--guard", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--worker", action="store_true")
    asked = parser.parse_args()
    if asked.worker:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(work(asked.bundle, folder, {"guard": {"on": True}} if asked.guard else {}))
        return
    worker = [asked.bundle, "--worker"]
    here = [*worker, "--guard"] if asked.guard else worker
    sides = {"here": CheckoutProcess(__file__, here, ROOT)}
    if asked.against is not None or asked.guard:
        sides["against"] = CheckoutProcess(__file__, worker, asked.against or ROOT)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {kind: defaultdict(list) for kind in asked.kinds}
    for _ in range(asked.rounds):
        for kind in asked.kinds:
            for name, side in sides.items():
                found[kind][name].append(side.time(kind))
    for kind, by_side in found.items():
        for name, rounds in by_side.items():
            spent = [one["cpu_ms"] for one in rounds]
            stages = {n: statistics.median(one["stages"][n] for one in rounds) for n in rounds[0]["stages"]}
            shown = ", ".join(f"{stage} {ms:.2f}" for stage, ms in stages.items())
            print(f"{kind}, {name}: CPU {statistics.median(spent):.3f} ms each {shown}")
        if "against" in by_side:
            pairs = zip(by_side["here"], by_side["against"], strict=True)
            print(f"  ratio {statistics.median(a['cpu_ms'] / b['cpu_ms'] for a, b in pairs):.2f}")
    for side in sides.values():
        side.end()


if __name__ == "__main__":
    main()
