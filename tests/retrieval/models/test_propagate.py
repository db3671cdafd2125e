"""The propagation formula against the dense product, sums that add up, and the recommender made of them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.retrieval.catalogues import embeddings, interactions, scores
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import PropagationConfig
from vrec.retrieval.models import propagate as module
from vrec.retrieval.models.propagate import (
    GramSums,
    PropagationRecommender,
    normalize_rows,
    propagate_by_degree,
    propagate_by_neighbours,
    propagate_plain,
)

FLOATS = st.floats(-3, 3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


@st.composite
def spaces(draw) -> tuple[np.ndarray, np.ndarray]:
    """Users (n, k) and videos (m, k), rows of zeros among them."""
    k = draw(st.integers(1, 4))
    users = draw(arrays(np.float32, (draw(st.integers(1, 12)), k), elements=FLOATS))
    videos = draw(arrays(np.float32, (draw(st.integers(1, 12)), k), elements=FLOATS))
    return users, videos


def unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def cosines(users: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """C (n, m), the matrix that the product code never makes."""
    return unit(users) @ unit(videos).T


@given(spaces())
def test_plain_is_the_dense_product(space):
    users, videos = space
    dense = (users.astype(np.float64) @ users.T.astype(np.float64)) @ cosines(users, videos) @ videos
    found = propagate_plain(users, GramSums.from_rows(users), GramSums.from_rows(videos))
    assert np.allclose(found, dense, atol=1e-9)


@given(spaces())
def test_degree_is_the_dense_product_with_clamped_row_sums(space):
    users, videos = space
    affinity = unit(users) @ unit(users).T
    dense = affinity @ cosines(users, videos) @ videos
    dense /= np.maximum(affinity.sum(axis=1, keepdims=True), 1)
    found = propagate_by_degree(users, GramSums.from_rows(users), GramSums.from_rows(videos))
    assert np.allclose(found, dense, atol=1e-9)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**31))
def test_neighbours_is_the_dense_product_with_the_nearest_only(
    count: int, neighbours: int, k: int, seed: int
):
    rng = np.random.default_rng(seed)
    users, videos = rng.normal(size=(count, k)).astype(np.float32), rng.normal(size=(9, k)).astype(np.float32)
    affinity = unit(users) @ unit(users).T
    ranked, last = -np.sort(-affinity, axis=1), min(neighbours, count)
    # Of two that are as near to within float32's rounding either may be the last one.
    assume(last == count or (ranked[:, last - 1] - ranked[:, last] > 1e-6).all())
    least = ranked[:, last - 1 : last]
    near = np.where(affinity >= least, np.maximum(affinity, 0), 0)
    dense = (near / near.sum(axis=1, keepdims=True)) @ cosines(users, videos) @ videos
    found = propagate_by_neighbours(
        users, unit(users).astype(np.float32), GramSums.from_rows(videos), neighbours=neighbours
    )
    assert np.allclose(found, dense, atol=1e-5)


@given(spaces(), st.integers(0, 12))
def test_sums_of_parts_add_up_in_any_order(space, cut: int):
    users, _ = space
    whole, parts = (
        GramSums.from_rows(users),
        (GramSums.from_rows(users[:cut]), GramSums.from_rows(users[cut:])),
    )
    for joined in (parts[0] + parts[1], parts[1] + parts[0]):
        assert np.allclose(joined.cross, whole.cross)
        assert np.allclose(joined.cosine, whole.cosine)
        assert np.allclose(joined.total, whole.total)


def test_sums_go_block_by_block(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert np.allclose(GramSums.from_all_rows(rows).cross, rows.T @ unit(rows))
    assert GramSums.from_all_rows(rows[:0]).cross.tolist() == np.zeros((3, 3)).tolist()


def test_rows_of_zeros_stay_zeros():
    assert normalize_rows(np.zeros((2, 3))).tolist() == np.zeros((2, 3)).tolist()


def shop(users: int = 40, videos: int = 30, seed: int = 0):
    """Two camps of users, each watching its own half of the videos, and a few strays."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for video in rng.choice(videos // 2, 6, replace=False) + (user % 2) * (videos // 2):
            rows.append((f"u{user:02}", f"v{video:02}", float(rng.integers(1, 4)), int(rng.integers(30))))
        if rng.random() < 0.3:
            rows.append((f"u{user:02}", f"v{rng.integers(videos):02}", 1.0, 31))
    return interactions(*rows)


