"""Attacks on resources: honest shoppers' waits and lost events, with and without budgets.

Run as `python benchmarks/resource_attacks.py [--lists 60] [--attackers 8] [--history 3000]`. The whole
service runs in one process, without sockets (see `in_process.py`), and waits are measured in the CPU time of
that process: what a request waits for on a machine with one core that does nothing else. Budgets pay by the
same clock. Honest shoppers and the attacker call from pages, with one browser key and addresses of their own;
the attacker sends again at once, whatever the answer. Rounds without an attack, with one, and with one and
budgets take turns on two services that differ in `serve.budgets` and in the caps of profiles.
"""

import argparse
import asyncio
import hashlib
import json
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from harness import number_parser
from in_process import Handle

from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.serve import ServeConfig
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.profiles.update import ProfilesConfig
from vrec.profiles.user import UserProfileConfig
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.serving.budgets.middleware import BudgetMiddleware
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.http.shopper_tokens import sign_shopper
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

SECRET = "0123456789abcdef" * 4
HONEST = 4
"""Honest shoppers, each of whom asks for a list and sends an event, one after the other."""
ONGOING = 200
"""Requests that the service takes at a time, as Serve's `max_ongoing_requests` does."""
NO_LIMIT = 1_000_000_000
WITHOUT = {
    "cpu_ms_per_second": NO_LIMIT, "page_cpu_ms_per_second": NO_LIMIT, "lists_at_once": NO_LIMIT,
    "requests_at_once": NO_LIMIT, "body_s": NO_LIMIT, "bodies_at_once": NO_LIMIT,
}  # fmt: skip
WITH = {"body_s": 1.0}
"""The defaults, with a short time for bodies, so that the drill need not wait for 20 s."""


@dataclass
class Waits:
    """CPU milliseconds that honest requests waited, and what became of all."""

    lists: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    lost: int = 0
    """Events without 202."""
    degraded: int = 0
    """Honest lists with popular videos."""
    attack: Counter[str] = field(default_factory=Counter)
    """Answers to the attacker."""


def write_shop(uri: str, profiles: ProfilesConfig) -> list[str]:
    """Write the bundle of a simulated shop, without a trained ranker, and return its videos."""
    made = simulate(SimulationConfig(users=150, videos=600, requests_per_user=6, dim=32))
    interest = InterestConfig()
    rows = aggregate_interactions(weigh_events(made.events, interest, made.videos), interest)
    parts = BundleInputs(
        videos=made.videos,
        ranker=None,
        profiles=profiles,
        fused=made.embeddings,
        recommender=ItemKnn().fit(rows),
        interactions=rows,
    )
    write_bundle(uri, parts, BundleConfig())
    return made.videos.column("video_id").to_pylist()


