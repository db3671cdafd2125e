"""Small logs for ranking: a simulated shop, and rows so few that times, videos and requests clash."""

from functools import cache
from random import Random

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from tests.events.rows import day, events
from vrec.core.types import CatalogContent
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.features.arrays import RankingFeatures
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import RankerFeaturesConfig
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

CONFIG = ProfilesConfig()
SECOND = 1 / 86_400


@cache
def shop():
    """EVENTS and content of a small shop where many videos are clicked."""
    made = simulate(
        SimulationConfig(users=15, videos=30, days=20, slots=4, click_rate=0.4, creators=5, dim=6)
    )
    return made.events, CatalogContent(made.videos, made.embeddings)


@cache
def shop_builder():
    """The builder of a space fitted on the whole of the small shop."""
    log, content = shop()
    return builder_for(log, content)


def builder_for(log, content, config=None):
    space = fit_space(
        log, requests_of(log, content), content, config or RankerFeaturesConfig(min_count=2, history=5)
    )
    return FeatureBuilder(space, CatalogFeatures.from_content(content, space))


def requests_of(log, content, config=CONFIG):
    facts = video_metadata(content)
    return list(replay_requests(log, replay_video_counts(log, facts, config), facts, config))


def some_log(least=1, most=40, *, few=False, kinds=None):
    """EVENTS of three users and the shop's first four videos at eight moments; ids say nothing of time.

    `few` makes it one user and two videos, and as many clicks and purchases as impressions.
    """
    _, content = shop()
    ids = content.videos.column("video_id").to_pylist()[:4]
    kinds = kinds or ["impression"] * 4 + ["click", "click", "watch", "like", "purchase"]
    row = st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["ann"] if few else ["ann", "bob", "cy"]),
            "video_id": st.sampled_from(ids[:2] if few else [*ids, "unheard-of"]),
            "kind": st.sampled_from(sorted(set(kinds)) if few else kinds),
            "value": st.sampled_from([None, 0.0, 2.5, 30.1]),
            "request_id": st.sampled_from([None, "r1", "r2"]),
            "position": st.sampled_from([None, 0, 1, 7]),
            "domain": st.sampled_from(["shop", "feed"]),
            "at": st.integers(0, 7).map(lambda n: day(n * 20_000 * SECOND)),
        }
    )
    return st.lists(row, min_size=least, max_size=most).map(lambda rows: events(*named(rows)))


def named(rows):
    """The rows with event ids in an order of their own."""
    ids = [f"e{n}" for n in range(len(rows))]
    Random(len(rows)).shuffle(ids)
    return [row | {"event_id": event_id} for row, event_id in zip(rows, ids, strict=True)]


def same_features(a: RankingFeatures, b: RankingFeatures) -> bool:
    """Whether all is the same to the last bit."""
    names = [name for name in RankingFeatures.__dataclass_fields__ if name not in ("catalog", "shape")]
    return all(
        getattr(a, name).dtype == getattr(b, name).dtype
        and getattr(a, name).shape == getattr(b, name).shape
        and getattr(a, name).tobytes() == getattr(b, name).tobytes()
        for name in names
    )


def micros(table: pa.Table) -> np.ndarray:
    return np.asarray(table.column("at").cast(pa.int64()))
