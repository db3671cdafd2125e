"""A messy catalog of five videos, small enough to work results out by hand."""

import numpy as np
import pyarrow as pa

from tests.bundles import embeddings_of
from vrec.core.schema import VIDEOS
from vrec.core.types import CatalogContent
from vrec.serving.catalog.bundle_view import BundleCatalogView
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import CatalogChange

ENCODER = "fused@1"
NOW = 1_000_000_000
"""µs since 1970."""


def video(video_id, **more):
    """A VIDEOS row without category, tags, title, language, price, duration and date."""
    return {
        "video_id": video_id, "uri": f"/{video_id}.mp4", "kind": "clip", "product_ids": [], "creator_id": "c",
        "domain": "d", "tags": [], "available": True,
    } | more  # fmt: skip


VIDEOS_ROWS = [
    video("a", kind="product", category="mugs", tags=["Red ", "sale"], language="en", price=5.0,
          published_at=NOW - 300),
    video("b", creator_id="bob", category="hats", tags=["adult"], language="zh", price=50.0,
          published_at=NOW - 100),
    video("c"),
    video("d", category="mugs", tags=["red"], published_at=NOW + 100),
    video("e", available=False, published_at=NOW - 200, price=5.5),
]  # fmt: skip
VECTORS = {"a": [1.0, 0.0], "b": [0.6, 0.8], "d": [0.0, 1.0], "e": [-1.0, 0.0]}
"""`c` has none."""


def content(rows=VIDEOS_ROWS, vectors=VECTORS):
    table = pa.Table.from_pylist(rows, schema=VIDEOS.arrow())
    if not vectors:
        return CatalogContent(table)
    matrix = np.array(list(vectors.values()), np.float32)
    return CatalogContent(table, embeddings_of(list(vectors), "fused", ENCODER, matrix))


def snapshot(rows=VIDEOS_ROWS, vectors=VECTORS, popular=("b", "a")):
    return CatalogSnapshot.from_view(
        BundleCatalogView.from_content(content(rows, vectors), ENCODER if vectors else None, popular)
    )


def changed(video_id, at=NOW, vector=None, encoder=ENCODER, **more):
    """A change of a video to a row without anything but `more`."""
    row = pa.Table.from_pylist([video(video_id, **more)], schema=VIDEOS.arrow())
    if vector is None:
        return CatalogChange(video_id, at, row)
    return CatalogChange(video_id, at, row, {"fused": np.array([vector], np.float32)}, {"fused": encoder})


def removed(video_id, at=NOW):
    return CatalogChange(video_id, at, None)


def names(catalog, rows):
    """The ids of rows."""
    return [catalog.video_ids[row] for row in rows]
