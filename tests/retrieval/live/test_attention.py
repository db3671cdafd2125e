"""Attention over what is live: padding and order change nothing, and it learns what features do not say."""

import dataclasses

import numpy as np
import pytest

from vrec.retrieval.live.attention import PAST_FACTS, LiveAttention, LiveQuery
from vrec.retrieval.live.config import LiveAttentionConfig

STREAMERS, DIM = 12, 3
CONFIG = LiveAttentionConfig(dim=8, epochs=6, dropout=0.0, learning_rate=0.02, batch_views=32)


def draw_query(rng: np.random.Generator) -> tuple[LiveQuery, int]:
    """Return a query, and the place of its stream of the greatest streamer, for shoppers of long views.

    Others, with short ones, watch that of the least streamer.
    """
    live = rng.permutation(STREAMERS)[: rng.integers(3, 8)]
    stays = rng.random() < 0.5
    chosen = int(live.argmax() if stays else live.argmin())
    past = rng.integers(0, STREAMERS, rng.integers(1, 5))
    facts = rng.normal(size=(len(past), PAST_FACTS + DIM))
    facts[:, 1] = 2.0 if stays else -2.0
    query = LiveQuery(
        rng.normal(size=(len(live), 4)).astype(np.float32), np.zeros(len(live), np.float32), live,
        rng.normal(size=(len(live), DIM)).astype(np.float32), past, facts.astype(np.float32),
    )  # fmt: skip
    return query, chosen


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    pairs = [draw_query(rng) for _ in range(800)]
    return [query for query, _ in pairs], np.array([chosen for _, chosen in pairs])


@pytest.fixture(scope="module")
def fitted(drawn):
    return LiveAttention.fit(*drawn, np.ones(len(drawn[0])), STREAMERS, CONFIG)


def test_it_learns_what_the_features_do_not_say(fitted):
    model, report = fitted
    assert model is not None
    assert report["with_attention"] > report["without_attention"] + 0.1


def test_a_query_scores_the_same_among_others(fitted, drawn):
    model, queries = fitted[0], drawn[0][:20]
    together = model.network(model._batch(queries)).detach().numpy()
    for row, query in zip(together, queries, strict=True):
        np.testing.assert_allclose(model.score(query), row[: len(query.base)], atol=1e-5)


def test_the_order_of_live_streams_does_not_matter(fitted, drawn):
    model, rng = fitted[0], np.random.default_rng(1)
    for query in drawn[0][:20]:
        order = rng.permutation(len(query.base))
        live = {name: getattr(query, name)[order] for name in ("features", "base", "streamer", "content")}
        other = model.score(dataclasses.replace(query, **live))
        np.testing.assert_allclose(other, model.score(query)[order], atol=1e-5)


def test_unknown_streamers_and_no_history_have_scores(fitted, drawn):
    query = drawn[0][0]
    nothing = {"past_streamer": query.past_streamer[:0], "past": query.past[:0]}
    scores = fitted[0].score(
        dataclasses.replace(query, streamer=np.full(len(query.base), -1), base=query.base + 1, **nothing)
    )
    assert scores.shape == query.base.shape
    assert np.isfinite(scores).all()


def test_a_restored_network_scores_alike(fitted, drawn):
    restored = LiveAttention.restore(fitted[0].arrays(), CONFIG)
    for query in drawn[0][:5]:
        np.testing.assert_array_equal(restored.score(query), fitted[0].score(query))
    assert LiveAttention.restore({}, CONFIG) is None


def test_without_content_vectors_and_without_a_gain():
    """Bases that are right leave nothing to learn, and choices at random have nothing to learn from."""
    rng = np.random.default_rng(2)
    pairs = [draw_query(rng) for _ in range(200)]
    queries = [
        dataclasses.replace(
            query, content=query.content[:, :0], past=query.past[:, :PAST_FACTS],
            base=10.0 * (np.arange(len(query.base)) == chosen).astype(np.float32),
        )
        for query, chosen in pairs
    ]  # fmt: skip
    chosen = np.array([chosen for _, chosen in pairs])
    model, report = LiveAttention.fit(queries, chosen, np.ones(200), STREAMERS, CONFIG)
    assert model is None
    assert report["without_attention"] == 1.0
