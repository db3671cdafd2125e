"""Small tables for the tests of content: VIDEOS, EMBEDDINGS and INTERACTIONS from plain values."""

from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.schema import EMBEDDINGS, INTERACTIONS, TIMESTAMP, VIDEOS


def videos(**rows: dict[str, Any]) -> pa.Table:
    """VIDEOS with the given columns of each video, and values that all share elsewhere."""
    shared = {"kind": "clip", "product_ids": [], "creator_id": "c", "domain": "shop", "tags": []}
    full = [
        shared | {"video_id": name, "uri": f"{name}.mp4", "available": True} | row
        for name, row in rows.items()
    ]
    return pa.Table.from_pylist(full, schema=VIDEOS.arrow())


def embeddings(**vectors: Any) -> pa.Table:
    rows = [
        {"entity_id": name, "modality": "text", "encoder": "e", "content_hash": name, "vector": list(vector)}
        for name, vector in vectors.items()
    ]
    return pa.Table.from_pylist(rows, schema=EMBEDDINGS.arrow(len(rows[0]["vector"])))


def interactions(*rows: tuple[str, str, float, int]) -> pa.Table:
    """INTERACTIONS of (user, video, weight, day)."""
    users, names, weights, days = zip(*rows, strict=True)
    at = (pa.array(np.array(days, np.int64) * 86_400_000_000)).cast(TIMESTAMP)
    columns = [pa.array(users), pa.array(names), pa.array(weights, pa.float32()), at]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def scores(table: pa.Table, user: str) -> dict[str, float]:
    """The scores of one user's RECOMMENDATIONS by video."""
    return {row["video_id"]: row["score"] for row in table.to_pylist() if row["user_id"] == user}
