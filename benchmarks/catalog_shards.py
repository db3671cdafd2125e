"""A catalog in shards against one shard of a quarter of it, and against the whole catalog in one replica.

Run as `python benchmarks/catalog_shards.py --videos 1000000`; `--shards` and `--requests` for other numbers.
Videos are made: vectors of 64 numbers in clusters, 60 neighbors each, and a small ranking network. Times are
CPU seconds of this process, the two sides in turn; what crosses processes is pickled and unpickled, as Serve
does. The longest path counts the slowest shard of each round, as where each shard has a core; the sum counts
all of them. Memory is what a process of its own holds after it has cut its part.
"""

import argparse
import asyncio
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from harness import number_parser

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.cutting import cut_bundle
from vrec.bundle.neighbors import VideoNeighbors
from vrec.config.serve import ServeConfig
from vrec.core.schema import CREATORS, EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.profiles.profile import InterestEvent, Profile
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.config import LabelsConfig, LogSplitConfig
from vrec.ranking.labels import build_labels, split_log
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.networks.config import DinConfig
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.ranking.reranking.popularity import Popularity
from vrec.retrieval.index.index import FaissIndex
from vrec.serving.deployments.shards.part import free_memory
from vrec.serving.messages import RecommendQuery, RequestFilters
from vrec.serving.recommend.engine import RecommendEngine
from vrec.serving.rules.book import NO_BOOK
from vrec.serving.scatter.gather import ScatterGather
from vrec.serving.scatter.part_engine import PartEngine
from vrec.serving.streams.states import NO_STREAMS
from vrec.synthetic.shop.simulate import SimulationConfig, simulate
from vrec.testing.ranking_shop import network

DIM, CLUSTERS, NEIGHBORS, CREATORS_SHARE = 64, 1_000, 60, 50
CATEGORIES = [f"category-{number}" for number in range(20)]
NOW = 1_750_000_000_000_000
DAY_US = 86_400_000_000
ENCODER = "simulated"
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Impressions:
    """What `network` asks for of a shop."""

    content: CatalogContent
    events: pa.Table
    train: tuple[Any, Any]
    valid: tuple[Any, Any]


def trained_ranker() -> NetworkRanker:
    """Return a DIN with its default sizes, fitted on a small simulated shop."""
    made = simulate(SimulationConfig(users=150, videos=1_000, requests_per_user=5, dim=DIM))
    content, config = CatalogContent(made.videos, made.embeddings), ProfilesConfig()
    facts = video_metadata(content)
    requests = list(
        replay_requests(made.events, replay_video_counts(made.events, facts, config), facts, config)
    )
    labels = build_labels(made.events, made.videos, LabelsConfig())
    parts = split_log(labels.at, LogSplitConfig(validation_share=0.25))
    of_request = parts.split_of(np.array([request.context.at for request in requests]))
    of_label = parts.split_of(labels.at)
    halves = [
        (
            [one for one, part in zip(requests, of_request, strict=True) if part == number],
            labels.take(np.flatnonzero(of_label == number)),
        )
        for number in (0, 1)
    ]
    shop: Any = Impressions(content, made.events, *halves)
    return network(shop, network=DinConfig())


