"""Attacks find what an ordinary fit tells, and nothing in one that tells nothing."""

from math import exp

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from vrec.core.errors import EvaluationError
from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.evaluation.attacks.attributes import attribute_inference
from vrec.evaluation.attacks.canaries import epsilon_of_guesses, plant_canaries
from vrec.evaluation.attacks.membership import membership_inference
from vrec.evaluation.attacks.neighbor_changes import neighbor_changes
from vrec.evaluation.attacks.results import attack_auc, summarize_trials
from vrec.privacy.config import PrivacyConfig
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.private_fit import fit_private
from vrec.retrieval.registry import build_recommender

CATALOG = [f"v{number:02}" for number in range(60)]


@pytest.fixture(scope="module")
def interactions():
    """INTERACTIONS of 120 shoppers with 12 of 60 videos each, some watched more often than others."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(3, 63)
    rows = [
        (f"u{user}", CATALOG[video], 1.0, 1000 * user + place)
        for user in range(120)
        for place, video in enumerate(rng.choice(60, 12, replace=False, p=share / share.sum()))
    ]
    users, videos, weights, at = zip(*rows, strict=True)
    columns = [
        pa.array(users),
        pa.array(videos),
        pa.array(weights, pa.float32()),
        pa.array(at).cast(TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def ordinary(rows):
    return build_recommender("ease", RetrievalConfig.model_validate({"ease": {"regularization": 5}})).fit(
        rows
    )


def private(rows):
    privacy = PrivacyConfig(epsilon=1, gram_videos=40)
    return fit_private("ease", RetrievalConfig(), privacy, rows, CATALOG)


def test_members_show_in_an_ordinary_fit_and_not_in_a_private_one(interactions):
    loss, ratio = membership_inference(ordinary, interactions, 12, np.random.default_rng(1))
    assert ratio.low > 0.6
    assert ratio.auc >= loss.auc > 0.5
    for result in membership_inference(private, interactions, 12, np.random.default_rng(1)):
        assert result.auc < 0.58


def test_a_fit_that_ignores_its_rows_tells_nothing(interactions):
    model = ordinary(interactions)
    loss, ratio = membership_inference(lambda _: model, interactions, 8, np.random.default_rng(2))
    assert loss.low <= 0.5 <= loss.high
    assert ratio.auc == 0.5


def test_new_videos_show_in_changes_of_ordinary_neighbors_only(interactions):
    found = neighbor_changes(ordinary, interactions, 20, np.random.default_rng(3))
    assert found.low > 0.7
    hidden = neighbor_changes(private, interactions, 40, np.random.default_rng(3))
    assert hidden.auc < 0.72  # the noise is the system's: of 40 guesses, .065 is a standard deviation


def test_canaries_prove_no_more_than_the_epsilon_of_a_private_fit(interactions):
    told = plant_canaries(ordinary, interactions, 30, np.random.default_rng(4))
    assert told.epsilon > 1.5
    for seed in range(3):
        assert plant_canaries(private, interactions, 30, np.random.default_rng(seed)).epsilon <= 1.0


@settings(max_examples=25)
@given(st.integers(1, 60), st.floats(0.1, 4))
def test_guesses_seldom_prove_more_than_epsilon(guesses, epsilon):
    right = 1 / (1 + exp(-epsilon))
    counts = np.arange(guesses + 1)
    proven = np.array([epsilon_of_guesses(guesses, int(count)) for count in counts])
    assert binom.pmf(counts, guesses, right)[proven > epsilon + 1e-9].sum() <= 0.05 + 1e-9
    assert (np.diff(proven) >= 0).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn(pairs):
    truth, scores = (np.array(column) for column in zip(*pairs, strict=True))
    if truth.all() or not truth.any():
        assert np.isnan(attack_auc(truth, scores.astype(float)))
    else:
        assert attack_auc(truth, scores.astype(float)) == pytest.approx(roc_auc_score(truth, scores))


def test_an_interval_needs_two_trials():
    one = summarize_trials("x", np.array([0.7, np.nan]))
    assert (one.auc, one.low, one.high, one.trials) == (0.7, 0.0, 1.0, 1)


def test_attributes_that_vectors_hold_are_found():
    rng = np.random.default_rng(5)
    truth = rng.random(200) < 0.4
    vectors = rng.normal(size=(200, 4))
    chance = attribute_inference("a", vectors, truth, rng)
    assert chance.low < 0.5 < chance.high + 0.05
    vectors[:, 2] += 1.5 * truth
    assert attribute_inference("a", vectors, truth, rng).low > 0.7
    with pytest.raises(EvaluationError, match="0 of 200 shoppers"):
        attribute_inference("a", vectors, np.zeros(200, bool), rng)
