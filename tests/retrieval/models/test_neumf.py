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
from vrec.retrieval import training
from vrec.retrieval.models import neumf
from vrec.retrieval.models.neumf import NegativeSampler, NeuMf, NeuMfNetwork
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.network_config import NeuMfConfig


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


def record_training(
    monkeypatch: pytest.MonkeyPatch, x: np.ndarray, **settings
) -> list[tuple[np.ndarray, ...]]:
    """Users, videos and targets of each step of one epoch."""
    pairs, targets = [], []
    forward, entropy = NeuMfNetwork.forward, neumf.functional.binary_cross_entropy_with_logits
    monkeypatch.setattr(
        NeuMfNetwork,
        "forward",
        lambda self, u, v: pairs.append((u.numpy(), v.numpy())) or forward(self, u, v),
    )
    monkeypatch.setattr(
        neumf.functional,
        "binary_cross_entropy_with_logits",
        lambda logits, target: targets.append(target.numpy()) or entropy(logits, target),
    )
    NeuMf(NeuMfConfig(epochs=1, **settings)).fit(to_interactions(x))
    return [(u, v, t) for (u, v), t in zip(pairs, targets, strict=True)]


def test_a_step_has_each_interaction_beside_its_negatives(monkeypatch):
    x = np.array([[1, 0, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    steps = record_training(monkeypatch, x, negatives=3, batch_interactions=4)
    assert [int(targets.sum()) for _, _, targets in steps] == [4, 4, 3]
    users, videos, targets = (np.concatenate(part) for part in zip(*steps, strict=True))
    assert ((x[users, videos] > 0) == (targets == 1)).all()
    watched = sorted(zip(users[targets == 1].tolist(), videos[targets == 1].tolist(), strict=True))
    assert watched == [tuple(pair) for pair in np.argwhere(x).tolist()]
    # The third user has watched all, and so has no negatives.
    assert np.bincount(users[targets == 0], minlength=3).tolist() == [2 * 3, 4 * 3, 0]


def test_the_loss_adds_the_squared_norms_by_their_weight(monkeypatch):
    x = random_matrix(0, 6, 8)
    sampler = NegativeSampler(sparse.csr_matrix(x))
    values = {}
    for l2 in (0.0, 0.5):
        model = NeuMf(NeuMfConfig(epochs=1, l2=l2, batch_interactions=10**6)).fit(to_interactions(x))
        torch.manual_seed(0)
        model._place(torch.device("cpu"))
        norms = []
        forward = model.network.forward
        monkeypatch.setattr(
            model.network,
            "forward",
            lambda u, v, f=forward, n=norms: n.append(f(u, v)[1].item()) or f(u, v),
        )
        (loss,) = model._losses(model.histories.weights, sampler, np.random.default_rng(0))
        values[l2] = loss.item(), norms[0]
    assert values[0.5][1] == pytest.approx(values[0.0][1])
    assert values[0.5][0] - values[0.0][0] == pytest.approx(0.5 * values[0.0][1], rel=1e-3)


def test_the_network_is_built_by_its_settings():
    model = NeuMf(NeuMfConfig(epochs=1, factors=3, layers=(10, 6, 4)))
    model.fit(to_interactions(random_matrix(0, 5, 7)))
    shapes = {name: tuple(weights.shape) for name, weights in model.network.named_parameters()}
    assert shapes["product_users.weight"] == (5, 3)
    assert shapes["product_videos.weight"] == (7, 3)
    assert shapes["layer_users.weight"] == (5, 5)
    assert shapes["layer_videos.weight"] == (7, 5)
    assert shapes["first.weight"] == (6, 10)
    assert shapes["deeper.1.weight"] == (4, 6)
    assert shapes["last.weight"] == (1, 7)


def test_epochs_and_learning_rate_are_those_of_the_settings(monkeypatch):
    calls = []
    monkeypatch.setattr(training, "train_with_early_stopping", lambda *args, **options: calls.append(options))
    NeuMf(NeuMfConfig(epochs=7, learning_rate=0.25)).fit(to_interactions(random_matrix(0, 3, 4)))
    (call,) = calls
    assert (call["epochs"], call["learning_rate"], call["model_name"]) == (7, 0.25, "neumf")
    assert (call["validate"], call["patience"]) == (None, 1)