class Shop:
    """The service in this process, behind a limit of requests at a time."""

    def __init__(self, app: Any, videos: list[str]) -> None:
        self.app, self.videos, self.random = app, videos, np.random.default_rng(0)
        self._ongoing = asyncio.Semaphore(ONGOING)

    async def post(
        self, path: str, content: Any, user: str, address: str, receive: Callable[..., Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of a response."""
        body = json.dumps(content).encode()
        token = sign_shopper(user, SECRET, int(time.time()) + 3_600)
        given = {"content-type": "application/json", "x-api-key": "page", "x-shopper-token": token}
        headers = [(name.encode(), value.encode()) for name, value in given.items()]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "client": (address, 1), "server": ("127.0.0.1", 8000), "headers": headers, "state": {},
        }  # fmt: skip
        messages, sent = [{"type": "http.request", "body": body, "more_body": False}], list[dict[str, Any]]()

        async def whole() -> dict[str, Any]:
            return messages.pop() if messages else await asyncio.sleep(3_600, {})

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async with self._ongoing:
            await self.app(scope, receive or whole, send)
        return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]) or b"{}")

    def event(self, user: str, **more: Any) -> dict[str, Any]:
        video = self.videos[self.random.integers(len(self.videos))]
        given = {"event_id": uuid.uuid4().hex, "user_id": user, "video_id": video, "kind": "click"}
        return {**given, "surface": "feed", **more}

    async def honest(self, number: int, lists: int, waits: Waits) -> None:
        """Be one honest shopper."""
        user, address = f"honest{number}", f"10.0.1.{number}"
        for _ in range(lists):
            begun = time.process_time()
            status, answer = await self.post("/v1/recommend", {"user_id": user, "k": 10}, user, address)
            waits.lists.append((time.process_time() - begun) * 1e3)
            waits.degraded += status != 200 or answer["degraded"]
            begun = time.process_time()
            status, _ = await self.post("/v1/events", self.event(user), user, address)
            waits.events.append((time.process_time() - begun) * 1e3)
            waits.lost += status != 202
            await asyncio.sleep(0)


Attack = Callable[[Shop, int], Awaitable[str]]
"""One request of the attacker, by its number; returns what was answered."""
ATTACKER, FROM = "attacker", "10.0.66.6"


async def attack_list(shop: Shop, body: dict[str, Any], user: str = ATTACKER) -> str:
    status, answer = await shop.post("/v1/recommend", {"user_id": user, **body}, user, FROM)
    return f"{status}{' popular' if status == 200 and answer['degraded'] else ''}"


async def expensive(shop: Shop, number: int) -> str:
    """Ask for the most that a request may have."""
    body = {
        "candidates": shop.videos[:500],
        "k": 100,
        "explain": True,
        "exclude": [f"x{n}" for n in range(900)],
    }
    return await attack_list(shop, body)


async def busting(shop: Shop, number: int) -> str:
    """Ask with a filter that was never seen, as long as filters may be."""
    terms = " OR ".join(f'category = "c{number}-{n}"' for n in range(150))
    return await attack_list(shop, {"k": 50, "filters": {"expression": f"NOT ({terms})"}})


async def hot(shop: Shop, number: int) -> str:
    """Ask for ordinary lists of one shopper, and nothing else."""
    return await attack_list(shop, {"k": 10}, "hot")


async def giant(shop: Shop, number: int) -> str:
    """Ask for lists of a shopper with a giant history."""
    return await attack_list(shop, {"k": 10}, "giant")


ATTACKS: dict[str, Attack] = {"expensive lists": expensive, "cache busting": busting, "hot shopper": hot}
ATTACKS["giant history"] = giant


async def drill(shop: Shop, attack: Attack | None, lists: int, attackers: int) -> Waits:
    """Let honest shoppers work beside an attacker with so many connections."""
    waits, numbers, is_over = Waits(), iter(range(NO_LIMIT)), False

    async def connection() -> None:
        assert attack is not None
        while not is_over:
            waits.attack[await attack(shop, next(numbers))] += 1
            await asyncio.sleep(0)

    attacking = [asyncio.create_task(connection()) for _ in range(attackers if attack is not None else 0)]
    await asyncio.sleep(0.05 if attacking else 0)
    await asyncio.gather(*(shop.honest(number, lists, waits) for number in range(HONEST)))
    is_over = True
    await asyncio.gather(*attacking)
    return waits


async def slow_bodies(shop: Shop, lists: int, bodies: int, wait_s: float) -> tuple[Waits, int]:
    """Let honest shoppers work while bodies never end; also return the bodies that are still on their way."""
    waits, begun = Waits(), time.monotonic()

    async def trickle() -> dict[str, Any]:
        await asyncio.sleep(0.2)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def one() -> None:
        status, _ = await shop.post("/v1/events", {}, ATTACKER, FROM, trickle)
        waits.attack[str(status)] += 1

    attacking = [asyncio.create_task(one()) for _ in range(bodies)]
    await asyncio.sleep(wait_s)
    left = sum(not task.done() for task in attacking)
    honest = asyncio.gather(*(shop.honest(number, lists, waits) for number in range(HONEST)))
    try:
        async with asyncio.timeout(20 + wait_s):
            await honest
    except TimeoutError:
        waits.lost += HONEST * lists - len(waits.events)
    for task in attacking:
        task.cancel()
    await asyncio.gather(*attacking, return_exceptions=True)
    print(f"    ({time.monotonic() - begun:.0f} s)")
    return waits, left


async def open_shop(folder: Path, budgets: Mapping[str, float], profiles: ProfilesConfig) -> Shop:
    """Start a service with budgets that pay by CPU time."""
    videos = write_shop(str(folder / "bundle"), profiles)
    settings = {
        "bundle": str(folder / "bundle"), "data": str(folder / "data"), "budgets": budgets,
        "replicas": {"ranking": 0, "encoder": 0},
        "security": {"requests_per_second": NO_LIMIT, "burst": NO_LIMIT},
    }  # fmt: skip
    config = ServeConfig.model_validate(settings)
    node = ProfilesDeployment(config)
    handle: Any = Handle(node)
    api: Any = ApiDeployment(config, None, handle, None)
    for deployment in (node, api):
        await deployment.reconfigure({"bundle": config.bundle})
    app = api.http_app()
    for one in app.user_middleware:
        if one.cls is BudgetMiddleware:
            one.kwargs["clock"] = time.process_time
    await asyncio.sleep(3 * config.refresh_s)  # ranking has opened the store by then
    return Shop(app, videos)


async def give_giant_history(shop: Shop, marks: int) -> None:
    """Have a shopper hide invented videos, as a page may."""
    for start in range(0, marks, 500):
        rows = [
            shop.event("giant", kind="hide", video_id=f"{'invented' * 20} {start + n}", surface=f"s{n}")
            for n in range(500)
        ]
        status, answer = await shop.post("/v1/events", {"events": rows}, "giant", "10.0.9.9")
        if status != 202:
            raise SystemExit(f"the history was refused: {answer}")


def show(name: str, waits: Waits) -> None:
    ends = [
        float(np.percentile(one or [np.nan], share))
        for one in (waits.lists, waits.events)
        for share in (50, 95)
    ]
    answers = ", ".join(f"{count} × {answer}" for answer, count in waits.attack.most_common())
    print(
        f"    {name}: lists p50 {ends[0]:.1f}, p95 {ends[1]:.1f}; events p50 {ends[2]:.1f}, p95 {ends[3]:.1f}"
        f" CPU ms; {waits.lost} events lost, {waits.degraded} of {len(waits.lists)} lists popular; "
        f"attacker: {answers or 'none'}",
        flush=True,
    )


async def run(options: argparse.Namespace) -> None:
    digest = hashlib.sha256(b"page").hexdigest()
    os.environ |= {"VREC_API_KEYS": f"page:browser:{digest}", "VREC_SHOPPER_SECRETS": SECRET}
    unlimited = UserProfileConfig(marks=NO_LIMIT, surfaces=NO_LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        shops = {
            "without": await open_shop(Path(folder, "0"), WITHOUT, ProfilesConfig(user=unlimited)),
            "with": await open_shop(Path(folder, "1"), WITH, ProfilesConfig()),
        }
        for shop in shops.values():
            await give_giant_history(shop, options.history)
            await drill(shop, None, 10, 0)
        for name, attack in ATTACKS.items():
            print(f"  {name}")
            for label, kind, one in (("no attack", "without", None), ("attack", "without", attack),
                                     ("attack, budgets", "with", attack)):  # fmt: skip
                show(label, await drill(shops[kind], one, options.lists, options.attackers))
        print(f"  slow bodies, {2 * ONGOING} of them, {ONGOING} requests at a time")
        for label, kind in (("attack", "without"), ("attack, budgets", "with")):
            waits, left = await slow_bodies(shops[kind], options.lists // 4, 2 * ONGOING, 4.0)
            show(f"{label}, {left} left after 4 s", waits)
    os._exit(0)  # what the services still do is of no interest


def main() -> None:
    options = number_parser(__doc__, lists=60, attackers=8, history=3_000).parse_args()
    asyncio.run(run(options))


if __name__ == "__main__":
    main()
