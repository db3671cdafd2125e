"""Brute-force audit: many runs on the worst data sets that differ by one shopper, and planted faults."""

import functools
import sys
import types
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from vrec.privacy import mechanisms, noise
from vrec.privacy.accounting import gaussian_multiplier
from vrec.privacy.mechanism_audit import audit_mechanism
from vrec.privacy.noise import system_normals, whole_noise

EPSILON, DELTA = 3.0, 0.02
"""A large δ, so that a few thousand runs come close to what is claimed."""
VIDEOS, LIMIT = 24, 6
OTHERS = [(row, column) for row in range(4) for column in range(row % 3 + 1)]
SHOPPERS = {
    "at the limit": [(9, column) for column in range(LIMIT)],
    "far above the limit": [(9, column) for column in range(VIDEOS)],
    "one video again and again": [(9, 2)] * 12,
}
"""Shoppers who are the worst for one fault each."""

PLANTED = {
    "noise halved": [("rint(normals(count) * scale)", "rint(normals(count) * scale / 2)")],
    "no clipping": [("np.minimum(1.0, limit * (1 - 1e-12) / np.maximum(norms, 1e-300))", "norms * 0 + 1")],
    "clipping per event": [("np.unique(np.stack([rows, columns]), axis=1)", "np.stack([rows, columns])")],
    "sensitivity of another unit": [("multiplier * gram_sensitivity(limit)", "multiplier * sqrt(limit)")],
    "noise reused": [("normals(count) * scale", "np.random.default_rng(7).normal(size=count) * scale")],
    "rounded up to whole counts": [("GRID = 1 << 20", "GRID = 1"), ("np.floor(factors", "np.ceil(factors")],
    "keys not thresholded": [
        ("(total > 0) & (noised >= key_threshold(limit, multiplier, delta))", "total > 0")
    ],
}


def planted(changes):
    """Return the mechanisms with faults planted in their code."""
    code = [Path(module.__file__).read_text(encoding="utf-8") for module in (noise, mechanisms)]
    text = "\n".join(code)
    text = text.replace(
        "from vrec.privacy.noise import Counts, NormalSource, system_normals, whole_noise", ""
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    module = types.ModuleType("planted")
    sys.modules["planted"] = module
    exec(compile(text, "planted", "exec"), module.__dict__)
    return module


def bounds(module, kind, normals, runs):
    """Iterate over lower bounds of ε, one for each of the worst shoppers."""
    multiplier = gaussian_multiplier(EPSILON, DELTA)
    for shopper in SHOPPERS.values():
        # Keys are those that the shopper alone has, of a catalog that is not public.
        others = [(row, 5) for row, _ in OTHERS] if kind == "keys" else OTHERS
        inside, outside = (
            module.watched_rows(*np.array(pairs).T, VIDEOS) for pairs in (others + shopper, others)
        )
        own = sorted({column for _, column in shopper})

        def run(watched, own=own):
            if kind == "lengths":
                # One shopper is in one bin of the histogram.
                place = np.searchsorted(module.LENGTH_BOUNDS, len(own))
                return module.noised_lengths(watched, multiplier, normals)[place]
            if kind == "counts":
                return module.noised_counts(watched, LIMIT, multiplier, normals)[own].sum()
            if kind == "gram":
                found = module.noised_gram(watched, LIMIT, multiplier, normals)
                return found.counts[np.ix_(own, own)].sum()
            released, _ = module.noised_keys(watched, LIMIT, multiplier, 1e-3, normals)
            return float(np.isin(released, [column for column in own if column != 5]).sum())

        yield audit_mechanism(
            functools.partial(run, inside), functools.partial(run, outside), DELTA, runs=runs
        ).epsilon


@pytest.fixture
def normals():
    return np.random.default_rng(3).standard_normal


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["counts", "gram", "keys", "lengths"])
def test_no_audit_finds_more_than_is_claimed(kind, normals):
    found = max(bounds(mechanisms, kind, normals, 4000))
    assert found <= EPSILON
    # An audit that finds nothing would pass anything.
    if kind != "keys":
        assert found > EPSILON / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("noise halved", "counts"),
        ("noise halved", "gram"),
        ("noise halved", "lengths"),
        ("no clipping", "counts"),
        ("no clipping", "gram"),
        ("clipping per event", "counts"),
        ("clipping per event", "gram"),
        ("sensitivity of another unit", "gram"),
        ("noise reused", "counts"),
        ("noise reused", "gram"),
        ("rounded up to whole counts", "counts"),
        ("rounded up to whole counts", "gram"),
        ("keys not thresholded", "keys"),
    ],
)
def test_planted_faults_are_found(fault, kind, normals):
    module = planted(PLANTED[fault])
    assert any(bound > EPSILON for bound in bounds(module, kind, normals, 2000))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80), st.floats(1, 30))