def made_vectors(count: int, seed: int = 0) -> Floats:
    """Return (count, DIM) unit vectors in clusters."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(1).normal(size=(CLUSTERS, DIM)).astype(np.float32)
    found = centers[rng.integers(CLUSTERS, size=count)]
    found += 0.5 * rng.standard_normal((count, DIM), np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def made_bundle(count: int, ranker: NetworkRanker) -> ServingBundle:
    """Return a bundle of made videos."""
    rng = np.random.default_rng(2)
    ids = pa.array([f"m{number:09}" for number in range(count)])
    vectors = made_vectors(count)
    encoders = pa.repeat(ranker.space.encoder or ENCODER, count)
    fused = conform(
        pa.table({
            "entity_id": ids, "modality": pa.repeat("fused", count), "encoder": encoders, "content_hash": ids,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
        }),
        EMBEDDINGS, stage="benchmark",
    )  # fmt: skip
    videos = made_videos(ids, rng)
    content = CatalogContent(videos, fused)
    index = FaissIndex()
    index.add(ids.to_pylist(), vectors)
    near = rng.integers(count, size=(count, NEIGHBORS), dtype=np.int32)
    scores = -np.sort(-rng.random((count, NEIGHBORS), np.float32), axis=1)
    popular = [ids[int(row)].as_py() for row in rng.choice(count, min(count, 500), replace=False)]
    return ServingBundle(
        uri="made", version="made", made_at=NOW, encoder=ranker.space.encoder, content=content, texts=None,
        popular=tuple(popular), popularity=Popularity.from_order(popular, [9] * len(popular), count),
        embed=None, profiles=ProfilesConfig(), history_factors={}, other_videos=(),
        creators=CREATORS.arrow().empty_table(), creator_model=None, early_leave_s=None,
        ranker=ranker.with_videos(content), neighbors=VideoNeighbors(tuple(ids.to_pylist()), near, scores),
        index=index, text_index=made_words(ids.to_pylist(), rng), live=None, moments=None,
        smoke_answers=pa.table({}),
    )  # fmt: skip


def made_videos(ids: pa.Array, rng: np.random.Generator) -> pa.Table:
    """Return VIDEOS of one clip or product each."""
    count = len(ids)
    category = pa.array(CATEGORIES).take(pa.array(rng.integers(len(CATEGORIES), size=count)))
    creators = pa.array([f"creator-{number}" for number in range(max(1, count // CREATORS_SHARE))])
    tags = pa.array([[f"tag-{number}"] for number in range(200)]).take(
        pa.array(rng.integers(200, size=count))
    )
    at = pa.array(NOW - rng.integers(400 * DAY_US, size=count), pa.timestamp("us", tz="UTC"))
    given = {
        "video_id": ids, "uri": ids, "title": category, "category": category, "tags": tags,
        "creator_id": creators.take(pa.array(rng.integers(len(creators), size=count))),
        "kind": pa.array(["product", "clip"]).take(pa.array(rng.integers(2, size=count))),
        "price": pa.array(rng.random(count) * 100), "available": pa.array(rng.random(count) < 0.9),
        "published_at": at, "duration_s": pa.array(rng.random(count) * 60 + 5),
    }  # fmt: skip
    columns = [
        given[field.name].cast(field.type) if field.name in given else pa.nulls(count, field.type)
        for field in VIDEOS.arrow()
    ]
    return pa.Table.from_arrays(columns, schema=VIDEOS.arrow())


def made_words(ids: Sequence[str], rng: np.random.Generator) -> Bm25Index:
    """Return an index in which each video has four of 20,000 words."""
    words, owners = rng.integers(20_000, size=4 * len(ids)), np.repeat(np.arange(len(ids)), 4)
    order = np.lexsort((owners, words))
    starts = np.searchsorted(words[order], np.arange(20_001))
    scores = rng.random(len(owners), np.float32)
    matrix = {"data": scores, "indices": owners[order].astype(np.int32), "indptr": starts.astype(np.int32)}
    return Bm25Index(ids, {f"word{number}": number for number in range(20_000)}, matrix)


class PickledPart:
    """Part whose questions and answers are pickled, with the CPU seconds of each call."""

    def __init__(self, engine: PartEngine, clock: "PathClock") -> None:
        self._engine, self._clock = engine, clock

    async def facts(self, ask: Any) -> Any:
        return self._timed(lambda one: self._engine.facts(one, streams=NO_STREAMS), ask)

    async def look(self, ask: Any) -> Any:
        return self._timed(lambda one: self._engine.look(one, NO_BOOK, streams=NO_STREAMS), ask)

    async def records(self, video_ids: Any) -> Any:
        return self._timed(self._engine.records, video_ids)

    async def popular_before(self, keys: Any) -> Any:
        return self._timed(self._engine.popular_before, keys)

    def _timed(self, call: Any, ask: Any) -> Any:
        sent = pickle.dumps(ask, protocol=5)
        begun = time.process_time()
        reply = pickle.dumps(call(pickle.loads(sent)), protocol=5)
        self._clock.spent.append(time.process_time() - begun)
        self._clock.sent += len(sent) + len(reply)
        return pickle.loads(reply)


@dataclass
class PathClock:
    """CPU seconds of the parts' calls of one request, in the order of the calls."""

    shards: int
    spent: list[float] = field(default_factory=list)
    sent: int = 0

    def beside(self) -> float:
        """Return the seconds that the calls would not add if each shard had a core."""
        rounds = [self.spent[at : at + self.shards] for at in range(0, len(self.spent), self.shards)]
        return sum(sum(one) - max(one) for one in rounds)


def shopper(rng: np.random.Generator, count: int) -> Profile:
    """Return a profile with a taste and 40 liked videos."""
    rows = rng.choice(count, 40, replace=False).tolist()
    history = tuple(
        InterestEvent(NOW - (40 - at) * DAY_US, f"e{at}", f"m{row:09}", 1.0, "like")
        for at, row in enumerate(rows)
    )
    taste = made_vectors(1, seed=int(rng.integers(1 << 30)))[0]
    return Profile("user", f"u{rows[0]}", vector=taste, history=history)


def queries(rng: np.random.Generator, number: int) -> RecommendQuery:
    """Return a request; every third filters by category and price."""
    filters = RequestFilters()
    if number % 3 == 0:
        filters = RequestFilters(categories=frozenset({CATEGORIES[number % 20]}), most_price=60.0)
    return RecommendQuery(f"r{number}", "u", "feed", 20, NOW + DAY_US, filters)