MODES = ("plain", "degree", "neighbours")


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_the_formula_over_factors(mode: str):
    rows = shop()
    model = PropagationRecommender(PropagationConfig(mode=mode, factors=5, neighbours=8)).fit(rows)
    matrix, right = model.histories.weights.toarray().astype(np.float64), model.vectors.astype(np.float64)
    tastes = matrix / matrix.sum(axis=1, keepdims=True) @ right
    affinity = unit(tastes) @ unit(tastes).T
    if mode == "plain":
        affinity = tastes @ tastes.T
    elif mode == "degree":
        affinity /= np.maximum(affinity.sum(axis=1, keepdims=True), 1)
    else:
        near = affinity >= -np.sort(-affinity, axis=1)[:, 7:8]
        affinity = np.where(near, np.maximum(affinity, 0), 0)
        affinity /= affinity.sum(axis=1, keepdims=True)
    want = affinity @ cosines(tastes, right) @ right @ right.T
    for place, user in enumerate(model.users.ids.to_pylist()):
        for video, score in scores(model.recommend([user], 30), user).items():
            assert score == pytest.approx(want[place, int(video[1:])], rel=1e-5, abs=1e-6)


def test_factors_are_the_leading_directions_of_mean_tastes():
    model = PropagationRecommender(PropagationConfig(factors=5)).fit(shop())
    matrix = model.histories.weights.toarray().astype(np.float64)
    means = matrix / matrix.sum(axis=1, keepdims=True)
    assert np.allclose(model.vectors.T @ model.vectors, np.eye(5), atol=1e-5)
    best = np.linalg.norm(np.linalg.svd(means)[1][:5])
    assert np.linalg.norm(means @ model.vectors) > 0.999 * best


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("space", ["interactions", "embeddings"])
def test_camps_are_told_apart_and_one_row_alone_gives_the_same(mode: str, space: str):
    rng = np.random.default_rng(1)
    vectors = {f"v{n:02}": rng.normal(size=6) + (3 if n < 15 else -3) for n in range(30)}
    content = CatalogContent(embeddings=embeddings(**vectors))
    rows = shop()
    model = PropagationRecommender(PropagationConfig(mode=mode, space=space, factors=4)).fit(rows, content)
    found = model.recommend(model.users.ids.to_pylist(), 5)
    own = [
        (int(user[1:]) % 2 == 0) == (int(video[1:]) < 15)
        for user, video in zip(found["user_id"].to_pylist(), found["video_id"].to_pylist(), strict=True)
    ]
    assert np.mean(own) > 0.9
    again = model.recommend_from(rows, 5)
    assert again.column("video_id").equals(found.column("video_id"))
    assert np.allclose(again["score"], found["score"], rtol=1e-5)


def test_embeddings_know_videos_that_nobody_has_watched():
    vectors = {"seen": [1, 0.1, 0], "like it": [1, 0, 0], "other": [0, 1, 0], "third": [0, 0, 1]}
    rows = interactions(("ann", "seen", 1, 0), ("bo", "other", 1, 0), ("bo", "bare", 1, 0))
    model = PropagationRecommender().fit(rows, CatalogContent(embeddings=embeddings(**vectors)))
    assert model.recommend(["ann"], 1)["video_id"].to_pylist() == ["like it"]
    assert "bare" not in model.recommend(["ann", "bo"], 9)["video_id"].to_pylist()


def test_same_seed_gives_the_same_factors():
    found = [
        PropagationRecommender(PropagationConfig(factors=4)).fit(shop()).recommend(["u00"], 9)
        for _ in range(2)
    ]
    assert found[0].equals(found[1])


def test_embeddings_that_are_not_there_are_refused():
    with pytest.raises(FitError, match="there are no embeddings"):
        PropagationRecommender(PropagationConfig(space="embeddings")).fit(shop())
    with pytest.raises(FitError, match="none of the videos that were watched has an embedding"):
        PropagationRecommender().fit(shop(), CatalogContent(embeddings=embeddings(x=[1, 0], y=[0, 1])))


