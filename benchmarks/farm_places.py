"""Places in live lists that a click farm and a flash sale win for a video, with the guard and without.

Run as `OMP_NUM_THREADS=1 python benchmarks/farm_places.py [--accounts 500] [--askers 40]`. The whole service
runs twice in this process, without sockets (see `in_process.py`), with a trained ranker and the log of a
simulated shop: once without `serve.guard.on`, once with it. A farm of new accounts pushes one video by
`POST /v1/events`, and then shoppers with a history and new ones push another one, of whom some buy. Both
videos are those that are most often just below the lists. Before, once counted, and a minute after the first
event was sent, shoppers who took no part ask for lists. Printed is the share of all places in lists of ten
that the pushed video has, its mean place, its place among the trending videos of the hour, the clicks that
rank it, and the seconds until these changed no more and until all had asked.
"""

import argparse
import asyncio
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import number_parser
from in_process import Handle, post

from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.config import LabelsConfig, LogSplitConfig, RankerConfig
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.labels import build_labels, split_log
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.networks.config import LogisticRegressionConfig
from vrec.ranking.registry import fit_network_ranker
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

SHOP = SimulationConfig(users=250, videos=150, requests_per_user=8, dim=16, days=7, click_rate=0.2)
CLICK = VIDEO_COUNT_KEYS.index("event:click")
Event = dict[str, Any]


def trained(made: ShopSimulation) -> NetworkRanker:
    """Return a logistic regression over the features of the shop's log."""
    content, config = CatalogContent(made.videos, made.embeddings), ProfilesConfig()
    facts = video_metadata(content)
    counts = replay_video_counts(made.events, facts, config)
    requests = list(replay_requests(made.events, counts, facts, config))
    labels = build_labels(made.events, made.videos, LabelsConfig())
    parts = split_log(labels.at, LogSplitConfig(validation_share=0.25))
    of_request = parts.split_of(np.array([request.context.at for request in requests]))
    of_label = parts.split_of(labels.at)
    train, valid = (
        (
            [request for request, part in zip(requests, of_request, strict=True) if part == wanted],
            labels.take(np.flatnonzero(of_label == wanted)),
        )
        for wanted in (0, 1)
    )
    at = made.events.column("at").cast(pa.int64())
    log = made.events.filter(pc.less(at, parts.validation_from))
    ranking = RankerConfig(network=LogisticRegressionConfig())
    space = fit_space(log, train[0], content, ranking.features)
    build = FeatureBuilder(space, CatalogFeatures.from_content(content, space)).build
    built = [(build(requests), labels) for requests, labels in (train, valid)]
    return fit_network_ranker(ranking, space, content, train=built[0], valid=built[1])


def write_shop(uri: str, made: ShopSimulation) -> None:
    """Write the bundle of a shop."""
    interest = InterestConfig()
    rows = aggregate_interactions(weigh_events(made.events, interest, made.videos), interest)
    parts = BundleInputs(
        videos=made.videos,
        ranker=trained(made),
        profiles=ProfilesConfig(),
        fused=made.embeddings,
        recommender=ItemKnn().fit(rows),
        interactions=rows,
    )
    write_bundle(uri, parts, BundleConfig())


def history(made: ShopSimulation) -> list[Event]:
    """Return the shop's log as requests send it, moved so that it ends now."""
    at = pc.cast(made.events["at"], pa.int64())
    late = time.time_ns() // 1000 - pc.max(at).as_py()
    found = []
    for row in made.events.to_pylist():
        when = row["at"] + timedelta(microseconds=late)
        given = {key: row[key] for key in ("event_id", "user_id", "video_id", "kind", "value", "request_id")}
        found.append(
            {key: value for key, value in given.items() if value is not None} | {"at": when.isoformat()}
        )
    return found


def pushed(
    video: str, users: Sequence[str], rng: np.random.Generator, *, clicks: int, buys: float
) -> list[Event]:
    """Return the events of shoppers who choose a video."""
    found: list[Event] = []
    for user in users:
        # A farm sends no impressions: these would take its video from the hardly shown ones.
        kinds = ["click"] * clicks + ["like" if clicks > 1 else "impression"]
        kinds += ["purchase"] if rng.random() < buys else []
        values: list[Event] = [{"kind": kind} for kind in kinds]
        values.append({"kind": "watch", "value": float(rng.integers(5, 40))})
        found += [{"event_id": uuid.uuid4().hex, "user_id": user, "video_id": video, **one} for one in values]
    return found