def test_what_a_shopper_adds_is_within_the_sensitivity(columns, limit):
    watched = mechanisms.watched_rows(np.zeros(len(columns), int), np.array(columns), 41)
    silent = np.zeros
    counts = mechanisms.noised_counts(watched, limit, 1.0, silent)
    assert np.linalg.norm(counts) <= sqrt(limit)
    gram = mechanisms.noised_gram(watched, limit, 1.0, silent).counts
    assert np.linalg.norm(gram[np.triu_indices(41)]) <= sqrt(limit * (limit + 1) / 2)
    assert np.linalg.norm(mechanisms.noised_lengths(watched, 1.0, silent)) == 1
    few = len(set(columns)) <= limit - 1e-6
    if few:
        np.testing.assert_allclose(counts, np.isin(np.arange(41), columns), atol=2e-6)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), min_size=1, max_size=60), st.randoms())
def test_shoppers_add_up_in_any_order_and_names(pairs, random):
    names = random.sample(range(100), 7)
    other = [(names[row], column) for row, column in pairs]
    random.shuffle(other)
    for rows in (pairs, other):
        watched = mechanisms.watched_rows(*np.array(rows).T, 9)
        found = mechanisms.noised_gram(watched, 2, 1.0, np.zeros).counts
        expected = sum(mechanisms.noised_gram(row, 2, 1.0, np.zeros).counts for row in watched)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found, found.T)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=40))
def test_three_quarters_of_the_shoppers_do_not_exceed_the_quantile_and_more_exceed_the_bin_below(lengths):
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = np.concatenate([np.arange(length) for length in lengths])
    watched = mechanisms.watched_rows(rows, columns, max(lengths))
    found = mechanisms.length_quantile(mechanisms.noised_lengths(watched, 1.0, np.zeros))
    bounds = mechanisms.LENGTH_BOUNDS.tolist()
    below = max([bound for bound in bounds if bound < found], default=0)
    lengths = np.minimum(lengths, bounds[-1])
    assert np.mean(lengths <= below) < 0.75 <= np.mean(lengths <= found)


@given(st.lists(st.floats(-1e6, 1e6), min_size=20, max_size=20))
def test_any_noised_histogram_gives_a_bound(noised):
    assert mechanisms.length_quantile(np.array(noised)) in mechanisms.LENGTH_BOUNDS


def test_keys_of_one_shopper_stay_unreleased_and_frequent_ones_do_not(normals):
    alone = mechanisms.watched_rows(np.zeros(5, int), np.arange(5), 10)
    many = mechanisms.watched_rows(np.arange(500), np.full(500, 3), 10)
    released = [mechanisms.noised_keys(alone, 5, 1.0, 1e-6, normals)[0] for _ in range(500)]
    assert sum(map(len, released)) == 0
    columns, counts = mechanisms.noised_keys(many, 5, 1.0, 1e-6, normals)
    assert columns.tolist() == [3]
    assert abs(counts[0] - 500) < 20


def test_noise_is_normal_and_fresh():
    numbers = system_normals(200_000)
    assert kstest(numbers, "norm").pvalue > 1e-6
    assert not np.array_equal(system_normals(10), system_normals(10))
    whole = whole_noise(50.0, 100_000, system_normals)
    assert whole.dtype == np.int64
    assert whole.std() == pytest.approx(50, rel=0.02)
