"""The panel of scores: features in one catalog's columns, and their scale, by hand."""

import numpy as np
import pyarrow as pa
import pytest

from tests.retrieval.catalogues import embeddings, interactions
from vrec.core.types import CatalogContent
from vrec.retrieval.config import ContentConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix
from vrec.retrieval.models.content import ContentRecommender
from vrec.retrieval.models.neumf import NeuMf
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.network_config import NeuMfConfig
from vrec.retrieval.score_panel import ScorePanel, fill_zeros, standardize_scores

ROWS = interactions(("ann", "b", 1, 0), ("bo", "b", 1, 1), ("bo", "d", 1, 2))
CONTENT = CatalogContent(embeddings=embeddings(b=[1, 0], c=[1, 1], d=[0, 1]))
CATALOG = IdVocabulary(pa.array(["a", "b", "c", "d"]))
HISTORIES = build_interaction_matrix(
    interactions(("zoe", "a", 5, 0), ("zoe", "b", 1, 1)), IdVocabulary(pa.array(["zoe"])), CATALOG
)


@pytest.fixture
def panel() -> ScorePanel:
    members = {
        "popular": PopularRecommender().fit(ROWS),
        "content": ContentRecommender(ContentConfig(center=False)).fit(ROWS, CONTENT),
    }
    return ScorePanel(members, CATALOG, np.array([0, 2, 0, 1]))


def test_features_are_members_then_coldness(panel: ScorePanel):
    assert panel.features == ("popular", "content", "cold", "content when cold")
    alone = ScorePanel({"popular": panel.members["popular"]}, CATALOG, panel.support)
    assert alone.features == ("popular", "cold")
    assert len(list(alone.rows(HISTORIES, pa.array(["zoe"])))) == 2


def test_member_scores_lie_in_the_columns_of_the_catalog(panel: ScorePanel):
    """popular knows b and d alone, content b, c and d; of zoe's history, content does not know a."""
    users = pa.array(["zoe"])
    assert panel.member_scores("popular", HISTORIES, users).tolist() == [[-np.inf, 2, -np.inf, 1]]
    found = panel.member_scores("content", HISTORIES, users)
    np.testing.assert_allclose(found, [[-np.inf, 1, 0.5**0.5, 0]], atol=1e-6)


def test_cold_features_fall_with_support(panel: ScorePanel):
    popular, content, cold, content_when_cold = panel.rows(HISTORIES, pa.array(["zoe"]))
    np.testing.assert_allclose(cold, [[1, 1 / 3, 1, 1 / 2]])
    assert np.isnan(popular).tolist() == [[True, False, True, False]]
    np.testing.assert_allclose(popular[0, [1, 3]], [np.log(2), -np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(content_when_cold[0, 1:], content[0, 1:] * [1 / 3, 1, 1 / 2], rtol=1e-6)
    assert np.isnan(content_when_cold[0, 0])


def test_a_member_that_knows_users_gets_their_rows():
    member = NeuMf(NeuMfConfig(epochs=1)).fit(ROWS)
    panel = ScorePanel({"neumf": member}, member.videos, np.array([2, 1]))
    both = member.score_block(member.histories, np.array([0, 1]))
    found = panel.member_scores("neumf", member.histories, pa.array(["bo", "stranger"]))
    assert found[0].tolist() == both[1].tolist()
    assert np.isneginf(found[1]).all()


def test_standardized_scores_by_hand():
    """Of 0, 0 and 3 the mean is 1 and the deviation √2; missing scores do not count."""
    raw = np.array([[0, 0, 3, -np.inf], [5, 5, 5, 5], [-np.inf, np.nan, -np.inf, 7]], np.float32)
    before = raw.copy()
    found = standardize_scores(raw)
    low, high = -np.log1p(1 / 2**0.5), np.log1p(2 / 2**0.5)
    np.testing.assert_allclose(found[0], [low, low, high, np.nan], rtol=1e-6)
    assert found[1].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(found[2], [np.nan, np.nan, np.nan, 0])
    np.testing.assert_array_equal(raw, before)


def test_no_opinion_is_zero_among_positive_scores_and_none_among_others():
    raw = np.array([[2, -np.inf, -np.inf], [2, -1, -np.inf], [-np.inf] * 3], np.float32)
    found = fill_zeros(raw.copy(), np.array([True, True, False]))
    assert np.array_equal(found[0], np.array([2, 0, -np.inf], np.float32))
    assert np.array_equal(found[1:], raw[1:])
