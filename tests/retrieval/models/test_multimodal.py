"""The multimodal filter: cold videos and cold histories, the choice of its support, odd content."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from tests.retrieval.catalogues import embeddings, interactions, videos
from tests.retrieval.matrices import dense_scores, ids, random_matrix, to_interactions
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import GraphFilterConfig, MultimodalConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, Matrix
from vrec.retrieval.models.content import embedding_rows
from vrec.retrieval.models.graph_filter import GraphFilter
from vrec.retrieval.models.multimodal import (
    SUPPORTS,
    MultimodalFilter,
    mixed_rows,
    nearest_rows,
)

RNG = np.random.default_rng(0)
TASTES, BLOCK = 4, 8
FIXED: dict[str, Any] = {"factors": 3, "video_smoothing": 2.0, "low_pass": 0.3}


def tastes(users: int = 120, cold: int = 2, *, telling: bool = True) -> tuple[np.ndarray, CatalogContent]:
    """(users, videos) of users who like one block of 8 videos each, whose first `cold` nobody watched.

    Embeddings say the block of a video, or nothing.
    """
    matrix = np.zeros((users, TASTES * BLOCK), np.float32)
    for user in range(users):
        block = user % TASTES * BLOCK
        matrix[user, block + cold + RNG.permutation(BLOCK - cold)[:3]] = 1
    blocks = np.repeat(np.arange(TASTES), BLOCK) if telling else RNG.integers(0, TASTES, TASTES * BLOCK)
    vectors = np.eye(TASTES)[blocks] + RNG.normal(0, 0.1, (TASTES * BLOCK, TASTES))
    rows = dict(zip(ids("v", len(vectors)), vectors, strict=True))
    return matrix, CatalogContent(embeddings=embeddings(**rows))


def test_cold_videos_come_first_for_those_who_like_their_kind() -> None:
    matrix, content = tastes()
    model = MultimodalFilter().fit(to_interactions(matrix), content)
    found = dense_scores(model.recommend(ids("u", len(matrix)), 99), matrix.shape)
    cold = np.arange(matrix.shape[1]) % BLOCK < 2
    best = np.argmax(np.where(cold, found, -np.inf), axis=1)
    assert (best // BLOCK == np.arange(len(matrix)) % TASTES).all()


def test_a_history_of_cold_videos_alone_is_answered_by_content() -> None:
    matrix, content = tastes()
    model = MultimodalFilter().fit(to_interactions(matrix), content)
    found = model.recommend_from(interactions(("new", "v00016", 1, 0), ("new", "v00017", 1, 0)), 6)
    assert {int(video[1:]) // BLOCK for video in found["video_id"].to_pylist()} == {2}


def test_a_support_of_0_leaves_watched_videos_to_the_graph_filter() -> None:
    matrix = random_matrix(3, 40, 20)
    rows = {name: RNG.normal(size=3) for name in ids("v", 20)} | {"v99999": RNG.normal(size=3)}
    table, content = to_interactions(matrix), CatalogContent(embeddings=embeddings(**rows))
    plain = GraphFilter(GraphFilterConfig(**FIXED)).fit(table).recommend(ids("u", 40), 20)
    model = MultimodalFilter(MultimodalConfig(content_support=0, **FIXED)).fit(table, content)
    assert "v99999" in model.recommend(ids("u", 40), 99)["video_id"].to_pylist()
    found = dense_scores(model.recommend(ids("u", 40), 99, candidates=ids("v", 20)), matrix.shape)
    np.testing.assert_allclose(found, dense_scores(plain, matrix.shape), rtol=1e-5)


def test_scores_are_those_of_the_definition() -> None:
    matrix, content = tastes(40)
    table, everything = to_interactions(matrix), ids("v", 32)
    model = MultimodalFilter(MultimodalConfig(content_support=5, **FIXED)).fit(table, content)
    plain = GraphFilter(GraphFilterConfig(**FIXED)).fit(table)
    users = (matrix > 0).sum(axis=0)
    mix = mixed_rows(neighbors(content, users), users, 5).toarray()
    # Scores of every single watched video, as a history of its own.
    single = pa.concat_tables(
        [interactions((f"u{n:05d}", everything[n], 1, 0)) for n in np.flatnonzero(users)]
    )
    passed = dense_scores(plain.recommend_from(single, 99, allow_seen=True), (32, 32))
    passed = np.where(np.isfinite(passed), passed, 0)
    start = (matrix > 0) @ mix
    want = start @ passed @ mix.T + np.where(users == 0, 0.1 * start @ mix.T, 0)
    found = dense_scores(model.recommend(ids("u", 40), 99), matrix.shape)
    np.testing.assert_allclose(found[matrix == 0], want[matrix == 0], rtol=1e-3, atol=1e-4)


def neighbors(content: CatalogContent, users: np.ndarray) -> Matrix:
    assert content.embeddings is not None
    catalog = IdVocabulary(content.embeddings["entity_id"].combine_chunks())
    rows = embedding_rows(content.embeddings, catalog, center=True)
    return nearest_rows(rows, np.flatnonzero(users), 20, 3.0)


def test_a_video_is_itself_with_users_and_its_neighbors_without() -> None:
    graph = sparse.csr_matrix(np.array([[0, 0.8, 0.2], [0.25, 0, 0], [0, 0, 0]]))
    mix = mixed_rows(graph, np.array([0, 4, 4]), 4.0).toarray()
    np.testing.assert_allclose(mix, [[0, 0.8, 0.2], [0.125, 0.875, 0], [0, 0, 1]])
    np.testing.assert_allclose(mixed_rows(graph, np.array([0, 4, 4]), 0.0).toarray()[1:], np.eye(3)[1:])


@pytest.mark.parametrize("telling", [True, False])
def test_content_counts_only_where_it_helps_on_held_out_videos(telling: bool) -> None:
    matrix, content = tastes(200, cold=0, telling=telling)
    chosen = MultimodalFilter().fit(to_interactions(matrix), content).content_support
    assert chosen in SUPPORTS
    assert (chosen > 0) == telling


def test_neighbors_are_the_nearest_watched_videos() -> None:
    rows = RNG.normal(size=(30, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[7] = 0
    watched = np.arange(0, 30, 2)
    graph = nearest_rows(rows, watched, 4, 2.0).toarray()
    for video in range(30):
        others = [other for other in watched if other != video]
        cosines = {other: float(rows[video] @ rows[other]) for other in others}
        near = [o for o in sorted(others, key=lambda o: -cosines[o])[:4] if cosines[o] > 0]
        assert set(np.flatnonzero(graph[video])) == set(near)
        total = max(1, sum(cosines[other] ** 2 for other in near))
        for other in near:
            assert graph[video, other] == pytest.approx(cosines[other] ** 2 / total, rel=1e-5)


def test_missing_vectors_and_unwatched_videos_are_no_hindrance() -> None:
    matrix, content = tastes(60)
    assert content.embeddings is not None
    # No vector for some watched and some cold videos, one of zeros, and one of a video that nobody saw.
    some = [f"v{n:05d}" for n in range(32) if n not in (0, 3, 11)]
    rows = dict(zip(ids("v", 32), np.stack(content.embeddings["vector"].to_numpy()), strict=True))
    kept = {name: rows[name] for name in some} | {"v00012": np.zeros(4), "elsewhere": rows["v00000"]}
    model = MultimodalFilter(MultimodalConfig(center=False)).fit(
        to_interactions(matrix), CatalogContent(embeddings=embeddings(**kept))
    )
    found = model.recommend(["u00000"], 99)
    # A cold video without a vector has no scores; a watched one has those of its users.
    assert "v00000" not in found["video_id"].to_pylist()
    assert {"v00011", "v00012", "elsewhere"} <= set(found["video_id"].to_pylist())


def test_attributes_alone_will_do_and_each_video_uses_what_it_has() -> None:
    table = videos(a={"category": "x"}, b={"category": "x"}, c={"category": "y"}, d={"category": "y"})
    watched = interactions(*[(f"u{n}", "a" if n % 2 else "c", 1, 0) for n in range(6)])
    model = MultimodalFilter().fit(watched, CatalogContent(table))
    assert model.recommend(["u1"], 1)["video_id"].to_pylist() == ["b"]
    rows = embeddings(c=[1, 0.1], d=[1, 0], a=[0, 1])
    both = MultimodalFilter(MultimodalConfig(center=False, factors=0)).fit(
        watched, CatalogContent(table, rows)
    )
    assert both.recommend(["u1"], 1)["video_id"].to_pylist() == ["b"]
    assert both.recommend(["u0"], 1)["video_id"].to_pylist() == ["d"]


def test_content_that_says_nothing_is_refused() -> None:
    table = to_interactions(random_matrix(0, 8, 6))
    with pytest.raises(FitError, match="no content"):
        MultimodalFilter().fit(table)
    for vectors in ({name: [1, 2] for name in ids("v", 6)}, {name: [0, 0] for name in ids("v", 6)}):
        with pytest.raises(FitError, match="empty or the same") as caught:
            MultimodalFilter().fit(table, CatalogContent(embeddings=embeddings(**vectors)))
        assert "graph_filter" in caught.value.fix


def test_one_user_and_one_video_are_answered() -> None:
    rows = {name: RNG.normal(size=3) for name in ids("v", 3)}
    content = CatalogContent(embeddings=embeddings(**rows))
    model = MultimodalFilter(MultimodalConfig(center=False)).fit(interactions(("u", "v00000", 1, 0)), content)
    assert "v00000" not in model.recommend(["u"], 3)["video_id"].to_pylist()
