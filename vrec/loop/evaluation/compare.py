"""Comparison of a challenger with the bundle in service: gain, guard metrics, off-policy estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.core.errors import EvaluationError
from vrec.core.schema import RECOMMENDATIONS
from vrec.evaluation.intervals import Floats
from vrec.evaluation.off_policy.estimators import OffPolicyConfig, estimate_policy_value
from vrec.evaluation.off_policy.log import read_logged_bandit
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import ACCURACY
from vrec.evaluation.promotion.config import GuardsConfig, PromotionConfig
from vrec.evaluation.promotion.decision import (
    GuardFigure,
    PairedGain,
    PolicyValues,
    at_least,
    at_most,
    paired_gain,
)
from vrec.evaluation.ranking.metrics import ece
from vrec.evaluation.ranking.run import RankerMetricsConfig
from vrec.loop.evaluation.log import EvaluationLog
from vrec.loop.evaluation.served import BundleLists, all_videos, serve_lists

DAY_US = 86_400_000_000


@dataclass(frozen=True, eq=False, slots=True)
class BundleComparison:
    """Test of a challenger against the bundle in service."""

    gain: PairedGain
    guards: tuple[GuardFigure, ...]
    policy: PolicyValues | None
    no_policy: str | None
    """Reason why there is no off-policy estimate; None if there is one."""
    values: tuple[Floats, Floats]
    """(U,) metric by shopper of the challenger and of the bundle in service."""


def compare_bundles(
    challenger: ServingBundle,
    in_service: ServingBundle,
    log: EvaluationLog,
    config: PromotionConfig,
    *,
    serve: ServeConfig,
    tests: int = 1,
) -> BundleComparison:
    """Compare a challenger with the bundle in service on the same shoppers.

    Args:
        challenger: The challenger.
        in_service: The bundle in service.
        log: The log.
        config: Metric, length of the lists, intervals and guards.
        serve: Settings of the service; of these candidates and reranking count, without exploration.
        tests: Number of challengers that are tested together.

    Raises:
        EvaluationError: There is nothing to compare on.
    """
    pair = (challenger, in_service)
    shown = _first_impressions(log, pair)
    served = serve_lists(pair, log, config.k, _greedy(serve), shown)
    values = _metric_values(served, log, pair, config)
    gain = paired_gain(*values, config.level, config.min_outcomes, tests)
    guards = _guards(served, log, pair, config.guards, shown)
    policy, reason = _policy_values(served, log)
    return BundleComparison(gain, guards, policy, reason, values)


def _greedy(serve: ServeConfig) -> ServeConfig:
    """Return the settings without exploration, whose draws would be noise in the comparison."""
    lists = serve.rerank.default
    quiet = lists.model_copy(update={"exploration": lists.exploration.model_copy(update={"scale": 0.0})})
    rerank = serve.rerank.model_copy(update={"default": quiet, "surfaces": {}})
    return serve.model_copy(update={"rerank": rerank})


def _metric_values(
    served: Sequence[BundleLists], log: EvaluationLog, pair: Sequence[ServingBundle], config: PromotionConfig
) -> tuple[Floats, Floats]:
    catalog = {*all_videos(pair).column("video_id").to_pylist()}
    for table in (log.train, log.test):
        catalog |= {*table.column("video_id").unique().to_pylist()}
    truth = GroundTruth(log.train, log.test, sorted(catalog))
    population = truth.population()

    def values(side: BundleLists, name: str) -> Floats:
        lists = truth.index_lists(_recommendations(side.lists, log.shoppers, name), name)
        ranked = truth.score_lists(truth.hits(lists), config.k, population)
        return ACCURACY[config.metric](ranked, config.k).astype(np.float64)

    return values(served[0], "the challenger"), values(served[1], "the bundle in service")


def _recommendations(lists: Mapping[str, Sequence[str]], users: Sequence[str], source: str) -> pa.Table:
    rows = [
        {"user_id": user, "video_id": video, "score": -float(rank), "rank": rank, "source": source}
        for user in users
        for rank, video in enumerate(lists[user], 1)
    ]
    return pa.Table.from_pylist(rows, schema=RECOMMENDATIONS.arrow())


def _guards(
    served: Sequence[BundleLists],
    log: EvaluationLog,
    pair: Sequence[ServingBundle],
    config: GuardsConfig,
    shown: pa.Table,
) -> tuple[GuardFigure, ...]:
    videos = all_videos(pair)
    fresh_videos, fresh_creators = _fresh(videos, log.since - round(config.new_days * DAY_US))
    total = videos.num_rows
    shares = [
        (
            len({video for found in side.lists.values() for video in found}) / total,
            _exposure(side.lists, fresh_videos),
            _exposure(side.lists, fresh_creators),
            float(np.median(side.cpu_s)),
        )
        for side in served
    ]
    (cover, new, creators, latency), (covered, newly, creating, waited) = shares
    found = [
        at_least("coverage", cover, covered, config.coverage),
        at_least("new videos", new, newly, config.new_videos),
        at_least("new creators", creators, creating, config.new_creators),
        at_most("latency_s", latency, waited, config.latency * waited),
    ]
    ours, theirs = served[0].p_click, served[1].p_click
    if ours is not None and theirs is not None:
        clicked, bins = _clicked(shown, log.after), RankerMetricsConfig().bins
        errors = ece(clicked, ours, bins), ece(clicked, theirs, bins)
        found.append(at_most("calibration", *errors, config.calibration))
    return tuple(found)


def _fresh(videos: pa.Table, since: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the videos published after a moment, and those of creators whose first video was."""
    first: dict[str, float] = {}
    rows = list(
        zip(
            videos.column("video_id").to_pylist(),
            videos.column("creator_id").to_pylist(),
            videos.column("published_at").cast(pa.int64()).to_pylist(),
            strict=True,
        )
    )
    for _, creator, at in rows:
        first[creator] = min(first.get(creator, np.inf), -np.inf if at is None else at)
    new = frozenset(video for video, _, at in rows if at is not None and at > since)
    return new, frozenset(video for video, creator, _ in rows if first[creator] > since)


