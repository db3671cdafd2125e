"""Moments for the assistant's answers."""

from vrec.core.types import Vectors
from vrec.serving.catalog.columns import Mask
from vrec.serving.moments.messages import FoundMoment, MomentQuery
from vrec.serving.moments.search import MomentSearch
from vrec.serving.recommend.engine import RecommendEngine

MAX_ASKED = 20
"""Videos that a message without a video is asked of, the first of the last list."""


def find_said(
    engine: RecommendEngine,
    query: MomentQuery,
    allowed: Mask,
    vector: Vectors | None,
    min_similarity: float,
) -> list[FoundMoment]:
    """Return the moments of `query.video_ids` that match its text, best first; none without moments.

    Args:
        engine: The catalog with the bundle's moments.
        query: The words, and the videos.
        allowed: (N,) mask of the snapshot's videos that the answer may have.
        vector: (dim,) text vector of the words, if there is one.
        min_similarity: Cosine from which texts match by meaning.
    """
    if engine.moments is None or not query.video_ids:
        return []
    return MomentSearch(engine.moments, engine.snapshot, min_similarity).by_words(
        query, vector, None, allowed
    )
