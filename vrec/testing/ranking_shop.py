"""A small shop with a log that the ranker battery runs on, and rankers small enough for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.schema import RECOMMENDATIONS
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles, video_metadata
from vrec.ranking.config import (
    LabelsConfig,
    LogSplitConfig,
    NeighborRankerConfig,
    RankerConfig,
    RankerTrainingConfig,
)
from vrec.ranking.features.arrays import ImpressionLabels, RankingRequest, RequestContext
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import RankerFeaturesConfig
from vrec.ranking.labels import build_labels, split_log
from vrec.ranking.neighbor_ranker import NeighborRanker
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.networks.config import CreadConfig, DinConfig, RankerHeadsConfig
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.registry import fit_network_ranker
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

SHOP = SimulationConfig(
    users=60,
    videos=40,
    requests_per_user=6,
    slots=6,
    dim=6,
    categories=4,
    creators=8,
    tags=8,
    click_rate=0.3,
    cart_rate=0.5,
    purchase_rate=0.6,
)
STRANGER, NOVELTY = "nobody-knows-me", "nobody-has-seen-it"


@dataclass(frozen=True, eq=False)
class RankingShop:
    """Data that rankers are fitted on, and requests to score."""

    content: CatalogContent
    events: pa.Table
    """EVENTS of the training part."""
    train: tuple[list[RankingRequest], ImpressionLabels]
    valid: tuple[list[RankingRequest], ImpressionLabels]
    users: dict[str, Profile]
    """At the end of the log; not all users are there, nor all videos."""
    videos: dict[str, Profile]
    context: RequestContext
    candidates: pa.Table
    """RECOMMENDATIONS of several users, their rows mixed, a stranger and a new video among them."""


def ranking_shop() -> RankingShop:
    """A shop of 60 shoppers and 40 videos, always the same."""
    drawn = simulate(SHOP)
    content, config = CatalogContent(drawn.videos, drawn.embeddings), ProfilesConfig()
    facts = video_metadata(content)
    requests = list(
        replay_requests(drawn.events, replay_video_counts(drawn.events, facts, config), facts, config)
    )
    labels = build_labels(drawn.events, drawn.videos, LabelsConfig())
    parts = split_log(labels.at, LogSplitConfig(validation_share=0.25))
    part = parts.split_of(labels.at)
    of_request = parts.split_of(np.array([request.context.at for request in requests]))
    train, valid = (
        (
            [r for r, p in zip(requests, of_request, strict=True) if p == n],
            labels.take(np.flatnonzero(part == n)),
        )
        for n in (0, 1)
    )
    at = drawn.events.column("at").cast(pa.int64())
    profiles = profiles_from_table(build_profiles(drawn.events, content, config))
    owned = {e: {p.entity_id: p for p in profiles if p.entity == e} for e in ("user", "video")}
    context = RequestContext(int(pc.max(at).as_py()) + 1, requests[0].context.surface)
    return RankingShop(
        content,
        drawn.events.filter(pc.less(at, parts.validation_from)),
        train,
        valid,
        owned["user"],
        owned["video"],
        context,
        _candidates(sorted(owned["user"])[:5], sorted(owned["video"])[::3]),
    )


def _candidates(users: list[str], videos: list[str]) -> pa.Table:
    rows = [
        {"user_id": user, "video_id": video, "score": 9.0 - rank / 2, "rank": rank, "source": "popular"}
        for user in [*users, STRANGER]
        for rank, video in enumerate([*videos, NOVELTY], start=1)
    ]
    # A video that two recommenders give is two rows.
    rows.append(rows[3] | {"source": "item_knn", "score": 0.25})
    mixed = np.random.default_rng(8).permutation(len(rows))
    return pa.Table.from_pylist([rows[row] for row in mixed], schema=RECOMMENDATIONS.arrow())


TINY = RankerConfig(
    network=DinConfig(width=4, hidden=(8,), attention=(4,)),
    heads=RankerHeadsConfig(experts=2, tower=(8,)),
    watch=CreadConfig(thresholds=6),
    features=RankerFeaturesConfig(min_count=2, history=8),
    training=RankerTrainingConfig(epochs=4, batch_size=50, learning_rate=0.01, device="cpu"),
)


def rates(shop: RankingShop) -> RateBaselineRanker:
    """Return the fitted rate baseline."""
    return RateBaselineRanker.fit(RateBaselineConfig(), *shop.train, shop.content)


def neighbors(shop: RankingShop) -> NeighborRanker:
    """Return the ranker of drawn neighbors: fifteen of each video but the last, which has none."""
    assert shop.content.videos is not None
    ids: list[str] = shop.content.videos.column("video_id").to_pylist()
    rng, size = np.random.default_rng(3), len(ids)
    indices = np.array([rng.permutation(size)[:15] for _ in ids], np.int32)
    scores = -np.sort(-rng.uniform(0.05, 1, indices.shape).astype(np.float32), axis=1)
    indices[-1], scores[-1] = -1, 0
    return NeighborRanker.from_neighbors(
        NeighborRankerConfig(), shop.content, ids, indices=indices, scores=scores, popular=ids
    )


def network(shop: RankingShop, vectors: bool = True, **parts: Any) -> NetworkRanker:
    """Return a fitted tiny network ranker; `parts` replace groups of its config."""
    config = TINY.model_copy(update=parts)
    content = shop.content if vectors else CatalogContent(shop.content.videos)
    space = fit_space(shop.events, shop.train[0], content, config.features)
    build = FeatureBuilder(space, CatalogFeatures.from_content(content, space)).build
    train, valid = ((build(requests), labels) for requests, labels in (shop.train, shop.valid))
    return fit_network_ranker(config, space, content, train=train, valid=valid)
