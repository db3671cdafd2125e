"""Cross layers against the paper's formula in NumPy."""

import numpy as np
import pytest
import torch

from tests.ranking.drawn import CANDIDATE, CONTEXT, ITEM, NUMBERS, embedded, linear_by_hand, stirred
from vrec.ranking.networks.dcn import CrossLayers, DcnTrunk, history_mean
from vrec.ranking.networks.layers import EmbeddingWidths


def crossed_by_hand(cross, first):
    x = first
    for linear in cross.linears:
        x = first * linear_by_hand(linear, x) + x
    return x


@pytest.mark.parametrize("layers", [1, 3])
def test_cross_layers_are_the_papers(layers):
    cross = stirred(CrossLayers(5, layers))
    x = np.random.default_rng(0).normal(size=(8, 5))
    found = cross.double()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, crossed_by_hand(cross, x), rtol=1e-10)


def test_each_cross_layer_raises_the_degree_by_one():
    cross = stirred(CrossLayers(4, 2)).double()
    with torch.no_grad():
        for linear in cross.linears:
            linear.bias.zero_()
    direction = torch.randn(4, dtype=torch.double)
    at = torch.linspace(-2, 2, 9, dtype=torch.double)
    values = cross(at[:, None] * direction).detach().numpy()
    fitted = np.polynomial.polynomial.polyfit(at.numpy(), values, 3)
    assert np.abs(np.polynomial.polynomial.polyval(at.numpy(), fitted).T - values).max() < 1e-9
    assert np.abs(fitted[3]).max() > 1e-3
    assert np.abs(fitted[0]).max() < 1e-9


@pytest.mark.parametrize("structure", ["stacked", "parallel"])
def test_trunk_is_cross_and_dense_layers(structure):
    widths = EmbeddingWidths(ITEM, CONTEXT, CANDIDATE, NUMBERS)
    trunk = stirred(DcnTrunk(widths, 2, (6, 3), structure, dropout=0.0)).double()
    x = embedded(3)
    x = x._replace(
        **{name: getattr(x, name).double() for name in ("item", "candidate", "context", "history")}
    )
    request, mask = x.request.numpy(), x.mask.numpy()
    means = np.stack(
        [
            entries[shown].mean(axis=0) if shown.any() else np.zeros(ITEM)
            for entries, shown in zip(x.history.numpy(), mask, strict=True)
        ]
    )
    first = np.concatenate(
        [means[request], x.item.numpy(), x.context.numpy()[request], x.candidate.numpy()], axis=1
    )
    crossed = crossed_by_hand(trunk.cross, first)

    def dense(hidden):
        for linear in trunk.mlp.linears:
            hidden = np.maximum(linear_by_hand(linear, hidden), 0)
        return hidden

    parallel = structure == "parallel"
    expected = np.concatenate([crossed, dense(first)], axis=1) if parallel else dense(crossed)
    assert trunk.width == expected.shape[1]
    np.testing.assert_allclose(trunk(x).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_shopper_without_history_has_a_mean_of_zeros():
    x = embedded(3)
    mask = torch.arange(6) < torch.tensor([[0], [3], [1]])
    found = history_mean(x._replace(mask=mask)).numpy()
    assert not found[0].any()
    np.testing.assert_allclose(found[1], x.history[1, :3].mean(dim=0).numpy(), atol=1e-6)
    np.testing.assert_allclose(found[2], x.history[2, 0].numpy(), atol=1e-6)
