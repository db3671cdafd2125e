"""NeuMF: its logits against NumPy, its drawn negatives, and whether it learns planted tastes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.retrieval.matrices import dense_scores, matrices, random_matrix, to_interactions
from tests.retrieval.planted import blocks, recall
from vrec.core.errors import FitError
from vrec.retrieval.models import neumf
from vrec.retrieval.models.neumf import NegativeSampler, NeuMf, NeuMfConfig, NeuMfNetwork
from vrec.retrieval.models.popular import PopularRecommender


def by_hand(network: NeuMfNetwork, layers: int) -> np.ndarray:
    """(users, videos) logits in float64."""
    w = {name: tensor.numpy().astype(float) for name, tensor in network.state_dict().items()}
    users, videos = len(w["layer_users.weight"]), len(w["layer_videos.weight"])
    rows, columns = np.divmod(np.arange(users * videos), videos)
    product = w["product_users.weight"][rows] * w["product_videos.weight"][columns]
    x = np.concatenate([w["layer_users.weight"][rows], w["layer_videos.weight"][columns]], axis=1)
    names = ["first", *(f"deeper.{1 + 2 * place}" for place in range(layers - 2))]
    for name in names:
        x = np.maximum(x @ w[f"{name}.weight"].T + w[f"{name}.bias"], 0)
    last = np.concatenate([product, x], axis=1) @ w["last.weight"].T + w["last.bias"]
    return last.reshape(users, videos)


@pytest.fixture(params=[(8, 4), (8, 6, 5), (6, 5, 4, 3)], ids=str)
def network(request: pytest.FixtureRequest) -> NeuMfNetwork:
    torch.manual_seed(0)
    network = NeuMfNetwork(6, 9, 4, request.param)
    for weights in network.parameters():
        torch.nn.init.normal_(weights, std=0.7)
    network.widths = request.param
    return network.requires_grad_(False)


def test_forward_is_the_formula(network: NeuMfNetwork):
    users, videos = torch.tensor([0, 5, 2, 2]), torch.tensor([8, 0, 3, 4])
    logits, norms = network(users, videos)
    want = by_hand(network, len(network.widths))
    np.testing.assert_allclose(logits, want[users, videos], rtol=1e-4, atol=1e-5)
    w = {name: tensor.numpy().astype(float) for name, tensor in network.state_dict().items()}
    sizes = sum((w[name][users] ** 2).sum() for name in ("product_users.weight", "layer_users.weight"))
    sizes += sum((w[name][videos] ** 2).sum() for name in ("product_videos.weight", "layer_videos.weight"))
    assert norms.item() == pytest.approx(sizes / 4, rel=1e-5)


def test_ranking_all_is_the_same_formula(network: NeuMfNetwork):
    want = by_hand(network, len(network.widths))
    for block in (slice(0, 9), slice(2, 5)):
        for user in range(6):
            got = network.rank(user, block, network.by_video(block))
            np.testing.assert_allclose(got, want[user, block], rtol=1e-4, atol=1e-5)


def test_blocks_of_videos_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    x = random_matrix(3, 12, 20)
    model = NeuMf(NeuMfConfig(epochs=2)).fit(to_interactions(x))
    whole = dense_scores(model.recommend(model.users.ids.to_pylist(), 20), x.shape)
    monkeypatch.setattr(neumf, "VIDEO_BLOCK", 7)
    parts = dense_scores(model.recommend(model.users.ids.to_pylist(), 20), x.shape)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole, np.where(x > 0, -np.inf, by_hand(model.network, 3)), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(matrices(), st.integers(0, 10**6))
def test_negatives_are_never_watched_and_evenly_drawn(matrix: np.ndarray, seed: int):
    rng = np.random.default_rng(seed)
    users = rng.integers(0, len(matrix), 5)
    drawn = NegativeSampler(sparse.csr_matrix(matrix)).draw(users, 3000, rng)
    for user, row in zip(users, drawn, strict=True):
        (open_,) = np.nonzero(matrix[user] == 0)
        if not len(open_):
            assert (row == -1).all()
            continue
        assert np.isin(row, open_).all()
        counts = np.bincount(row, minlength=matrix.shape[1])[open_]
        even = 3000 / len(open_)
        assert (np.abs(counts - even) <= 6 * np.sqrt(even)).all()


def test_a_user_who_has_watched_all_is_no_obstacle():
    x = np.array([[1, 1, 1], [1, 0, 0]])
    model = NeuMf(NeuMfConfig(epochs=3)).fit(to_interactions(x))
    found = model.recommend(["u00000", "u00001"], 3)
    assert found["user_id"].to_pylist() == ["u00001"] * 2


def test_strangers_are_refused_by_name():
    table, _ = blocks()
    model = NeuMf(NeuMfConfig(epochs=1)).fit(table)
    with pytest.raises(FitError, match="knows only the users"):
        model.recommend_from(table, 3)
    scores = model.score_block(model.histories.rows(np.array([0, 1])), np.array([-1, 1]))
    assert np.isneginf(scores[0]).all()
    assert np.isfinite(scores[1]).all()


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match="have half of it each"):
        NeuMfConfig(layers=(7, 4))
    with pytest.raises(ValueError, match="layers"):
        NeuMfConfig(layers=(8,))


def test_it_learns_planted_tastes():
    table, held = blocks()
    config = NeuMfConfig(epochs=30, batch_interactions=64, learning_rate=5e-3, factors=8, layers=(16, 8))
    assert recall(NeuMf(config).fit(table), held) > 0.8
    assert recall(PopularRecommender().fit(table), held) < 0.3