def test_settings_of_the_factors_are_used(monkeypatch):
    seeds = []
    from sklearn.utils import extmath

    svd = extmath.randomized_svd
    monkeypatch.setattr(
        extmath,
        "randomized_svd",
        lambda *args, random_state: seeds.append(random_state) or svd(*args, random_state=random_state),
    )
    model = PropagationRecommender(PropagationConfig(factors=3, seed=7)).fit(shop())
    assert seeds == [7]
    assert model.vectors.shape == (30, 3)
    few = PropagationRecommender(PropagationConfig(factors=64))
    few.fit(interactions(("ann", "a", 1, 0), ("ann", "b", 1, 0)))
    assert few.vectors.shape == (2, 1)


def test_the_space_is_embeddings_where_there_are_any_unless_told_otherwise():
    vectors = {"a": [1, 0], "b": [0, 1], "c": [1, 1]}
    rows = interactions(("ann", "a", 1, 0), ("bo", "b", 1, 0))
    content = CatalogContent(embeddings=embeddings(**vectors))
    shapes = {}
    for space in (None, "embeddings", "interactions"):
        model = PropagationRecommender(PropagationConfig(space=space, factors=1)).fit(rows, content)
        shapes[space] = (model.vectors.shape, model.videos.ids.to_pylist())
    both = ((3, 2), ["a", "b", "c"])
    assert shapes == {None: both, "embeddings": both, "interactions": ((2, 1), ["a", "b"])}
    np.testing.assert_allclose(
        np.linalg.norm(PropagationRecommender().fit(rows, content).vectors, axis=1), [1, 1, 1], rtol=1e-5
    )


def test_the_number_of_neighbours_is_used_and_only_that_mode_stores_users():
    rows = shop()
    found = {n: PropagationRecommender(PropagationConfig(factors=4, neighbours=n)).fit(rows) for n in (1, 20)}
    assert not found[1].recommend(["u00"], 9).equals(found[20].recommend(["u00"], 9))
    assert found[1].unit_users.shape == (40, 4)
    other = PropagationRecommender(PropagationConfig(factors=4, mode="degree")).fit(rows)
    assert other.unit_users.shape == (0, 4)


def test_one_neighbour_is_the_user_alone():
    """W is then C V of the user's own taste, by hand: û (V̂ᵀV)."""
    users, videos = np.array([[2, 0], [0, 1]], np.float32), np.array([[3, 4], [1, 0]], np.float32)
    found = propagate_by_neighbours(users, unit(users).astype(np.float32), GramSums.from_rows(videos), 1)
    cross = np.array([[0.6 * 3 + 1, 0.6 * 4], [0.8 * 3, 0.8 * 4]])
    np.testing.assert_allclose(found, np.eye(2) @ cross, rtol=1e-6)


def test_opposite_users_do_not_make_the_degree_vanish():
    users = np.array([[1, 0], [-1, 0]], np.float32)
    videos = np.array([[1, 0]], np.float32)
    sums = GramSums.from_rows(users)
    assert sums.total.tolist() == [0, 0]
    found = propagate_by_degree(users, sums, GramSums.from_rows(videos))
    np.testing.assert_allclose(found, [[2, 0], [-2, 0]])


def test_a_taste_is_the_mean_by_weight():
    vectors = {"a": [1, 0], "b": [0, 1], "c": [-1, 0], "d": [0, -1]}
    model = PropagationRecommender(PropagationConfig(mode="plain"))
    rows = interactions(("ann", "a", 3, 0), ("ann", "b", 1, 5))
    model.fit(rows, CatalogContent(embeddings=embeddings(**vectors)))
    taste = np.array([0.75, 0.25])
    np.testing.assert_allclose(model.sums.cross, np.outer(taste, taste) / np.linalg.norm(taste), rtol=1e-6)


def test_embeddings_are_centered():
    vectors = {"a": [10, 1], "b": [10, -1]}
    model = PropagationRecommender(PropagationConfig(space="embeddings"))
    model.fit(interactions(("ann", "a", 1, 0)), CatalogContent(embeddings=embeddings(**vectors)))
    np.testing.assert_allclose(model.vectors, [[0, 1], [0, -1]], atol=1e-6)
