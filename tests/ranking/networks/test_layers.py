"""Dice against the paper, and embeddings against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ranking.drawn import CPU, SHAPE, dice_by_hand, drawn_features, stirred
from vrec.ranking.networks.layers import (
    Dice,
    FieldEmbedding,
    ItemEmbedding,
    Mlp,
    to_batch,
    to_catalog_tensors,
    unique_rows,
)


def test_dice_follows_the_batch_in_training_and_its_averages_after():
    torch.manual_seed(0)
    dice = stirred(Dice(3)).train()
    x = torch.randn(50, 3) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 3.0, -1.0])
    alpha, by_hand = dice.alpha.detach().double().numpy(), x.double().numpy()
    mean, var = dice.mean.double().numpy().copy(), dice.var.double().numpy().copy()
    expected = dice_by_hand(by_hand, alpha, by_hand.mean(axis=0), by_hand.var(axis=0))
    np.testing.assert_allclose(dice(x).detach().numpy(), expected, atol=1e-5)
    mean += 0.1 * (by_hand.mean(axis=0) - mean)
    var += 0.1 * (by_hand.var(axis=0, ddof=1) - var)
    np.testing.assert_allclose(dice.mean.numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(dice.var.numpy(), var, rtol=1e-5)
    dice.eval()
    expected = dice_by_hand(by_hand, alpha, mean, var)
    np.testing.assert_allclose(dice(x).detach().numpy(), expected, atol=1e-5)
    with torch.no_grad():
        kept = x.clone()
        np.testing.assert_allclose(dice(x).numpy(), expected, atol=1e-5)
        assert torch.equal(x, kept)


def test_dice_takes_a_row_alone_in_training():
    dice = Dice(3).train()
    for rows in (0, 1):
        found = dice(torch.randn(rows, 3))
        assert found.shape == (rows, 3)
        assert torch.isfinite(found).all()
    assert torch.equal(dice.mean, torch.zeros(3))
    assert torch.equal(dice.var, torch.ones(3))


def test_dice_has_the_gradient_of_its_formula():
    dice = stirred(Dice(3)).double()
    x = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    for training in (False, True):
        dice.train(training)
        assert torch.autograd.gradcheck(dice, (x,))


def test_tags_are_the_mean_of_those_there_are():
    embedding = stirred(ItemEmbedding(SHAPE, 4, content=False, normed=True, id_dropout=0.0)).eval()
    catalog = drawn_features().catalog
    tags = embedding(to_catalog_tensors(catalog, CPU)).detach().numpy()[:, 12:16]
    table = embedding.tags.weight.detach().numpy()
    for found, row in zip(tags, catalog.tags, strict=True):
        own = row[row > 0]
        np.testing.assert_allclose(found, table[own].mean(axis=0) if len(own) else np.zeros(4), atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_distinct_rows_are_numpys_unique(rows):
    used, places = unique_rows(torch.tensor(rows, dtype=torch.int32), 41)
    np.testing.assert_array_equal(used, np.unique([0, *rows]))
    np.testing.assert_array_equal(used[places], rows)


def test_a_batch_leaves_out_columns_of_padding_only():
    features = drawn_features()
    features.history[:, :] = 0
    features.history[2, 3] = 5
    batch = to_batch(features, CPU)
    np.testing.assert_array_equal(batch.history, features.history[:, :4])
    np.testing.assert_array_equal(batch.history_dense, features.history_dense[:, :4])
    np.testing.assert_array_equal(batch.candidate, features.candidate)


def test_dropout_is_after_every_layer_and_in_training_only():
    torch.manual_seed(0)
    mlp = Mlp(3, (400, 300), dropout=0.25)
    with torch.no_grad():
        for linear in mlp.linears:
            linear.weight.zero_()
            linear.bias.fill_(1.0)
    x = torch.randn(50, 3)
    assert (mlp.eval()(x) == 1).all()
    found = mlp.train()(x)
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(found[found > 0].detach().numpy(), 1 / 0.75, rtol=1e-5)
    identity = Mlp(3, ())
    assert identity.width == 3
    assert identity(x) is x


def test_ids_alone_are_dropped_and_in_training_only():
    torch.manual_seed(0)
    embedding = stirred(ItemEmbedding(SHAPE, 4, content=True, normed=False, id_dropout=0.5))
    videos = to_catalog_tensors(drawn_features().catalog, CPU)
    whole = embedding.eval()(videos).detach()
    torch.testing.assert_close(embedding(videos), whole)
    unknown = embedding(
        videos._replace(fields=videos.fields * torch.tensor([0, 1, 1], dtype=torch.int32))
    ).detach()
    dropped = torch.stack([embedding.train()(videos).detach() for _ in range(40)])
    same, other = ((dropped - side).abs().amax(dim=2) < 1e-6 for side in (whole, unknown))
    assert (same | other).all()
    named = videos.fields[:, 0] > 0
    assert other[:, named].float().mean().item() == pytest.approx(0.5, abs=0.06)


def test_fields_share_a_table_but_no_row():
    fields = stirred(FieldEmbedding((3, 2, 4), 2))
    found = fields(torch.tensor([[2, 1, 3], [0, 0, 0]], dtype=torch.int32)).detach()
    table = fields.table.weight.detach()
    assert len(table) == 9
    assert torch.equal(found, torch.stack([table[[2, 4, 8]].flatten(), table[[0, 3, 5]].flatten()]))
