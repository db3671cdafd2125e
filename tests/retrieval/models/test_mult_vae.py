"""Mult-VAE: its loss and scores against NumPy, and whether it learns planted tastes."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import logsumexp

from tests.retrieval.matrices import dense_scores, random_matrix, to_interactions
from tests.retrieval.planted import blocks, recall
from vrec.retrieval.models.mult_vae import MultVae, MultVaeNetwork, kl_divergence, unit_bags
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.network_config import MultVaeConfig


def by_hand(network: MultVaeNetwork, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, log-variance, and what decodes a latent array, in float64 from dense rows of 0 and 1."""
    w = {name: tensor.numpy().astype(float) for name, tensor in network.state_dict().items()}
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    hidden = np.tanh(unit @ w["first.weight"] + w["first_bias"])
    both = hidden @ w["latent.weight"].T + w["latent.bias"]
    mean, log_variance = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]

    def decode(z: np.ndarray) -> np.ndarray:
        return np.tanh(z @ w["decoder.weight"].T + w["decoder.bias"]) @ w["last.weight"].T + w["last.bias"]

    return mean, log_variance, decode


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_loss_is_the_bound_computed_by_hand(beta: float):
    model = MultVae(MultVaeConfig(epochs=2, hidden=12, latent=5, dropout=0, validation_share=0))
    x = random_matrix(1, 7, 11)
    model.fit(to_interactions(x))
    bags = unit_bags(model.histories.weights, model.device)
    torch.manual_seed(3)
    with torch.no_grad():
        got = model.network.loss(bags, beta).item()
    torch.manual_seed(3)
    noise = torch.randn(7, 5).numpy()

    mean, log_variance, decode = by_hand(model.network, (x > 0).astype(float))
    logits = decode(mean + noise * np.exp(log_variance / 2))
    likelihood = ((x > 0) * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1)
    divergence = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1)
    assert got == pytest.approx(np.mean(-likelihood + beta * divergence), rel=1e-5)


def test_scores_are_logits_of_the_mean_and_weights_do_not_count():
    x = random_matrix(2, 40, 15)
    model = MultVae(MultVaeConfig(epochs=2, hidden=12, latent=5)).fit(to_interactions(x))
    users = model.users.ids.to_pylist()
    got = dense_scores(model.recommend(users, 15), x.shape)
    mean, _, decode = by_hand(model.network, (x > 0).astype(float))
    want = np.where(x > 0, -np.inf, decode(mean))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_dropout_hides_videos_in_training_only():
    torch.manual_seed(0)
    network = MultVaeNetwork(30, 8, 3, dropout=0.5)
    bags = (torch.arange(30), torch.tensor([0]), torch.full((30,), 30**-0.5))
    network.train()
    assert not torch.equal(network.encode(bags)[0], network.encode(bags)[0])
    network.eval()
    assert torch.equal(network.encode(bags)[0], network.encode(bags)[0])


def test_beta_holds_the_latents_to_the_prior():
    table, _ = blocks()
    spread = []
    for beta in (0.0, 5.0):
        config = MultVaeConfig(epochs=30, hidden=32, latent=8, beta=beta, anneal_epochs=5, validation_share=0)
        model = MultVae(config).fit(table)
        with torch.no_grad():
            mean, _ = model.network.encode(unit_bags(model.histories.weights, model.device))
        spread.append(mean.square().mean().item())
    assert spread[0] > 4 * spread[1]


def test_it_learns_planted_tastes():
    table, held = blocks()
    config = MultVaeConfig(epochs=60, hidden=64, latent=16, learning_rate=3e-3, validation_share=0)
    assert recall(MultVae(config).fit(table), held) > 0.9
    assert recall(PopularRecommender().fit(table), held) < 0.3


def test_the_network_is_built_by_its_settings():
    model = MultVae(MultVaeConfig(epochs=1, hidden=7, latent=3, dropout=0.25, validation_share=0))
    model.fit(to_interactions(random_matrix(0, 5, 6)))
    network = model.network
    layers = (network.first, network.latent, network.decoder, network.last)
    shapes = [tuple(layer.weight.shape) for layer in layers]
    assert shapes == [(6, 7), (6, 7), (7, 3), (6, 7)]
    assert network.dropout == 0.25


@pytest.mark.parametrize(
    ("anneal", "betas"),
    [(2, [0.0, 0.1, 0.2, 0.3, 0.4, 0.4]), (0, [0.4] * 6), (4, [0, 0.05, 0.1, 0.15, 0.2, 0.25])],
)
def test_the_weight_of_kl_rises_evenly_by_step(anneal: int, betas: list[float], monkeypatch):
    """Seven users in steps of four are two steps an epoch, of which there are three."""
    calls = []
    loss = MultVaeNetwork.loss
    monkeypatch.setattr(
        MultVaeNetwork,
        "loss",
        lambda self, bags, beta: calls.append((len(bags[1]), beta)) or loss(self, bags, beta),
    )
    config = MultVaeConfig(
        epochs=3, hidden=5, latent=2, beta=0.4, anneal_epochs=anneal, batch_users=4, validation_share=0
    )
    MultVae(config).fit(to_interactions(random_matrix(0, 7, 6)))
    assert [users for users, _ in calls] == [4, 3] * 3
    np.testing.assert_allclose([beta for _, beta in calls], betas, atol=1e-12)


def test_bags_have_unit_rows_and_no_history_is_an_empty_one():
    rows = sparse.csr_matrix(np.array([[0, 5, 1, 9, 2], [0, 0, 0, 0, 0], [3, 0, 0, 0, 0]], np.float32))
    videos, starts, values = unit_bags(rows, torch.device("cpu"))
    assert videos.tolist() == [1, 2, 3, 4, 0]
    assert starts.tolist() == [0, 4, 4]
    assert values.tolist() == [0.5] * 4 + [1]


def test_divergence_by_hand():
    """Of N(1, e²) from N(0, 1): (1 + e² − 1 − 2) / 2 for each of two dimensions; 0 for N(0, 1) itself."""
    mean, log_variance = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[2.0, 2.0], [0.0, 0.0]])
    assert kl_divergence(mean, log_variance).item() == pytest.approx((np.e**2 - 2) / 2, rel=1e-6)
