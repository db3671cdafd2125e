"""Profile of one recommendation: a ranking process with 100,000 videos, without HTTP.

Run as `OMP_NUM_THREADS=1 python benchmarks/recommend.py`. The bundle is drawn, in memory: the ranker is the
default DIN with first weights, whose numbers mean nothing and take as long as others. Each round answers a
request of another shopper, by a stock without changes and by one with some, and then has the ranker alone
predict as many candidates from features that are there already, so that whatever else the machine does falls
on all of them.
"""

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from harness import number_parser

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.bundle import ServingBundle
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.smoke_requests import SMOKE_ANSWERS
from vrec.config.serve import ServeConfig
from vrec.core.schema import CREATORS, EMBEDDINGS
from vrec.core.types import CatalogContent, Vectors
from vrec.profiles.profile import EventRecord, Profile, VideoMetadata
from vrec.profiles.update import ProfilesConfig, apply_event, video_metadata
from vrec.ranking.config import LabelsConfig, RankerConfig
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.labels import build_labels
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.ranking.reranking.popularity import Popularity
from vrec.retrieval.index.index import FaissIndex
from vrec.serving.messages import CatalogChange, RecommendQuery
from vrec.serving.recommend.engine import RecommendEngine
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

DIM, NEIGHBOURS, POPULAR, EVENTS = 64, 60, 500, 50
DAY_US = 86_400_000_000
NOW = 20_800 * DAY_US
ENCODER = "simulated"
LEARNED = SimulationConfig(users=200, videos=2_000, requests_per_user=6, slots=8, dim=DIM, creators=300)


def unit(vectors: np.ndarray) -> Vectors:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def embeddings_of(ids: list[str], vectors: Vectors) -> pa.Table:
    columns = [
        pa.array(ids),
        pa.repeat("fused", len(ids)),
        pa.repeat(ENCODER, len(ids)),
        pa.array(ids),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
    ]
    return pa.Table.from_arrays(columns, names=[column.name for column in EMBEDDINGS.columns])


def catalogue_of(
    first: CatalogContent, count: int, rng: np.random.Generator
) -> tuple[CatalogContent, Vectors]:
    """Draw VIDEOS and embeddings of `count` videos around 300 centers: `first` and copies of them."""
    videos = first.videos
    assert videos is not None
    rows = videos.take(pa.array(np.arange(count) % videos.num_rows))
    ids = [f"video-{n:06}" for n in range(count)]
    known = videos.column("video_id").to_pylist()
    ids[: len(known)] = known[:count]
    rows = rows.set_column(rows.column_names.index("video_id"), "video_id", pa.array(ids))
    centers = unit(rng.normal(size=(300, DIM)))
    vectors = unit(centers[rng.integers(300, size=count)] + 0.08 * rng.normal(size=(count, DIM)))
    own = CatalogContent(rows, embeddings_of(ids, vectors))
    order = np.argsort(ids)
    assert own.videos is not None
    return CatalogContent(own.videos.take(pa.array(order)), own.embeddings), vectors[order]


def ranker_of(content: CatalogContent) -> NetworkRanker:
    """Return the default DIN, its feature space fitted on a simulated log, calibrated."""
    drawn, config, profiles = simulate(LEARNED), RankerConfig(), ProfilesConfig()
    first = CatalogContent(drawn.videos, drawn.embeddings)
    facts = video_metadata(first)
    requests = list(
        replay_requests(drawn.events, replay_video_counts(drawn.events, facts, profiles), facts, profiles)
    )
    space = fit_space(drawn.events, requests, first, config.features)
    labels = build_labels(drawn.events, drawn.videos, LabelsConfig())
    part = (FeatureBuilder(space, CatalogFeatures.from_content(first, space)).build(requests), labels)
    network, head = build_untrained(config, space.shape, labels)
    ranker = NetworkRanker.from_training(config, space, first, network, head, train=part, valid=part)
    return ranker.with_videos(content)


