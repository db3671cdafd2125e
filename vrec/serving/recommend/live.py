"""Retrieval of streams: all that are live, in the order in which a shopper may want them."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from vrec.profiles.profile import Profile
from vrec.profiles.user import taste_vector
from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RequestFilters
from vrec.serving.recommend.rank_fusion import RANK_CONSTANT
from vrec.serving.streams.rows import LiveStreams
from vrec.serving.streams.states import StreamState

LIVE_SOURCE = "live"
"""Source of candidates that are live streams."""
UNKNOWN = Profile("user", "")
"""Shopper of whom nothing is known."""
TIE = 1e-3
"""Greatest share of the least relevance by which the order of equal streams lowers one."""

LEAST_LOG_ODDS = 20.0
"""Log-odds below the best stream's that a stream counts with at least, so that no relevance is 0."""
MODEL_TIE = 1e-6
"""Relevance by which the order of streams that the model scores alike differs."""
ScoreStreams = Callable[[Sequence[StreamState]], npt.NDArray[np.floating]]


def live_order(snapshot: CatalogSnapshot, live: LiveStreams, user: Profile) -> RowIndices:
    """Return the rows of all live streams, best first.

    Three orders are fused by reciprocal rank: cosine of what a stream shows to the shopper's taste, the
    shopper's interest in its streamer so far, and its viewers. Equal streams go by interest in the
    streamer, then the newest comes first.
    """
    if not len(live.rows):
        return live.rows
    score, ties = _fused(snapshot, live.rows, live.states, user, ())
    return live.rows[np.lexsort((*ties, -score))]


def popular_order(snapshot: CatalogSnapshot, live: LiveStreams, filters: RequestFilters) -> RowIndices:
    """Return the rows of all videos, popular ones first; if streams alone are wanted, those by viewers."""
    return live_order(snapshot, live, UNKNOWN) if filters.streams == "only" else snapshot.popular


def stream_relevance(
    snapshot: CatalogSnapshot,
    live: LiveStreams,
    user: Profile,
    rows: RowIndices,
    utilities: npt.NDArray[np.float32],
    *,
    score: ScoreStreams | None = None,
) -> Floats:
    """Return what streams are ordered by in a list of streams alone.

    With a model of live streams it is the probability that the shopper will watch a stream next, beside that
    of the most probable one; equal ones go by the order without a model. Without one, utility is a fourth
    order besides those of `live_order`. A ranker may know nothing of streams that have just begun, and none
    knows how many viewers they have now.

    Args:
        snapshot: The catalog.
        live: Streams that are live.
        user: The shopper's profile.
        rows: (N,) rows of live streams.
        utilities: (N,) utilities that the ranker expects, ≥ 0; those that are 0 do not count.
        score: Log-odds of streams by the model; None without one.

    Returns:
        (N,) float64 > 0, no two of which are equal; the greatest is that of `utilities`, or 1 if all are 0.
    """
    if not len(rows):
        return np.zeros(0)
    states = [live.states[place] for place in np.searchsorted(live.rows, rows).tolist()]
    fused, ties = _fused(snapshot, rows, states, user, (utilities.astype(np.float64),))
    order = np.lexsort((*ties, -fused))
    if score is not None:
        odds = score(states).astype(np.float64)
        order = np.lexsort((*ties, -fused, -odds))
        relevance = np.exp(np.maximum(odds - odds.max(), -LEAST_LOG_ODDS))
        relevance[order] += MODEL_TIE * np.arange(len(rows), 0, -1) / len(rows)
        return relevance / relevance.max() * (float(utilities.max()) or 1.0)
    # What is in no order comes after all others, and equal ones in the order of the ties.
    relevance = fused + 1 / (RANK_CONSTANT + len(rows)) ** 2
    relevance[order] -= TIE * relevance.min() * np.arange(len(rows)) / len(rows)
    return relevance / relevance.max() * (float(utilities.max()) or 1.0)


def _fused(
    snapshot: CatalogSnapshot,
    rows: RowIndices,
    states: Sequence[StreamState],
    user: Profile,
    more: Sequence[Floats],
) -> tuple[Floats, tuple[Floats, ...]]:
    """Return the (N,) fused score of streams, and the keys that order equal ones, the last one first."""
    taste = taste_vector(user)
    interest = np.array([user.counts.get(f"creator:{state.streamer_id}", 0.0) for state in states])
    columns: list[Floats] = [interest, np.array([math.log1p(state.viewers or 0) for state in states]), *more]
    if taste is not None:
        columns.append(snapshot.catalog.vectors[rows].astype(np.float64) @ taste)
    started = np.array([state.started_at for state in states], np.float64)
    score = sum((_reciprocal_ranks(column) for column in columns), np.zeros(len(rows)))
    return score, (rows.astype(np.float64), -started, -interest)


def _reciprocal_ranks(values: Floats) -> Floats:
    """Return 1 / (60 + rank) of each value above 0, where equal values share a rank, and 0 of the others."""
    ranks = 1 + np.searchsorted(np.sort(-values), -values)
    return np.where(values > 0, 1 / (RANK_CONSTANT + ranks), 0.0)
