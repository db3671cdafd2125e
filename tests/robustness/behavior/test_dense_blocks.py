import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.robustness.behavior.dense_blocks import dense_blocks, densest_block

edges = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=18).map(sorted)


@settings(max_examples=40, deadline=None)
@given(edges, st.integers(0, 1000))
def test_the_density_is_that_of_the_block_and_none_above_the_best_of_all(pairs, seed):
    rows, columns = np.array(pairs, np.int64).T
    weights = np.random.default_rng(seed).uniform(0.1, 1, len(pairs))

    table = np.zeros((6, 6))
    table[rows, columns] = weights
    sets = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(float)
    chance = np.outer(sets @ table.sum(axis=1), sets @ table.sum(axis=0)) / weights.sum()
    sizes = np.maximum(sets.sum(axis=1)[:, None] + sets.sum(axis=1), 1)
    densities = (sets @ table @ sets.T - chance) / sizes
    shoppers, members, density = densest_block(rows, columns, weights)
    place = (1 << shoppers).sum(), (1 << members).sum()
    assert density == pytest.approx(densities[place], abs=1e-9)
    assert densities.max() / 4 - 1e-9 <= density


def graph(rng, groups=()):
    """Return edges of 300 shoppers and 200 columns, of which the popular have more, and of dense groups."""
    appeal = 1 / np.arange(1, 201)
    pairs = {
        (shopper, int(column))
        for shopper in range(300)
        for column in rng.choice(200, rng.integers(3, 15), replace=False, p=appeal / appeal.sum())
    }
    for first, (shoppers, columns) in enumerate(groups):
        members = range(300 + 50 * first, 300 + 50 * first + shoppers)
        pairs |= {(shopper, 200 + 50 * first + column) for shopper in members for column in range(columns)}
        # As camouflage each also has the most popular columns.
        pairs |= {(shopper, column) for shopper in members for column in range(6)}
    return np.array(sorted(pairs), np.int64).T


def test_groups_are_found_whatever_camouflage_they_have():
    blocks = dense_blocks(*graph(np.random.default_rng(3), [(25, 12), (15, 10)]))
    blocks = [block for block in blocks if block.filled > 0.5]
    found = np.unique(np.concatenate([block.shoppers for block in blocks]))
    assert found.tolist() == [*range(300, 325), *range(350, 365)]
    columns = np.concatenate([block.columns for block in blocks])
    assert len({*range(200, 212), *range(250, 260)} - set(columns.tolist())) <= 2


def test_a_graph_without_groups_has_no_block_much_denser_than_chance():
    for seed in range(4):
        assert all(block.filled < 0.3 for block in dense_blocks(*graph(np.random.default_rng(seed))))


def test_shoppers_of_one_day_are_no_group_where_days_are_strata():
    rng = np.random.default_rng(0)
    day = rng.integers(0, 30, 400)  # each shopper comes on one day, when thirty videos are shown
    rows = np.repeat(np.arange(400), 8)
    columns = np.concatenate([rng.permutation(30)[:8] + 30 * one for one in day])
    assert dense_blocks(rows, columns, np.repeat(day, 8)) == []


def test_few_edges_have_no_blocks():
    assert dense_blocks(np.zeros(0, np.int64), np.zeros(0, np.int64)) == []
    assert dense_blocks(np.arange(3), np.arange(3)) == []
