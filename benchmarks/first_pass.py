"""Fewer candidates for the ranking network: the list and its clicks against the number scored.

Run as `python benchmarks/first_pass.py --bundle BUNDLE --data FOLDER`, a bundle of KuaiRand-Pure with a
ranker (`vrec bundle --dataset kuairand_pure --ranker …`) and the folder of its log. For shoppers with a click
in the last fifth of the impressions, candidates are those that the service finds as of then, and what the
shopper was shown later. The network scores all of them, the best by the linear first pass, which has learned
from the impressions before, or those that fewer candidates of every source would leave. Half of the shoppers
are to choose the number by, the others to report it.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from harness import number_parser

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import CandidatesConfig, ServeConfig
from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.events.datasets import kuairand_pure
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import build_profiles, video_metadata
from vrec.ranking.config import LogSplitConfig
from vrec.ranking.features.arrays import RankerPredictions, RankingRequest, RequestContext
from vrec.ranking.features.video_counts import profile_counts
from vrec.ranking.labels import split_log
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.replay import impressions, replay_requests, replay_video_counts
from vrec.ranking.reranking.utility import utility
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.candidates import NEW_SOURCE
from vrec.serving.recommend.eligibility import shopper_context
from vrec.serving.recommend.engine import RecommendEngine
from vrec.serving.rules.compiled import NO_RULES
from vrec.serving.streams.rows import NO_LIVE

NUMBERS = (40, 60, 80, 100, 120, 150, 200)
"""Numbers of candidates that the network scores."""
LEARNERS = 3_000
"""Shoppers whose earlier impressions the first pass learns from."""
K, SURFACE = 10, "feed"
Places = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Later:
    """KuaiRand-Pure when the test part begins."""

    bundle: ServingBundle
    ranker: NetworkRanker
    start: int
    counts: Doubles
    profiles: dict[str, Profile]
    shown: dict[str, set[str]]
    clicked: dict[str, set[str]]

    @classmethod
    def of_log(cls, bundle: ServingBundle, folder: Path, rng: np.random.Generator) -> "Later":
        log, config, ranker = kuairand_pure(folder), bundle.profiles, bundle.ranker
        assert isinstance(ranker, NetworkRanker)
        moments, content = log.events.column("at").cast(pa.int64()), CatalogContent(log.videos)
        at = np.asarray(impressions(log.events).column("at").cast(pa.int64()))
        start = split_log(at, LogSplitConfig()).test_from
        before = log.events.filter(pc.less(moments, start))
        facts, users = video_metadata(content), pc.unique(before.column("user_id")).to_pylist()
        some = pa.array(rng.permutation(users)[:LEARNERS])
        of_some = before.filter(pc.is_in(before.column("user_id"), value_set=some))
        requests = replay_requests(of_some, replay_video_counts(before, facts, config), facts, config)
        ranker.first_pass = ranker.fit_first_pass(ranker.builder.build(list(requests)))
        found = profiles_from_table(build_profiles(before, content, config))
        videos = {p.entity_id: p for p in found if p.entity == "video"}
        ids = bundle.videos.column("video_id").to_pylist()
        seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        later = log.events.filter(pc.greater_equal(moments, start))
        columns = (later.column(name).to_pylist() for name in ("kind", "user_id", "video_id"))
        known = set(ids)
        for kind, user, video in zip(*columns, strict=True):
            if video in known:
                seen[kind][user].add(video)
        counts = np.array([profile_counts(videos.get(name)) for name in ids])
        users_of = {p.entity_id: p for p in found if p.entity == "user"}
        return cls(bundle, ranker, start, counts, users_of, seen["impression"], seen["click"])

    def engine(self, most: int) -> RecommendEngine:
        """Return an engine whose sources find `most` candidates, in the proportions of the default."""
        usual = CandidatesConfig()
        parts = {
            name: round(getattr(usual, name) * most / usual.most) for name in ("content", "popular", "new")
        }
        engine = RecommendEngine(self.bundle, ServeConfig(candidates=CandidatesConfig(most=most, **parts)))
        engine.set_video_counts(self.bundle.videos.column("video_id").to_pylist(), self.counts)
        return engine

    def found(self, engine: RecommendEngine, user: str) -> dict[str, str]:
        """Return the source of each candidate that the service finds, by video id."""
        query, profile = RecommendQuery(f"r{user}", user, SURFACE, K, self.start), self.profiles[user]
        shopper, snapshot = shopper_context(profile, query.filters), engine._snapshot
        eligible = engine._eligible(SURFACE, query.filters, shopper, query.at, rules=NO_RULES, live=NO_LIVE)
        rows = engine._sources.candidates(query, profile, snapshot, eligible)
        return {snapshot.catalog.video_ids[row]: source for row, source in rows.items()}


def compare(
    later: Later, engines: dict[int, RecommendEngine], user: str
) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Yield name, share of the list of all, its utility, and NDCG of the clicks, of each choice."""
    found = later.found(engines[300], user)
    names = sorted({*found, *later.shown[user]})
    places = engines[300]._snapshot.catalog.find(names)
    request = RankingRequest(
        later.profiles[user], RequestContext(later.start, SURFACE), tuple(names), later.counts[places]
    )
    features = later.ranker.builder.build([request])
    rough = later.ranker.predict_roughly(features)
    assert rough is not None
    exact, at_a_look = _worth(later.ranker.predict(features)), _worth(rough)
    clicked = np.array([name in later.clicked[user] for name in names])
    new = np.array([found.get(name) == NEW_SOURCE for name in names])

    def figures(left: Places) -> tuple[float, float, float]:
        best, order = (
            some[np.argsort(-exact[some], kind="stable")][:K] for some in (np.arange(len(names)), left)
        )
        same = len({*order.tolist()} & {*best.tolist()}) / K
        return same, float(exact[order].sum() / exact[best].sum()), _ndcg(clicked[order], clicked.sum())

    yield "all", figures(np.arange(len(names)))
    others = np.flatnonzero(~new)
    others = others[np.argsort(-at_a_look[others], kind="stable")]
    for number in NUMBERS:
        left = others[: max(0, number - np.count_nonzero(new))]
        yield f"first pass {number}", figures(np.concatenate([left, np.flatnonzero(new)]))
        few = later.found(engines[number], user)
        few_places = np.array([place for place, name in enumerate(names) if name in few])
        yield f"sources {number}", (*figures(few_places)[:2], np.nan)


