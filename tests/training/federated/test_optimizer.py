"""Averages of updates against their formulas, and robust ones against poisoned clients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

from vrec.core.errors import FederatedError
from vrec.training.federated.config import FederatedConfig
from vrec.training.federated.layout import ArrayLayout
from vrec.training.federated.optimizer import ServerOptimizer, shorten, weighted_update
from vrec.training.federated.robust import robust_sums, trimmed_mean
from vrec.training.federated.sampling import dirichlet_shards, draw_clients
from vrec.training.federated.task import UPDATE, WEIGHT

RNG = np.random.default_rng(0)
PLAIN = {"secure": False}


def sums_of(updates, examples, config):
    parts = [weighted_update(update, count, config) for update, count in zip(updates, examples, strict=True)]
    return {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}


def test_fedavg_moves_by_the_mean_weighted_by_examples():
    updates, config = RNG.normal(size=(3, 4)), FederatedConfig()
    optimizer = ServerOptimizer(config)
    after = optimizer.step(optimizer.start(np.ones(4)), sums_of(updates, [1, 2, 5], config))
    assert after["weights"] == pytest.approx(1 + (updates[0] + 2 * updates[1] + 5 * updates[2]) / 8)


def test_weights_may_be_equal_or_capped():
    updates = RNG.normal(size=(2, 3))
    for changes, expected in (({"weighting": "equal"}, [1, 1]), ({"most_examples": 4}, [1, 4])):
        config = FederatedConfig(**changes)
        sums = sums_of(updates, [1, 1000], config)
        assert sums[UPDATE] / sums[WEIGHT] == pytest.approx(np.average(updates, axis=0, weights=expected))


def test_fedadam_is_that_of_the_paper():
    config = FederatedConfig(method="fedadam", server_learning_rate=0.1, weighting="equal")
    optimizer = ServerOptimizer(config)
    state = optimizer.start(np.zeros(3))
    m, v, x = np.zeros(3), np.full(3, 1e-6), np.zeros(3)
    for _ in range(3):
        updates = RNG.normal(size=(2, 3))
        state = optimizer.step(state, sums_of(updates, [9, 9], config))
        mean = updates.mean(axis=0)
        m, v = 0.9 * m + 0.1 * mean, 0.99 * v + 0.01 * mean**2
        x = x + 0.1 * m / (np.sqrt(v) + 1e-3)
    assert state["weights"] == pytest.approx(x)


@pytest.mark.parametrize("method", ["fedavg", "fedadam"])
def test_running_statistics_are_averaged_whatever_the_step(method):
    config = FederatedConfig(method=method, server_learning_rate=3.0, weighting="equal")
    optimizer, updates = ServerOptimizer(config, averaged=2), RNG.normal(size=(2, 4))
    after = optimizer.step(optimizer.start(np.ones(4)), sums_of(updates, [1, 1], config))
    assert after["weights"][2:] == pytest.approx(1 + updates.mean(axis=0)[2:])
    assert (after["weights"][:2] != 1 + updates.mean(axis=0)[:2]).all()


def test_an_average_of_nothing_is_an_error():
    optimizer = ServerOptimizer(FederatedConfig())
    with pytest.raises(FederatedError, match="no client has an example"):
        optimizer.step(optimizer.start(np.ones(2)), {UPDATE: np.zeros(2), WEIGHT: np.zeros(1)})
    with pytest.raises(FederatedError, match="not finite"):
        optimizer.step(optimizer.start(np.ones(1)), {UPDATE: np.array([np.inf]), WEIGHT: np.ones(1)})


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_an_update_is_shortened_to_the_bound_in_its_direction(numbers, bound):
    update = np.array(numbers)
    short = shorten(update, bound)
    assert np.linalg.norm(short) <= bound * (1 + 1e-9)
    if np.linalg.norm(update) <= bound:
        assert (short == update).all()
    assert shorten(update, None) is update


def test_the_trimmed_mean_is_that_of_scipy():
    updates = RNG.normal(size=(11, 4))
    assert trimmed_mean(updates, 0.2) == pytest.approx(stats.trim_mean(updates, 0.2, axis=0))


@pytest.mark.parametrize("aggregation", ["median", "trimmed_mean"])
def test_poisoned_updates_move_robust_averages_no_farther_than_honest_ones_lie(aggregation):
    honest = RNG.normal(size=(8, 5))
    config = FederatedConfig(**PLAIN, aggregation=aggregation, trim=0.25)
    parts = {str(n): weighted_update(update, 10, config) for n, update in enumerate(honest)}
    poisoned = {f"bad-{n}": {UPDATE: np.full(5, 1e9), WEIGHT: np.array([1e6])} for n in range(2)}
    sums = robust_sums(parts | poisoned, config)
    assert sums[WEIGHT] == 1
    assert (honest.min(axis=0) <= sums[UPDATE]).all()
    assert (sums[UPDATE] <= honest.max(axis=0)).all()
    mean = robust_sums(parts | poisoned, FederatedConfig(**PLAIN))
    assert (mean[UPDATE] / mean[WEIGHT] > 900).all(), "a mean is moved anywhere"


def test_the_norm_bound_limits_a_poisoned_update():
    config = FederatedConfig(**PLAIN, norm_bound=2.0, weighting="equal")
    parts = {
        "good": weighted_update(np.zeros(4), 1, config),
        "bad": {UPDATE: np.full(4, 1e9), WEIGHT: np.ones(1)},
    }
    sums = robust_sums(parts, config)
    assert np.linalg.norm(sums[UPDATE] / sums[WEIGHT]) == pytest.approx(1.0)


def test_sums_without_updates_are_sums():
    parts = {name: {"gram": np.full(3, value)} for name, value in (("a", 1.0), ("b", 2.0))}
    config = FederatedConfig(**PLAIN, aggregation="median")
    assert robust_sums(parts, config)["gram"] == pytest.approx(3)


@pytest.mark.parametrize("aggregation", ["median", "trimmed_mean"])
def test_settings_refuse_robust_averages_of_masked_updates(aggregation):
    with pytest.raises(ValidationError, match="compares single updates, which masked sums hide"):
        FederatedConfig(aggregation=aggregation)


def test_a_layout_returns_the_arrays_and_refuses_others():
    layout = ArrayLayout({"b": (2, 3), "a": (1,)})
    arrays = {"a": np.array([7.0]), "b": RNG.normal(size=(2, 3))}
    vector = layout.flatten(arrays)
    assert vector.shape == (layout.length,) == (7,)
    assert all((layout.unflatten(vector)[name] == arrays[name]).all() for name in arrays)
    for other, named in (
        (arrays | {"b": np.zeros((3, 2))}, r"b \(3, 2\)"),
        ({"a": arrays["a"]}, "b None"),
        (arrays | {"c": np.zeros(1)}, r"c \(1,\)"),
    ):
        with pytest.raises(FederatedError, match=named):
            layout.flatten(other)


def test_clients_are_drawn_anew_in_each_round_and_alike_in_each_run():
    names = [f"c{n}" for n in range(10)]
    drawn = [draw_clients(names, 0.5, 3, 0, number) for number in range(20)]
    assert drawn == [draw_clients(names, 0.5, 3, 0, number) for number in range(20)]
    assert {len(one) for one in drawn} == {5}
    assert set().union(*drawn) == set(names)
    assert len(draw_clients(names, 0.01, 3, 0)) == 3
    assert draw_clients(names[:2], 0.1, 3, 0) == names[:2]


def test_a_low_alpha_gives_uneven_shards():
    groups = np.repeat(np.arange(4), 250)

    def unevenness(alpha):
        owners = dirichlet_shards(groups, 5, alpha, 0)
        assert set(owners) == set(range(5)), "each has a shopper"
        shares = np.array([np.bincount(owners[groups == g], minlength=5) / 250 for g in range(4)])
        return float((shares.max(axis=1)).mean())

    assert unevenness(100) < 0.3 < unevenness(1) < 0.75 < unevenness(0.05)
