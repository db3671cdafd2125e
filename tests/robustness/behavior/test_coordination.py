"""Groups that share rare videos: found in sparse logs, and not made up by popularity or activity."""

from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.robustness.shop import shop
from vrec.robustness.attacks.groups import GROUPS
from vrec.robustness.attacks.profiles import AttackPlan
from vrec.robustness.behavior.coordination import LEAST_SURPLUS, coordinated_groups, group_scores
from vrec.robustness.watched import WatchedVideos


def sparse_log(rng, shoppers=600, videos=1500, ring=0, targets=8, share=0.7):
    """Return the matrix of shoppers with about six videos by popularity, the last ones in a ring."""
    appeal = 1 / np.arange(5, videos + 5)
    table = np.zeros((shoppers + ring, videos))
    for shopper in range(shoppers + ring):
        table[shopper, rng.choice(videos, rng.integers(3, 10), p=appeal / appeal.sum())] = 1
    table[shoppers:, videos - targets :] = rng.random((ring, targets)) < share
    return sparse.csr_matrix(table)


@pytest.mark.parametrize("seed", range(3))
def test_a_ring_of_a_sparse_log_is_found_whole_and_alone(seed):
    scores, groups = group_scores(sparse_log(np.random.default_rng(seed), ring=14))
    assert len(groups) == 1
    assert set(groups[0].videos) >= set(range(1492, 1500))
    assert not np.any(scores[:600])
    assert np.mean(scores[600:] > 5) > 0.9
    assert groups[0].exclusive > 0.8


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000))
def test_popularity_and_activity_alone_make_no_group(seed):
    rng = np.random.default_rng(seed)
    log_ = sparse_log(rng, shoppers=300)
    # A few shoppers who watch most of the popular videos, as heavy ones do.
    heavy = sparse.csr_matrix((rng.random((10, 1500)) < 40 / np.arange(40, 1540)) * 1.0)
    assert coordinated_groups(sparse.csr_matrix(sparse.vstack([log_, heavy]))) == []


def test_popular_videos_as_camouflage_hide_nothing():
    rng = np.random.default_rng(5)
    table = sparse_log(rng, ring=20).tolil()
    for account in range(600, 620):
        table[account, rng.choice(12, 6, replace=False)] = 1
    found = {int(one) for group in coordinated_groups(table.tocsr()) for one in group.shoppers}
    assert found <= set(range(600, 620))
    assert len(found) >= 16


def test_a_group_counts_from_the_price_of_naming_it_among_all():
    plain = sparse_log(np.random.default_rng(0), shoppers=300)
    seen = []
    for number in (4, 5, 8, 12):
        table = plain.tolil()
        table[:number] = 0
        table[:number, 1490:1496] = 1
        table = table.tocsr()
        within, of_videos = 6 * number, table[:, 1490:1496].sum()
        expected = within * of_videos / table.nnz
        evidence = within * log(within / expected) - within + expected
        seen.append(evidence - log(comb(300, number)) - log(comb(1500, 6)) >= LEAST_SURPLUS)
        groups = coordinated_groups(table)
        assert len(groups) == seen[-1]
        if seen[-1]:
            assert groups[0].shoppers.tolist() == list(range(number))
            assert groups[0].videos.tolist() == list(range(1490, 1496))
            assert groups[0].filled == pytest.approx((within - expected) / within)
    assert not seen[0]
    assert seen[-1]


def test_the_order_of_shoppers_does_not_matter():
    table = sparse_log(np.random.default_rng(1), ring=14)
    drawn = np.random.default_rng(2).permutation(614)
    np.testing.assert_allclose(group_scores(table[drawn])[0], group_scores(table)[0][drawn])


@pytest.mark.parametrize("name", ["campaign", "hired", "slow"])
def test_groups_promote_unpopular_videos_and_no_two_accounts_all_of_them(name):
    log_ = WatchedVideos.from_interactions(shop())
    plan = AttackPlan(log_, log_.videos[0].as_py(), 16, np.random.default_rng(0))
    profiles = GROUPS[name](plan)
    assert not profiles.shares_target
    assert len(profiles.fillers) == 16
    assert all(len(set(own.tolist())) == len(own) for own in profiles.fillers)
    times = np.bincount(np.concatenate(profiles.fillers), minlength=len(log_.videos))
    assert times.max() < 16
