"""The networks in training: what reaches their weights, and what is left out when scoring."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.ranking.drawn import CPU, SHAPE, drawn_features, padded
from tests.ranking.small_networks import (
    ALL,
    CONFIGS,
    ONE,
    assert_same,
    every_config,
    every_heads,
    loss_of,
    network_of,
    run,
    score,
)
from vrec.ranking.features.arrays import FeatureShape
from vrec.ranking.networks.config import DinConfig, LogisticRegressionConfig, RankerHeadsConfig
from vrec.ranking.networks.layers import to_batch, to_catalog_tensors
from vrec.ranking.networks.multitask import LabelTensors, multitask_losses
from vrec.ranking.networks.network import RankerNetwork


@every_config
@every_heads
def test_gradients_reach_every_weight(config, heads):
    network = network_of(config, heads).train()
    loss_of(network, drawn_features(candidates=80, requests=30), heads)["total"].backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_config
def test_padding_is_of_no_consequence_in_training_either(config):
    config = config.model_copy(update={"id_dropout": 0.0, "position_dropout": 0.0})
    features = drawn_features()
    more = padded(features, 3, 2.0)
    found = []
    for some in (
        to_batch(features, CPU),
        to_batch(more, CPU)._replace(
            history=torch.from_numpy(more.history), history_dense=torch.from_numpy(more.history_dense)
        ),
    ):
        network = network_of(config).train()
        outputs = network(some, to_catalog_tensors(features.catalog, CPU))
        outputs.click.sum().backward()
        gradients = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        moments = torch.cat(
            [torch.zeros(1), *(b.flatten() for b in network.buffers() if b.is_floating_point())]
        )
        found.append((outputs.click.detach(), gradients, moments))
    for narrow, wide in zip(*found, strict=True):
        np.testing.assert_allclose(narrow, wide, atol=1e-3, rtol=1e-3)


@every_config
def test_scores_are_those_of_training_at_the_first_slot(config):
    network, features = network_of(config), drawn_features()
    first = replace(features, position=np.ones_like(features.position))
    assert_same(score(network, features), run(network, first))


@every_config
def test_the_position_moves_the_click_alone_and_only_where_it_was_shown(config):
    network, features = network_of(config), drawn_features()
    moved = replace(features, position=(features.position + 1) % SHAPE.positions)
    assert_same(score(network, features), score(network, moved), tolerance=0)
    here, there = run(network, features), run(network, moved)
    if config.position == "none":
        assert_same(here, there, tolerance=0)
        return
    by_position = network.positions.weight[:, 0].detach().numpy()
    expected = by_position[moved.position] - by_position[features.position]
    np.testing.assert_allclose(there.click - here.click, expected, atol=1e-4)
    assert torch.equal(here.conversion, there.conversion)
    assert torch.equal(here.watch, there.watch)


def test_where_no_position_is_known_the_reference_is_unknown():
    shape = replace(SHAPE, positions=1)
    features = drawn_features(shape=shape)
    network = network_of(LogisticRegressionConfig(), shape=shape)
    assert_same(score(network, features), run(network, features))


def test_positions_and_ids_are_dropped_in_training_at_the_rates_asked_for():
    config = LogisticRegressionConfig(content=False, id_dropout=0.3, position_dropout=0.4)
    network = network_of(config, ONE).train()
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
        network.positions.weight[1:] = 1
        # The first field's places come first in the table; place 0 stands for an unknown video.
        network.items_of.fields.table.weight[1 : SHAPE.fields[0]] = 10
    features = drawn_features(candidates=4000, requests=1)
    features = replace(features, position=np.full(4000, 2, np.int32), video=np.full(4000, 30, np.int32))
    batch, catalog = to_batch(features, CPU), to_catalog_tensors(features.catalog, CPU)
    catalog.fields[30, 0] = 30
    clicks = torch.stack([network(batch, catalog).click.detach() for _ in range(200)])
    assert (clicks % 10).mean().item() == pytest.approx(0.6, abs=0.02)
    # An id is dropped for all its occurrences in a step.
    dropped = (clicks < 9).float()
    assert set(dropped.mean(dim=1).tolist()) == {0.0, 1.0}
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.12)


def test_histories_without_any_entry_are_scored_and_trained_on():
    features = drawn_features()
    features = replace(features, history=np.zeros_like(features.history))
    for config in CONFIGS.values():
        network = network_of(config)
        assert torch.isfinite(score(network, features).click).all()
        network.train()
        loss_of(network, features, ALL)["total"].backward()
        assert all(torch.isfinite(buffer).all() for buffer in network.buffers())


def test_heads_of_logistic_regression_share_no_weight():
    network, features = network_of(LogisticRegressionConfig()), drawn_features()
    outputs = network(to_batch(features, CPU), to_catalog_tensors(features.catalog, CPU))
    outputs.click.sum().backward()
    assert not network.items_of.fields.table.weight.grad[:, 1:].any()
    assert network.items_of.fields.table.weight.grad[:, 0].any()


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_catalog_without_vectors_or_tags_or_numbers_is_enough():
    shape = FeatureShape((5,), 1, 0, 0, (), 0, 0, 0, 1)
    features = drawn_features(shape=shape)
    for config in CONFIGS.values():
        network = network_of(config, shape=shape)
        assert torch.isfinite(score(network, features).click).all()
        loss_of(network.train(), features, ALL)["total"].backward()


@pytest.mark.slow
def test_din_learns_what_of_a_history_matters_where_no_feature_alone_says_anything():
    """A click is likely where a video of the candidate's category was liked."""
    rng, rows, kinds = np.random.default_rng(0), 4000, 8
    shape = FeatureShape((kinds + 1,), 1, 0, 0, (), 0, 0, 0, 1)
    features = drawn_features(candidates=rows, requests=rows, length=6, shape=shape)
    liked = features.catalog.fields[features.history, 0]
    own = features.catalog.fields[features.video, 0]
    hit = ((liked == own[:, None]) & (features.history > 0)).any(axis=1)
    features = replace(features, request=np.arange(rows, dtype=np.int32))
    click = (rng.random(rows) < np.where(hit, 0.9, 0.1)).astype(np.float32)
    heads, found = RankerHeadsConfig(heads=("click",)), {}
    for config in (LogisticRegressionConfig(), DinConfig(width=8, hidden=(16,))):
        torch.manual_seed(0)
        network = RankerNetwork(shape, config, heads, 0)
        fit(network, features.take(np.arange(3000)), click[:3000], heads)
        judged = score(network.eval(), features.take(np.arange(3000, rows))).click
        found[config.kind] = roc_auc_score(click[3000:], judged)
    best = roc_auc_score(click[3000:], hit[3000:])
    assert found["lr"] < 0.6
    assert found["din"] > best - 0.05


def fit(network, features, click, heads, epochs=12):
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(network.train().parameters(), lr=0.01)
    catalog, none = to_catalog_tensors(features.catalog, CPU), torch.zeros(100)
    for _ in range(epochs):
        for rows in rng.permutation(len(features)).reshape(-1, 100):
            outputs = network(to_batch(features.take(rows), CPU), catalog)
            labels = LabelTensors(torch.from_numpy(click[rows]), none, none > 0, None)
            optimizer.zero_grad()
            multitask_losses(outputs, labels, heads)["total"].backward()
            optimizer.step()
