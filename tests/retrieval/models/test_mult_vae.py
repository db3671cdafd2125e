"""Mult-VAE: its loss and scores against NumPy, and whether it learns planted tastes."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from tests.retrieval.matrices import dense_scores, random_matrix, to_interactions
from tests.retrieval.planted import blocks, recall
from vrec.retrieval.models.mult_vae import MultVae, MultVaeConfig, MultVaeNetwork, unit_bags
from vrec.retrieval.models.popular import PopularRecommender


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
