"""A small shop with a log that the ranker battery runs on, and rankers small enough for it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.protocols import Content
from vrec.core.schema import RECOMMENDATIONS
from vrec.profiles.profile import Profile, from_rows
from vrec.profiles.update import ProfilesConfig, facts_of, profiles_of
from vrec.ranking.features.arrays import Context, Labels, Request
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import Catalogue
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import FeaturesConfig
from vrec.ranking.labels import LabelsConfig, TimePartsConfig, labels_of, time_parts
from vrec.ranking.network_ranker import NetworkRanker, RankerConfig
from vrec.ranking.networks.multitask import HeadsConfig
from vrec.ranking.networks.network import DinConfig
from vrec.ranking.networks.watch_heads import CreadConfig
from vrec.ranking.rate_baseline import RatesConfig, RatesRanker
from vrec.ranking.registry import fit_network
from vrec.ranking.replay import replay, video_states
from vrec.ranking.training import RankerTrainingConfig
from vrec.synthetic.shop.simulate import SimulateConfig, simulate

SHOP = SimulateConfig(
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
    """What rankers are fitted with, and what they are asked."""

    content: Content
    events: pa.Table
    """EVENTS of the training part."""
    train: tuple[list[Request], Labels]
    valid: tuple[list[Request], Labels]
    users: dict[str, Profile]
    """At the end of the log; not all users are there, nor all videos."""
    videos: dict[str, Profile]
    context: Context
    candidates: pa.Table
    """RECOMMENDATIONS of several users, their rows mixed, a stranger and a new video among them."""


def ranking_shop() -> RankingShop:
    """A shop of 60 shoppers and 40 videos, always the same."""
    drawn = simulate(SHOP)
    content, config = Content(drawn.videos, drawn.embeddings), ProfilesConfig()
    facts = facts_of(content)
    requests = list(replay(drawn.events, video_states(drawn.events, facts, config), facts, config))
    labels = labels_of(drawn.events, drawn.videos, LabelsConfig())
    parts = time_parts(labels.at, TimePartsConfig(validation_share=0.25))
    part = parts.part(labels.at)
    of_request = parts.part(np.array([request.context.at for request in requests]))
    train, valid = (
        (
            [r for r, p in zip(requests, of_request, strict=True) if p == n],
            labels.take(np.flatnonzero(part == n)),
        )
        for n in (0, 1)
    )
    at = drawn.events.column("at").cast(pa.int64())
    profiles = from_rows(profiles_of(drawn.events, content, config))
    owned = {e: {p.entity_id: p for p in profiles if p.entity == e} for e in ("user", "video")}
    context = Context(int(pc.max(at).as_py()) + 1, requests[0].context.surface)
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
    heads=HeadsConfig(experts=2, tower=(8,)),
    watch=CreadConfig(thresholds=6),
    features=FeaturesConfig(min_count=2, history=8),
    training=RankerTrainingConfig(epochs=4, batch_size=50, learning_rate=0.01, device="cpu"),
)


def rates(shop: RankingShop) -> RatesRanker:
    """The humble ranker, fitted."""
    return RatesRanker.fit(RatesConfig(), *shop.train, shop.content)


def network(shop: RankingShop, vectors: bool = True, **parts) -> NetworkRanker:
    """A tiny network's ranker, fitted; `parts` of the config may be others."""
    config = TINY.model_copy(update=parts)
    content = shop.content if vectors else Content(shop.content.videos)
    space = fit_space(shop.events, shop.train[0], content, config.features)
    build = FeatureBuilder(space, Catalogue.of(content, space)).build
    train, valid = ((build(requests), labels) for requests, labels in (shop.train, shop.valid))
    return fit_network(config, space, content, train=train, valid=valid)