class Service:
    """The service in this process."""

    def __init__(self, folder: Path, bundle: str, *, guarded: bool) -> None:
        settings = {
            "bundle": bundle, "data": str(folder), "guard": {"on": guarded},
            "replicas": {"ranking": 0, "encoder": 0},
            "security": {"requests_per_second": 1e9, "burst": 1_000_000_000},
            "budgets": {"cpu_ms_per_second": 1e9, "page_cpu_ms_per_second": 1e9},
            "ranking_timeout_s": 60.0, "profile_timeout_s": 60.0, "apply_timeout_s": 120.0,
        }  # fmt: skip
        self._config = ServeConfig.model_validate(settings)
        self.profiles = ProfilesDeployment(self._config)
        self._app: Any = None

    async def start(self, log: Sequence[Event]) -> None:
        """Begin to serve, with a log."""
        handle: Any = Handle(self.profiles)
        api: Any = ApiDeployment(self._config, None, handle, None)
        for deployment in (self.profiles, api):
            await deployment.reconfigure({"bundle": self._config.bundle})
        self._app = api.http_app()
        await self.send(log)
        await asyncio.sleep(3 * self._config.refresh_s)  # ranking has opened the store by then

    async def send(self, events: Sequence[Event]) -> None:
        """Send events, and wait until trends have them."""
        for start in range(0, len(events), 500):
            await post(self._app, "/v1/events", {"events": list(events[start : start + 500])})
        while not (await self.profiles.trending("1h"))[1]:
            await asyncio.sleep(0.1)

    async def clicks(self, video: str) -> float:
        """Return a video's clicks among the counts that rank."""
        return float((await self.profiles.video_counts([video]))[1][0, CLICK])

    async def nearly_listed(self, askers: Sequence[str]) -> list[str]:
        """Return the two videos that are most often just below the lists of ten, as pushing moves these."""
        below = Counter[str]()
        for user in askers:
            items = (await post(self._app, "/v1/recommend", {"user_id": user, "k": 30}))["items"]
            below.update(item["video_id"] for item in items[10:15])
            below.subtract(item["video_id"] for item in items[:10])
        return [video for video, _ in below.most_common(2)]

    async def places(self, video: str, askers: Sequence[str]) -> tuple[float, float, int | None]:
        """Return the percentage of the places in lists of ten that a video has, its mean place in lists of
        fifty (from 1; 51 where it has none), and its place in trends."""
        places: list[int] = []
        for user in askers:
            items = (await post(self._app, "/v1/recommend", {"user_id": user, "k": 50}))["items"]
            listed = [item["video_id"] for item in items]
            places.append(listed.index(video) + 1 if video in listed else 51)
        trending = [one.video_id for one in (await self.profiles.trending("1h"))[0]]
        share = 10 * float(np.mean(np.array(places) <= 10))
        return share, float(np.mean(places)), trending.index(video) + 1 if video in trending else None


async def push(name: str, service: Service, video: str, events: list[Event], askers: Sequence[str]) -> None:
    """Push a video, and print what it wins."""
    before, clicks = await service.places(video, askers), await service.clicks(video)
    begun = time.monotonic()
    await service.send(events)
    steady_s, last = 0.0, -1.0
    while (now := await service.clicks(video)) != last or time.monotonic() - begun - steady_s < 3:
        if now != last:
            last, steady_s = now, time.monotonic() - begun
        await asyncio.sleep(0.2)
    after, asked_s = await service.places(video, askers), time.monotonic() - begun
    while time.monotonic() - begun < 60:
        await asyncio.sleep(0.5)
    late = await service.places(video, askers)
    sent = sum(event["kind"] == "click" for event in events)
    moved = " | ".join(
        f"{share:.1f} %, {place:.0f}, {trend or '-'}" for share, place, trend in (before, after, late)
    )
    print(
        f"| {name} | {moved} | {last - clicks:.0f} of {sent} | {steady_s:.1f}, {asked_s:.0f} s |", flush=True
    )


async def run(options: argparse.Namespace) -> None:
    made, rng = simulate(SHOP.model_copy(update={"seed": options.seed})), np.random.default_rng(options.seed)
    log = history(made)
    known = sorted({event["user_id"] for event in log})
    asking = [str(user) for user in rng.choice(known, options.askers, replace=False)]
    others = [user for user in known if user not in set(asking)]
    asking += [f"nobody{number}" for number in range(options.askers // 4)]
    regulars = [
        str(user) for user in rng.choice(others, min(options.accounts // 2, len(others)), replace=False)
    ]
    buyers = [*regulars, *(f"visitor{number}" for number in range(options.accounts // 2))]
    print("| share, place, place in trends | before | once counted | after 60 s | clicks | counted, asked |")
    print("|---|---|---|---|---|---|")
    farm: list[Event] = []
    crowd: list[Event] = []
    farmed = sold = ""
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or f"{folder}/bundle"
        if not Path(bundle).exists():
            write_shop(bundle, made)
        for name, guarded in (("no guard", False), ("guard", True)):
            service = Service(Path(folder, name), bundle, guarded=guarded)
            await service.start(log)
            if not farm:
                farmed, sold = await service.nearly_listed(asking)
                accounts = [f"farm{number}" for number in range(options.accounts)]
                farm = pushed(farmed, accounts, rng, clicks=3, buys=0)
                crowd = pushed(
                    sold, [str(user) for user in rng.permutation(buyers)], rng, clicks=1, buys=0.02
                )
            await push(f"farm, {name}", service, farmed, farm, asking)
            await push(f"sale, {name}", service, sold, crowd, asking)
    os._exit(0)  # what the services still do is of no interest


def main() -> None:
    parser = number_parser(__doc__, accounts=500, askers=40, seed=100)
    parser.add_argument("--bundle", help="folder of the shop's bundle; it is written if there is none")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