def _worth(predictions: RankerPredictions) -> Doubles:
    prices = np.full(len(predictions.p_click), np.nan)
    return utility(predictions, prices, SURFACE, ServeConfig().rerank.utility).astype(np.float64)


def _ndcg(hits: npt.NDArray[np.bool_], clicks: int) -> float:
    gains = 1 / np.log2(np.arange(2, K + 2))
    return float(hits @ gains[: len(hits)] / gains[: min(K, clicks)].sum())


def main() -> None:
    parser = number_parser(__doc__, shoppers=800)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--data", type=Path, required=True)
    given, rng = parser.parse_args(), np.random.default_rng(0)
    later = Later.of_log(ServingBundle.load(given.bundle), given.data, rng)
    engines = {number: later.engine(number) for number in (*NUMBERS, 300)}
    users = [user for user in sorted(later.clicked) if user in later.profiles and user in later.shown]
    rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for user in rng.permutation(users)[: given.shoppers].tolist():
        for name, figures in compare(later, engines, user):
            rows[name].append(figures)
    print(f"{len(rows['all'])} shoppers; the half to choose by, and the half to report")
    for name, values in rows.items():
        halves = (np.mean(values[half::2], axis=0) for half in (0, 1))
        print(
            f"{name:16}"
            + "  |  ".join(f"overlap {a:.3f}  utility {b:.4f}  NDCG {c:.4f}" for a, b, c in halves)
        )


if __name__ == "__main__":
    main()
