"""The local activation unit and Dice against the paper's formulas in NumPy."""

import numpy as np
import pytest
import torch

from tests.ranking.drawn import (
    CANDIDATE,
    CONTEXT,
    ITEM,
    NUMBERS,
    dice_by_hand,
    embedded,
    linear_by_hand,
    stirred,
)
from vrec.ranking.networks.din import DinTrunk, LocalActivation, pooled_interest
from vrec.ranking.networks.layers import EmbeddingWidths


def prelu_by_hand(x, alpha):
    return np.where(x > 0, x, alpha * x)


def activated(activation, x, training):
    alpha = activation.weight if isinstance(activation, torch.nn.PReLU) else activation.alpha
    alpha = alpha.detach().double().numpy()
    if isinstance(activation, torch.nn.PReLU):
        return prelu_by_hand(x, alpha)
    mean, var = activation.mean.double().numpy(), activation.var.double().numpy()
    if training:
        mean, var = x.mean(axis=0), x.var(axis=0)
    return dice_by_hand(x, alpha, mean, var)


def weights_by_hand(unit, x, training):
    """(N, L) by the definition: every pair's inputs side by side, one after another."""
    item, history, numbers = (part.double().numpy() for part in (x.item, x.history, x.history_dense))
    mask, pairs, where = x.mask.numpy(), [], []
    for n, request in enumerate(x.request.tolist()):
        for entry in np.flatnonzero(mask[request]):
            e, c = history[request, entry], item[n]
            pairs.append(np.concatenate([e, c, e - c, e * c, numbers[request, entry]]))
            where.append((n, entry))
    hidden = activated(unit.activation, linear_by_hand(unit.first, np.stack(pairs)), training)
    for linear, activation in zip(unit.deeper.linears, unit.deeper.activations, strict=True):
        hidden = activated(activation, linear_by_hand(linear, hidden), training)
    out = np.zeros((len(item), mask.shape[1]))
    out[tuple(np.transpose(where))] = linear_by_hand(unit.last, hidden)[:, 0]
    return out


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("activation", "widths"), [("dice", (6,)), ("dice", (6, 3)), ("prelu", (4, 4))])
def test_local_activation_is_the_papers(requests, training, activation, widths):
    unit = stirred(LocalActivation(ITEM, NUMBERS, widths, activation)).train(training)
    x = embedded(requests)
    expected = weights_by_hand(unit, x, training)  # first: training moves the averages
    found = unit(x.item, x.history, x.history_dense, x.mask, x.request)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("requests", [1, 3])
def test_interest_is_the_sum_by_weights_without_softmax(requests):
    x = embedded(requests)
    weights = torch.randn(len(x.item), x.mask.shape[1]) * 3
    expected = [
        row.double().numpy() @ x.history[r].double().numpy()
        for row, r in zip(weights, x.request, strict=True)
    ]
    np.testing.assert_allclose(pooled_interest(weights, x).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_trunk_is_dense_layers_over_interest_item_context_and_numbers(training):
    widths = EmbeddingWidths(ITEM, CONTEXT, CANDIDATE, NUMBERS)
    trunk = stirred(DinTrunk(widths, (4,), (7, 3), "dice", dropout=0.0)).train(training)
    x = embedded(3)
    weights = weights_by_hand(trunk.attention, x, training)
    request = x.request.numpy()
    history, item, context, candidate = (
        part.double().numpy() for part in (x.history, x.item, x.context, x.candidate)
    )
    pooled = np.einsum("nl,nld->nd", weights, history[request])
    hidden = np.concatenate([pooled, item, context[request], candidate], axis=1)
    for linear, activation in zip(trunk.mlp.linears, trunk.mlp.activations, strict=True):
        hidden = activated(activation, linear_by_hand(linear, hidden), training)
    np.testing.assert_allclose(trunk(x).detach().numpy(), hidden, atol=5e-5, rtol=1e-4)


def test_a_shopper_without_history_has_no_interest():
    x = embedded(2)._replace(mask=torch.zeros(2, 6, dtype=torch.bool))
    for training in (False, True):
        unit = stirred(LocalActivation(ITEM, NUMBERS, (6,))).train(training)
        weights = unit(x.item, x.history, x.history_dense, x.mask, x.request)
        assert not pooled_interest(weights, x).any()
        weights.sum().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in unit.parameters())
        assert all(torch.isfinite(buffer).all() for buffer in unit.buffers())


def test_local_activation_has_the_gradient_of_its_formula():
    unit = stirred(LocalActivation(ITEM, NUMBERS, (4,))).double()
    for requests in (1, 3):
        x = embedded(requests, candidates=4, length=3)
        inputs = [part.double().requires_grad_() for part in (x.item, x.history, x.history_dense)]
        assert torch.autograd.gradcheck(lambda *some, x=x: unit(*some, x.mask, x.request), inputs)
