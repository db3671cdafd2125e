"""CPU time of a request's ranking features, by size of the catalog and length of the history.

Run as `python benchmarks/ranking_features.py [--against CHECKOUT]`. The catalog and the shoppers are drawn:
64 numbers a vector, up to 8 tags, 300 candidates of which some were liked before, 40 shoppers. With another
checkout of the repository, a process of each takes turns, in rounds, and the features of both are compared to
the last bit. The shoppers' histories are as long as profiles hold at most; the network sees the last 50.
"""

import argparse
import hashlib
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import ROOT, CheckoutProcess

from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.profiles.profile import InterestEvent, Profile
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.space import BLOCKS, FeatureSpace, RankerFeaturesConfig
from vrec.ranking.features.video_counts import RATES, USER_RATES, VIDEO_COUNT_KEYS
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

SIZES, HISTORIES = (20_000, 100_000), (10, 50, 200)
DIM, CANDIDATES, SHOPPERS = 64, 300, 40
NOW, HOUR_US = 1_760_000_000_000_000, 3_600_000_000


def drawn_content(videos: int) -> CatalogContent:
    """Draw VIDEOS and EMBEDDINGS; every 20th video lacks a category, a date and a vector."""
    made = simulate(SimulationConfig(users=2, videos=videos, requests_per_user=1, dim=DIM))
    assert made.embeddings is not None
    lacks, table = pa.array(np.arange(videos) % 20 == 0), made.videos
    for name in ("category", "published_at"):
        place, column = table.column_names.index(name), table.column(name).combine_chunks()
        table = table.set_column(place, table.schema.field(name), pc.if_else(lacks, None, column))
    return CatalogContent(table, made.embeddings.filter(pc.invert(lacks)))


def drawn_space(content: CatalogContent) -> FeatureSpace:
    """Return a space that knows four fifths of the videos, and all creators, categories and tags."""
    assert content.videos is not None
    assert content.embeddings is not None
    known = {
        name: tuple(pc.unique(content.videos.column(name)).drop_null().to_pylist())
        for name in ("video_id", "creator_id", "category", "kind", "domain", "language")
    }
    known["video_id"] = known["video_id"][: len(known["video_id"]) * 4 // 5]
    known["tags"] = tuple(pc.unique(pc.list_flatten(content.videos.column("tags"))).to_pylist())
    known["surface"] = ("feed",)
    return FeatureSpace(
        config=RankerFeaturesConfig(),
        vocabularies=known,
        shares={n: np.full(len(known[n]) + 1, 1 / (len(known[n]) + 1)) for n in ("category", "creator_id")},
        priors=np.array([[0.1 + 0.02 * n, 10.0 + n] for n in range(len(RATES))]),
        user_priors=np.array([[0.3 + 0.02 * n, 4.0 + n] for n in range(len(USER_RATES))]),
        seconds=np.array([6.0, 8.0]),
        scales={name: np.array([[0.4] * len(of), [1.3] * len(of)]) for name, of in BLOCKS.items()},
        encoder=content.embeddings.column("encoder")[0].as_py(),
        mean=np.full(DIM, 0.01, np.float32),
    )


def drawn_requests(content: CatalogContent, space: FeatureSpace, history: int) -> list[RankingRequest]:
    """Draw a request of each shopper."""
    assert content.videos is not None
    rng, names = np.random.default_rng(history), content.videos.column("video_id").to_pylist()
    requests: list[RankingRequest] = []
    for number in range(SHOPPERS):
        rows = rng.integers(len(names), size=history).tolist()
        liked = tuple(
            InterestEvent(NOW - (history - n) * HOUR_US, f"e{n}", names[row], 1.0 + n % 3, "watch")
            for n, row in enumerate(rows)
        )
        counts = {"interests": float(history), "taste_weight": 3.0, "event:click": 2.0 * history}
        for kind, field in (("category", "category"), ("creator", "creator_id")):
            liked_names = rng.choice(space.vocabularies[field], 12)
            counts |= {f"{kind}:{name}": 3.0 for name in liked_names.tolist()}
        seen = tuple((event.at, event.event_id) for event in liked)
        taste = rng.standard_normal(DIM).astype(np.float32)
        user = Profile("user", f"u{number}", taste, counts, seen, liked)
        ids = [names[row] for row in rng.choice(len(names), CANDIDATES, replace=False)]
        ids[:5] = [event.video_id for event in liked[:5]]
        counted = np.floor(rng.random((CANDIDATES, len(VIDEO_COUNT_KEYS))) * 40)
        requests.append(RankingRequest(user, RequestContext(NOW, "feed"), tuple(ids), counted))
    return requests


def digest_of(features: Any) -> str:
    """Return a hash of all features of a request."""
    names = ("request", "video", "candidate", "position", "context", "user", "history", "history_dense")
    found = hashlib.sha256()
    for name in names:
        found.update(np.ascontiguousarray(getattr(features, name)).tobytes())
    return found.hexdigest()


def work(videos: int) -> None:
    """Time what each line of the standard input names, and print the milliseconds and a hash."""
    content = drawn_content(videos)
    assert content.videos is not None
    space = drawn_space(content)
    catalog = CatalogFeatures.from_content(content, space)
    drawn = {size: drawn_requests(content, space, size) for size in HISTORIES}
    builder = FeatureBuilder(space, catalog)
    known = {video: row for row, video in enumerate(content.videos.column("video_id").to_pylist())}
    places = {size: [np.array([known[v] for v in r.video_ids]) for r in rs] for size, rs in drawn.items()}
    numbers = catalog.find(list(known)).astype(np.int32)
    with_rows = "rows" in RankingRequest.__slots__

    def build(request: RankingRequest, rows: np.ndarray) -> Any:
        # Serving knows the rows of its candidates, and older checkouts find them by id.
        return builder.build([replace(request, rows=numbers[rows]) if with_rows else request])

    print("ready", flush=True)
    while size := (sys.stdin.readline()).strip():
        requests = list(zip(drawn[int(size)], places[int(size)], strict=True))
        digest = hashlib.sha256("".join(digest_of(build(*one)) for one in requests).encode())
        begun = time.process_time()
        for _ in range(5):
            for request, rows in requests:
                build(request, rows)
        spent_ms = (time.process_time() - begun) * 1e3 / (5 * len(requests))
        print(json.dumps({"ms": spent_ms, "digest": digest.hexdigest()}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--videos", type=int, nargs="*", default=SIZES)
    parser.add_argument("--worker", type=int)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker)
        return
    for videos in asked.videos:
        checkouts = {"here": ROOT} | {path.name: path for path in asked.against}
        worker = ["--worker", str(videos)]
        sides = {n: CheckoutProcess(__file__, worker, path) for n, path in checkouts.items()}
        for history in HISTORIES:
            rounds = [{n: side.time(history) for n, side in sides.items()} for _ in range(asked.rounds)]
            shown = ", ".join(f"{n} {statistics.median(r[n]['ms'] for r in rounds):.2f} ms" for n in sides)
            print(f"{videos:,} videos, {history} events: {shown}")
            for name in checkouts.keys() - {"here"}:
                ratio = statistics.median(r["here"]["ms"] / r[name]["ms"] for r in rounds)
                equal = all(r["here"]["digest"] == r[name]["digest"] for r in rounds)
                same = "equal" if equal else "NOT EQUAL"
                print(f"  of {name}: {ratio:.2f} (wanted .5), {same} to the last bit")
        for side in sides.values():
            side.end()


if __name__ == "__main__":
    main()
