"""Federated training of the ranker against training on all impressions in one place."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from vrec.core.errors import FederatedError
from vrec.ranking.calibration import CalibrationConfig, Calibrator
from vrec.ranking.federated.training import RankerShard, RankerSums, fresh_weights
from vrec.ranking.federated.weights import (
    calibration_sums,
    fit_by_sums,
    flatten_weights,
    load_weights,
    statistics_count,
)
from vrec.testing.rankers import SHOP
from vrec.testing.ranking_shop import network
from vrec.training.federated.config import FederatedConfig

START = cache(lambda: network(SHOP()))


@cache
def part(name):
    requests, labels = getattr(SHOP(), name)
    return START().builder.build(requests), labels


def take(examples, mask):
    rows = np.flatnonzero(mask)
    return examples[0].take(rows), examples[1].take(rows)


def shards(clients, config):
    """Clients with the shoppers of the shop, spread by their numbers."""
    train, valid = part("train"), part("valid")
    return [
        RankerShard(
            START(),
            config,
            take(train, train[1].user % clients == client),
            take(valid, valid[1].user % clients == client),
        )
        for client in range(clients)
    ]


def federated(clients, config, weights=None):
    task = RankerSums(START(), config, weights=weights)
    some, state = shards(clients, config), task.start()
    for number in range(1, task.rounds + 1):
        parts = [shard.contribute(state, number) for shard in some]
        for one in parts:
            assert {name: array.shape for name, array in one.items()} == task.shapes(number)
        state = task.step(state, {name: sum(one[name] for one in parts) for name in parts[0]}, number)
    return task, state


def fresh():
    return fresh_weights(START(), part("train")[1])


def test_weights_go_to_a_vector_and_back():
    network = START().network
    vector = flatten_weights(network)
    moved = torch.nn.Linear(3, 2)
    load_weights(moved, np.arange(8.0))
    assert moved.bias.tolist() == [0, 1]
    assert moved.weight.flatten().tolist() == [2, 3, 4, 5, 6, 7]
    load_weights(network, vector)
    assert (flatten_weights(network) == vector).all()
    normed = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1))
    assert statistics_count(normed) == 4
    assert flatten_weights(normed)[-4:].tolist() == [0, 0, 1, 1], "means and variances come last"


def test_it_learns_from_clients_what_one_place_would():
    features, labels = part("valid")
    config = FederatedConfig(rounds=6)
    task, state = federated(4, config, fresh())
    one, alone = federated(1, config, fresh())
    aucs = [
        roc_auc_score(labels.click, made.model(found).predict(features).p_click)
        for made, found in ((task, state), (one, alone))
    ]
    assert aucs[0] > 0.6
    assert aucs[0] > aucs[1] - 0.03


def test_the_ranker_of_several_clients_is_calibrated_and_saved(tmp_path):
    task, state = federated(3, FederatedConfig(rounds=2))
    model = task.model(state)
    features, labels = part("valid")
    found = model.predict(features, at_logged_positions=True)
    assert found.p_click.mean() == pytest.approx(labels.click.mean(), rel=0.1)
    assert found.watch_s.mean() == pytest.approx(labels.watch_s.mean(), rel=0.15)
    mature = labels.mature
    assert found.p_conv[mature].mean() == pytest.approx(labels.conversion[mature].mean(), rel=0.2)
    assert (found.spread > 0).all()
    model.save(str(tmp_path))
    loaded = type(model).load(str(tmp_path)).predict(features, at_logged_positions=True)
    assert (loaded.p_click == found.p_click).all()


def test_the_weights_of_the_lowest_loss_are_used():
    _, state = federated(2, FederatedConfig(rounds=3, server_learning_rate=100.0))
    assert state["best_round"] == 0, "every step of such a length is worse than none"
    assert (state["best"] == flatten_weights(START().network)).all()


def test_fedprox_stays_nearer_to_the_common_weights():
    moves = {}
    for method, more in (("fedavg", {}), ("fedprox", {"proximal": 100.0})):
        config = FederatedConfig(method=method, local_epochs=3, **more)
        task = RankerSums(START(), config)
        state = task.start()
        part_of = shards(2, config)[0].contribute(state, 1)
        moves[method] = np.linalg.norm(part_of["update"] / part_of["weight"])
    assert moves["fedprox"] < moves["fedavg"] * 0.9


def test_a_repeated_round_contributes_the_same():
    config = FederatedConfig()
    state, (shard, _) = RankerSums(START(), config).start(), shards(2, config)
    first, second = shard.contribute(state, 1), shard.contribute(state, 1)
    assert all((first[name] == second[name]).all() for name in first)


def test_a_norm_bound_shortens_what_a_client_sends():
    config = FederatedConfig(norm_bound=1e-3, weighting="equal")
    sent = shards(2, config)[0].contribute(RankerSums(START(), config).start(), 1)
    assert np.linalg.norm(sent["update"]) == pytest.approx(1e-3)


def test_calibration_by_sums_is_near_that_by_impressions():
    features, labels = part("valid")
    raw = START().predict(features, at_logged_positions=True)
    halves = [np.arange(len(labels)) % 2 == half for half in (0, 1)]
    parts = [
        calibration_sums(("click",), raw.take(np.flatnonzero(half)), labels.take(np.flatnonzero(half)))
        for half in halves
    ]
    config = CalibrationConfig(method="temperature")
    found = fit_by_sums(config, {name: parts[0][name] + parts[1][name] for name in parts[0]})["click"]
    exact = Calibrator.fit(config, raw.p_click, labels.click, scale="chance")
    assert np.abs(found.apply(raw.p_click) - exact.apply(raw.p_click)).max() < 0.02


def test_few_outcomes_shift_the_mean_alone():
    counts = np.zeros((2, 182))
    counts[0, 90], counts[1, 100] = 500, 3
    found = fit_by_sums(CalibrationConfig(), {"calibration.click": counts})
    assert found["click"].method == "shift"
    assert fit_by_sums(CalibrationConfig(), {"calibration.click": np.zeros((2, 182))}) == {}


def test_common_weights_without_a_finite_loss_are_refused_by_that_reason():
    config = FederatedConfig()
    state = RankerSums(START(), config).start()
    state["weights"] = state["weights"] * np.nan
    with pytest.raises(FederatedError, match="no finite loss on its impressions"):
        shards(2, config)[0].contribute(state, 1)


def test_a_client_without_impressions_is_refused():
    empty = take(part("train"), np.zeros(len(part("train")[1]), bool))
    with pytest.raises(FederatedError, match="no impressions to train on"):
        RankerShard(START(), FederatedConfig(), empty, part("valid"))
