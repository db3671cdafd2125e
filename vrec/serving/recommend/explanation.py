"""Explanation of a list: scores of each item by source, and the videos that a rule barred."""

from collections.abc import Sequence

import numpy as np

from vrec.profiles.profile import Profile
from vrec.profiles.user import taste_vector
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.candidates import CandidateSources, liked_weights


def source_scores(
    query: RecommendQuery,
    user: Profile,
    rows: Sequence[int],
    snapshot: CatalogSnapshot,
    sources: CandidateSources,
) -> list[dict[str, float]]:
    """Return the scores of rows in the sources of candidates that know them.

    `cf` is the sum over the shopper's liked videos of weight times similarity, and `seed` over the seeds and
    the cart with weight 1; `content` is the cosine to the shopper's taste; `popular` is 1 / the place in the
    order of popularity, from 1.
    """
    seeds = dict.fromkeys((*query.seeds, *query.cart), 1.0)
    by_neighbors = {"cf": dict(liked_weights(query, user, sources.config)), "seed": seeds}
    ids, taste = snapshot.catalog.video_ids, taste_vector(user)
    places = sources.popular_places(snapshot, rows)
    found: list[dict[str, float]] = []
    for row, place in zip(rows, places, strict=True):
        scores = {
            source: sources.similarity(weights, ids[row])
            for source, weights in by_neighbors.items()
            if weights
        }
        scores = {source: score for source, score in scores.items() if score > 0}
        vector = snapshot.catalog.vectors[row]
        if taste is not None and vector.any():
            scores["content"] = float(np.dot(vector, taste))
        found.append(scores | {"popular": 1 / place})
    return found
