"""A small shop to order: a catalog, a shopper and candidates, drawn or given."""

import numpy as np
import pyarrow as pa

from vrec.core.schema import EMBEDDINGS, TIMESTAMP, VIDEOS, conform
from vrec.core.types import CatalogContent
from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.catalog import CatalogArrays, ShopperContext
from vrec.ranking.reranking.rerank import RerankConfig, rerank

DAY_US = 86_400_000_000
NOW = 20_000 * DAY_US


def videos_of(rows):
    """VIDEOS rows from dicts that say what is not ordinary about each video."""
    blank = {
        "uri": "x.mp4",
        "kind": "product",
        "product_ids": [],
        "creator_id": "ann",
        "domain": "shop",
        "category": "mugs",
        "tags": [],
        "title": None,
        "language": None,
        "price": None,
        "duration_s": None,
        "published_at": None,
        "expires_at": None,
        "available": True,
    }
    schema = VIDEOS.arrow()
    full = [blank | row for row in rows]
    columns = {}
    for column in schema:
        values = [row[column.name] for row in full]
        columns[column.name] = (
            pa.array(values, pa.int64()).cast(TIMESTAMP)
            if column.type == TIMESTAMP
            else pa.array(values, column.type)
        )
    return conform(pa.table(columns), VIDEOS, stage="test")


def embeddings_of(vectors):
    """EMBEDDINGS rows of vectors by video id."""
    ids, rows = list(vectors), np.array(list(vectors.values()), np.float32)
    table = pa.table(
        {
            "entity_id": pa.array(ids, pa.string()),
            "modality": pa.repeat("fused", len(ids)),
            "encoder": pa.repeat("test", len(ids)),
            "content_hash": pa.array(ids, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel(), pa.float32()), rows.shape[1]),
        }
    )
    return conform(table, EMBEDDINGS, stage="test")


def catalog_of(rows, vectors=None):
    """A catalog of rows as `videos_of` takes them, with vectors by video id."""
    return CatalogArrays.from_content(
        CatalogContent(videos_of(rows), None if vectors is None else embeddings_of(vectors))
    )


def ranked_of(p_click, user="u", **columns):
    """RANKED rows of one user from chances of a click by video id; other columns (N,) as given."""
    n, chances = len(p_click), np.array(list(p_click.values()), np.float32)
    table = {
        "user_id": pa.array([user] * n, pa.string()),
        "video_id": pa.array(list(p_click), pa.string()),
        "score": pa.array(chances),
        "rank": pa.array(np.arange(1, n + 1), pa.int32()),
        "source": pa.array(["item_knn"] * n, pa.string()),
        "p_click": pa.array(chances),
        "watch_s": pa.array(np.zeros(n, np.float32)),
        "p_conv": pa.array(np.zeros(n, np.float32)),
        "utility": pa.array(np.zeros(n, np.float32)),
        "reasons": pa.array([[]] * n, pa.list_(pa.string())),
    }
    return pa.table(table | columns)


def predictions_of(p_click, watch_s=0.0, p_conv=0.0, spread=0.0):
    """Predictions from numbers or (N,) arrays."""
    parts = np.broadcast_arrays(*(np.asarray(p, np.float32) for p in (p_click, watch_s, p_conv, spread)))
    return RankerPredictions(*(np.atleast_1d(part).copy() for part in parts))


CLICKS = {"default": {"click": 1.0, "minute": 0.0, "price_share": 0.0, "unpriced": 0.0}}
"""A utility that is the chance of a click."""


def config_of(utility=CLICKS, surfaces=None, **default):
    """A config that orders by clicks alone, but for what is given: no variety, no caps."""
    plain = {"diversity": {"kind": "off"}, "caps": {"creator": None}}
    return RerankConfig.model_validate(
        {"utility": utility, "default": plain | default, "surfaces": surfaces or {}}
    )


def run(ranked, catalog, config, *, shopper=None, k=10, spread=0.0, seed=0, surface="feed", **more):
    """`rerank` at NOW, by a generator of the seed; one spread for all rows, or (N,)."""
    return rerank(
        ranked,
        np.broadcast_to(np.float32(spread), ranked.num_rows).copy(),
        catalog,
        shopper or ShopperContext(),
        config,
        surface=surface,
        at=NOW,
        k=k,
        rng=np.random.default_rng(seed),
        **more,
    )


def ids(found):
    """The list's videos in order."""
    return found.table.column("video_id").to_pylist()


def plain(*names, **facts):
    """A catalog of videos that have nothing in common but these facts."""
    return catalog_of(
        [{"video_id": v, "creator_id": f"by {v}", "category": f"of {v}"} | facts for v in names]
    )
