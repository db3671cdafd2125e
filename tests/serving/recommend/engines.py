"""A engine of the small shop, its shoppers, and changes of its catalogue."""

from functools import cache

import numpy as np
import pyarrow as pa

from tests.bundles import shop, shop_parts
from vrec.bundle.bundle import ServingBundle
from vrec.config.serve import ServeConfig
from vrec.core.schema import VIDEOS
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile, profiles_from_table
from vrec.profiles.update import build_profiles
from vrec.ranking.features.video_counts import profile_counts
from vrec.ranking.reranking.catalog import normalize_tag
from vrec.serving.messages import CatalogChange, RecommendQuery, RequestFilters
from vrec.serving.recommend.engine import RecommendEngine

DAY_US = 86_400_000_000


@cache
def profiles() -> dict[tuple[str, str], Profile]:
    parts = shop_parts()
    content = bundle_content()
    return {
        (p.entity, p.entity_id): p
        for p in profiles_from_table(build_profiles(shop().events, content, parts.profiles))
    }


@cache
def bundle_content() -> CatalogContent:
    return CatalogContent(shop().videos, shop().embeddings)


@cache
def now() -> int:
    """Some time after the last event."""
    return int(np.asarray(shop().events.column("at").cast(pa.int64())).max()) + DAY_US


def shoppers() -> list[Profile]:
    return [p for (entity, _), p in sorted(profiles().items()) if entity == "user"]


def engine_of(bundle: ServingBundle, config: ServeConfig | None = None) -> RecommendEngine:
    """The engine with the counts of all videos."""
    engine = RecommendEngine(bundle, config or ServeConfig())
    ids = engine.video_ids
    engine.set_video_counts(ids, np.array([profile_counts(profiles().get(("video", name))) for name in ids]))
    return engine


def query_of(k=10, user="u", **more) -> RecommendQuery:
    return RecommendQuery(
        **({"request_id": "r", "user_id": user, "surface": "shop", "k": k, "at": now()} | more)
    )


def rng(seed=0) -> np.random.Generator:
    return np.random.default_rng(seed)


def ids(answer) -> list[str]:
    return [item.video_id for item in answer.items]


@cache
def shop_rows() -> dict[str, dict]:
    """The shop's VIDEOS by id, made once: strategies draw many changes, and Hypothesis limits their time."""
    return {row["video_id"]: row for row in shop().videos.to_pylist()}


def row_of(video_id: str, **changes) -> pa.Table:
    """The VIDEOS row of a video of the shop with changes; of another one a plain row."""
    rows = shop_rows()
    row = (
        rows.get(video_id, rows["video-00"] | {"title": None, "tags": []}) | {"video_id": video_id} | changes
    )
    return pa.Table.from_pylist([row], schema=VIDEOS.arrow())


def change(video_id: str, at=None, vector=None, text=None, **changes) -> CatalogChange:
    """A change of a video to what the shop says of it and `changes`; with vectors where they are given."""
    vectors = {"fused": vector, "text": text}
    given = {name: np.asarray(one, np.float32)[None] for name, one in vectors.items() if one is not None}
    encoders = {"fused": "simulated", "text": "simulated-text"}
    at = now() if at is None else at
    return CatalogChange(video_id, at, row_of(video_id, **changes), given, {n: encoders[n] for n in given})


def wanted(row: dict, filters: RequestFilters, *, age=None, at=None) -> bool:
    """Whether a video may be given, in plain words, but for what was bought."""
    tags = {normalize_tag(tag) for tag in row["tags"]}
    published = row["published_at"]
    return (
        row["available"]
        and (published is None or published.timestamp() * 1e6 <= (now() if at is None else at))
        and (not filters.kinds or row["kind"] in filters.kinds)
        and (not filters.categories or row["category"] in filters.categories)
        and (not filters.creators or row["creator_id"] in filters.creators)
        and (not filters.tags or bool(tags & {normalize_tag(tag) for tag in filters.tags}))
        and (not filters.languages or row["language"] is None or row["language"] in filters.languages)
        and (filters.most_price is None or row["price"] is None or row["price"] <= filters.most_price)
        and row["video_id"] not in filters.exclude
        and row["creator_id"] not in filters.blocked_creators
        and row["category"] not in filters.blocked_categories
        and ("adult" not in tags or (age or 0) >= 18)
    )
