"""Retrieval of streams: all that are live, in the order in which a shopper may want them."""

import math

import numpy as np

from vrec.profiles.profile import Profile
from vrec.profiles.user import taste_vector
from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.recommend.rank_fusion import RANK_CONSTANT
from vrec.serving.streams.rows import LiveStreams

LIVE_SOURCE = "live"
"""Source of candidates that are live streams."""


def live_order(snapshot: CatalogSnapshot, live: LiveStreams, user: Profile) -> RowIndices:
    """Return the rows of all live streams, best first.

    Three orders are fused by reciprocal rank: cosine of what a stream shows to the shopper's taste, the
    shopper's interest in its streamer so far, and its viewers. Streams in none of them come last, the newest
    first.
    """
    if not len(live.rows):
        return live.rows
    catalog, taste = snapshot.catalog, taste_vector(user)
    creators = [user.counts.get(f"creator:{state.streamer_id}", 0.0) for state in live.states]
    viewers = [math.log1p(state.viewers or 0) for state in live.states]
    columns: list[Floats] = [np.array(creators), np.array(viewers)]
    if taste is not None:
        columns.append(catalog.vectors[live.rows].astype(np.float64) @ taste)
    started = np.array([state.started_at for state in live.states])
    score = sum((_reciprocal_ranks(column) for column in columns), np.zeros(len(live.rows)))
    return live.rows[np.lexsort((live.rows, -started, -score))]


def _reciprocal_ranks(values: Floats) -> Floats:
    """Return 1 / (60 + rank) of each value above 0, where equal values share a rank, and 0 of the others."""
    ranks = 1 + np.searchsorted(np.sort(-values), -values)
    return np.where(values > 0, 1 / (RANK_CONSTANT + ranks), 0.0)