def bundle_of(count: int, rng: np.random.Generator) -> tuple[ServingBundle, Vectors]:
    drawn = simulate(LEARNED)
    content, vectors = catalogue_of(CatalogContent(drawn.videos, drawn.embeddings), count, rng)
    assert content.videos is not None
    ids = content.videos.column("video_id").to_pylist()
    index = FaissIndex()
    index.add(ids, vectors)
    scores = -np.sort(-rng.random((count, NEIGHBOURS), np.float32), axis=1)
    places = rng.integers(count, size=(count, NEIGHBOURS), dtype=np.int32)
    bundle = ServingBundle(
        uri="memory",
        version="drawn",
        made_at=NOW,
        encoder=ENCODER,
        content=content,
        texts=None,
        popular=tuple(rng.permutation(ids)[:POPULAR].tolist()),
        popularity=Popularity(),
        embed=None,
        profiles=ProfilesConfig(),
        history_factors={},
        other_videos=(),
        early_leave_s=None,
        live=None,
        moments=None,
        creators=CREATORS.arrow().empty_table(),
        creator_model=None,
        ranker=ranker_of(content),
        neighbors=VideoNeighbors(tuple(ids), places, scores),
        index=index,
        text_index=Bm25Index.from_videos(content.videos),
        smoke_answers=SMOKE_ANSWERS.empty_table(),
    )
    return bundle, vectors


def shopper(name: str, ids: list[str], vectors: Vectors, rng: np.random.Generator) -> Profile:
    """Draw a shopper with 50 clicks, half of them on videos near to one."""
    near = np.argsort(-(vectors @ vectors[rng.integers(len(ids))]))[: EVENTS // 2]
    liked = [*near.tolist(), *rng.integers(len(ids), size=EVENTS - len(near)).tolist()]
    profile, config = Profile("user", name), ProfilesConfig()
    for number, row in enumerate(rng.permutation(liked).tolist()):
        event = EventRecord(f"{name}-{number}", name, ids[row], "click", None, "feed", NOW - DAY_US + number)
        profile = apply_event(profile, event, VideoMetadata({}, None, vectors[row]), config)
    return profile


def changes_of(bundle: ServingBundle, vectors: Vectors, count: int) -> list[CatalogChange]:
    """Return new videos that are copies of the first of the bundle."""
    changes: list[CatalogChange] = []
    for number in range(count):
        row = bundle.videos.slice(number, 1)
        name = f"new-{number:05}"
        row = row.set_column(row.column_names.index("video_id"), "video_id", pa.array([name]))
        changes.append(
            CatalogChange(name, NOW, row, {"fused": vectors[number : number + 1]}, {"fused": ENCODER})
        )
    return changes


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e3


def alone(ranker: NetworkRanker, ids: list[str], user: Profile, rng: np.random.Generator) -> float:
    """Return the milliseconds of the ranker's prediction for 300 candidates with given features."""
    some = tuple(ids[row] for row in rng.choice(len(ids), 300, replace=False))
    request = RankingRequest(
        user, RequestContext(NOW, "feed"), some, np.zeros((len(some), len(VIDEO_COUNT_KEYS)))
    )
    features = ranker.builder.build([request])
    return timed(lambda: ranker.predict(features))


def main() -> None:
    parser = number_parser(__doc__, videos=100_000, changes=200, rounds=300)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    bundle, vectors = bundle_of(given.videos, rng)
    ids = bundle.videos.column("video_id").to_pylist()
    stock = RecommendEngine(bundle, ServeConfig())
    stock.set_video_counts(ids, rng.integers(0, 50, (len(ids), len(VIDEO_COUNT_KEYS))).astype(float))
    changes = changes_of(bundle, vectors, given.changes + 1)
    print(f"{given.changes:,} changes: {timed(lambda: stock.with_changes(changes[1:])):.1f} ms")
    changed = stock.with_changes(changes[1:])
    print(f"one more change: {timed(lambda: changed.with_changes(changes[:1])):.1f} ms")
    assert isinstance(bundle.ranker, NetworkRanker)
    users = [shopper(f"u{n}", ids, vectors, rng) for n in range(40)]
    stages: dict[str, list[float]] = {}
    for number in range(given.rounds + 20):
        user = users[number % len(users)]
        ask = RecommendQuery(f"r{number}", user.entity_id, "feed", 20, NOW)
        found = {"the ranker alone": alone(bundle.ranker, ids, user, rng)}
        for name, one in (("", stock), (", with changes", changed)):
            begun = time.perf_counter()
            answer = one.recommend(ask, user)
            found[f"whole{name}"] = (time.perf_counter() - begun) * 1e3
            found |= {f"  {stage}{name}": spent for stage, spent in answer.spent_ms.items()}
            assert answer.candidates == 300
        if number >= 20:  # first calls allocate
            for name, spent in found.items():
                stages.setdefault(name, []).append(spent)
    print(f"{'ms':28} {'p50':>7} {'p99':>7}")
    for name, spent in stages.items():
        print(f"{name:28} {np.percentile(spent, 50):7.2f} {np.percentile(spent, 99):7.2f}")


if __name__ == "__main__":
    main()
