"""Choice of creators: probabilities that are exact, and places for new creators."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.serving.creators.choice import choose_creators

MEANS = np.array([0.3, 0.1, 0.0, -0.2, -0.5])
IS_NEW = np.array([False, False, True, False, True])
DEVIATIONS = np.array([0.3, 0.2, 0.6, 0.0, 0.6])


def drawn(seed, *, share, means=MEANS, deviations=DEVIATIONS, is_new=IS_NEW, k=2):
    rng = np.random.default_rng(seed)
    return choose_creators(means, deviations, is_new, k=k, new_share=share, rng=rng)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("deviations", [DEVIATIONS, np.zeros(5)])
def test_a_propensity_is_the_frequency_of_its_list(share, deviations):
    draws = 8_000
    lists = [drawn(seed, share=share, deviations=deviations) for seed in range(draws)]
    counts = Counter(tuple(one for one, _ in found) for found in lists)
    chances = {tuple(one for one, _ in found): np.prod([chance for _, chance in found]) for found in lists}
    for names, count in counts.items():
        chance = chances[names]
        # Five standard deviations of a binomial, of at most 20 lists.
        assert abs(count / draws - chance) <= 5 * np.sqrt(chance * (1 - chance) / draws) + 1e-4, names
    unseen = 1 - sum(chances.values())
    assert -1e-4 < unseen < 0.01


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from([0.0, 0.4]),
)
def test_the_chances_of_the_first_place_add_up_to_one(creators, share, scale):
    means = np.array([mean for mean, _ in creators])
    is_new = np.array([new for _, new in creators])
    found = {}
    for seed in range(400):
        ((one, chance),) = drawn(
            seed, share=share, means=means, deviations=scale * (1 + is_new), is_new=is_new, k=1
        )
        assert found.setdefault(one, chance) == chance
    assert sum(found.values()) <= 1 + 1e-4
    assert sum(found.values()) > 0.95


def test_new_creators_get_their_share_where_there_are_enough():
    size, k = 60, 10
    means, is_new = np.linspace(2, -2, size), np.arange(size) >= 40
    for share in (0.1, 0.5):
        lists = [
            drawn(s, share=share, means=means, deviations=np.zeros(size), is_new=is_new, k=k)
            for s in range(600)
        ]
        places = [is_new[one] for one, _ in itertools.chain.from_iterable(lists)]
        assert np.mean(places) == pytest.approx(share, abs=0.03)
        assert all(len({one for one, _ in found}) == k for found in lists)


def test_without_chance_the_best_come_in_order():
    found = drawn(0, share=0.0, deviations=np.zeros(5), k=9)
    assert found == [(n, 1.0) for n in range(5)]