def _exposure(lists: Mapping[str, Sequence[str]], videos: frozenset[str]) -> float:
    """Return the share of all places that some videos have."""
    places = sum(len(found) for found in lists.values())
    return sum(video in videos for found in lists.values() for video in found) / places if places else 0.0


def _first_impressions(log: EvaluationLog, pair: Sequence[ServingBundle]) -> pa.Table:
    """Return the impressions in the first place, of the viewers and of videos that both bundles know."""
    rows = log.after
    keep = pc.and_(
        pc.equal(rows.column("kind"), "impression"),
        pc.and_(
            pc.is_valid(rows.column("request_id")), pc.equal(pc.fill_null(rows.column("position"), 0), 0)
        ),
    )
    keep = pc.and_(keep, pc.is_in(rows.column("user_id"), value_set=pa.array(log.viewers, pa.string())))
    for bundle in pair:
        known = bundle.videos.column("video_id").combine_chunks()
        keep = pc.and_(keep, pc.is_in(rows.column("video_id"), value_set=known))
    return rows.filter(keep)


def _clicked(shown: pa.Table, events: pa.Table) -> Floats:
    """Return (N,) whether impressions have a click with their request and video."""
    clicks = events.filter(pc.equal(events.column("kind"), "click"))
    return np.asarray(pc.is_in(_pairs(shown), value_set=_pairs(clicks).combine_chunks())).astype(np.float64)


def _pairs(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(
        pc.fill_null(rows.column("request_id"), ""), rows.column("video_id"), "\x1f"
    )


def _policy_values(
    served: Sequence[BundleLists], log: EvaluationLog
) -> tuple[PolicyValues | None, str | None]:
    """Estimate the click rate of showing each shopper the first video of a bundle's list in the first place.

    The log's impressions in the first place need propensities, and have to show what the bundles would.
    """
    after = log.after.filter(
        pc.is_in(log.after.column("user_id"), value_set=pa.array(log.viewers, pa.string()))
    )
    try:
        rows, logged = read_logged_bandit(after)
        users, videos = rows.column("user_id").to_pylist(), rows.column("video_id").to_pylist()
        estimates = []
        for side in served:
            top = {user: found[0] if found else None for user, found in side.lists.items()}
            target = np.array([float(top[user] == video) for user, video in zip(users, videos, strict=True)])
            found = estimate_policy_value(logged, target, OffPolicyConfig())
            estimates.append((found.value, found.low, found.high))
    except EvaluationError as error:
        return None, str(error)
    return PolicyValues(*estimates), None