def compare(args: argparse.Namespace, ranker: NetworkRanker) -> None:
    """Print times, recall and filters of shards beside one shard of a quarter."""
    config = ServeConfig()
    bundle = made_bundle(args.videos, ranker)
    recall(bundle, args.shards)
    clock = PathClock(args.shards)
    engines = [PartEngine(cut_bundle(bundle, args.shards, number), config) for number in range(args.shards)]
    gather = ScatterGather(cut_bundle(bundle, args.shards, None), config)
    del bundle
    small = RecommendEngine(made_bundle(args.videos // args.shards, ranker), config)
    free_memory()
    parts = [PickledPart(one, clock) for one in engines]
    rng, times, wrong, sent = np.random.default_rng(3), [], 0, []
    for number in range(args.requests):
        query, count = queries(rng, number), args.videos
        one, many = shopper(rng, count // args.shards), shopper(rng, count)
        begun = time.process_time()
        small.recommend(query, one)
        middle = time.process_time()
        clock.spent, clock.sent = [], 0
        answer = asyncio.run(gather.recommend(parts, query, many, NO_BOOK, streams=NO_STREAMS))
        total = time.process_time() - middle
        times.append((middle - begun, total - clock.beside(), total))
        sent.append(clock.sent)
        cards = [card for item in answer.items for engine in engines if (card := engine.card(item.video_id))]
        assert len(cards) == len(answer.items)
        if query.filters.categories:
            wrong += sum(one["category"] not in query.filters.categories for one in cards)
            wrong += sum((one["price"] or 0) > 60 for one in cards)
        wrong += sum(not one["available"] for one in cards)
    found = np.array(times[3:]) * 1e3
    for name, column in zip(("one shard", "longest path", "sum"), found.T, strict=True):
        p50, p95 = np.percentile(column, (50, 95))
        print(f"{name:>13}: {p50:6.1f} ms CPU, p95 {p95:6.1f}")
    ratios = np.percentile(found, 95, axis=0) / np.percentile(found[:, 0], 95)
    print(f"p95 against one shard: longest path {ratios[1]:.2f}, sum {ratios[2]:.2f}")
    print(f"videos in lists that filters or rules exclude: {wrong}; {np.median(sent) / 1e3:,.0f} kB a list")


def recall(bundle: ServingBundle, shards: int) -> None:
    """Print the share of the 10 nearest that the whole index finds, and its parts together."""
    ids: list[str] = bundle.videos.column("video_id").to_pylist()
    vectors, asked = made_vectors(len(ids)), made_vectors(300, seed=9)
    parts = [cut_bundle(bundle, shards, number).index for number in range(shards)]
    hits = np.zeros(2)
    for query in asked:
        exact = {ids[row] for row in np.argsort(-(vectors @ query))[:10].tolist()}
        pairs = [
            (-score, name)
            for part in parts
            for names, scores in zip(*part.search(query[None], 10), strict=True)
            for name, score in zip(names, scores, strict=True)
        ]
        merged = {name for _, name in sorted(pairs)[:10]}
        hits += len(exact & set(bundle.index.search(query[None], 10)[0][0])), len(exact & merged)
    whole, together = hits / (10 * len(asked))
    print(f"recall@10 of the nearest: whole index {whole:.4f}, {shards} parts together {together:.4f}")


def resident_mb() -> float:
    """Return the megabytes of memory that this process holds."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Rss")) / 1e3


def hold(args: argparse.Namespace, ranker: NetworkRanker) -> None:
    """Print the memory of a process with the whole catalog, a part of it, or none."""
    before, config = resident_mb(), ServeConfig()
    bundle = made_bundle(args.videos, ranker)
    if args.hold == "whole":
        kept: Any = RecommendEngine(bundle, config)
    elif args.hold == "part":
        kept = PartEngine(cut_bundle(bundle, args.shards, 0), config)
    else:
        kept = ScatterGather(cut_bundle(bundle, args.shards, None), config)
    del bundle
    free_memory()
    print(f"{resident_mb() - before:.1f}", flush=True)
    del kept


def main() -> None:
    """Print the comparison."""
    parser = number_parser(__doc__, videos=1_000_000, shards=4, requests=100)
    parser.add_argument("--hold", choices=("whole", "part", "head"))
    args = parser.parse_args()
    ranker = trained_ranker()
    if args.hold:
        hold(args, ranker)
        return
    print(f"{args.videos:,} videos in {args.shards} shards")
    found = {}
    for kind in ("whole", "part", "head"):
        command = [sys.executable, __file__, "--hold", kind, "--videos", str(args.videos)]
        done = subprocess.run(
            [*command, "--shards", str(args.shards)], capture_output=True, text=True, check=True
        )
        found[kind] = float(done.stdout.split()[-1])
    part, head = found["part"] / found["whole"], found["head"] / found["whole"]
    print(f"MB: whole {found['whole']:,.0f}, part {found['part']:,.0f} ({part:.2f} x), "
          f"gathering {found['head']:,.0f} ({head:.2f} x)")  # fmt: skip
    compare(args, ranker)


if __name__ == "__main__":
    main()
