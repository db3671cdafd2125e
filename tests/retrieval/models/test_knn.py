"""What both neighborhood models have in common: histories answered without a fit, and saved models."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.retrieval.dense_similarity import CONFIGS
from tests.retrieval.matrices import ids, matrices, random_matrix, to_interactions
from vrec.retrieval.config import ItemKnnConfig, SimilarityConfig
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.user_knn import UserKnn

MODELS = pytest.mark.parametrize(
    ("model", "config"), [(ItemKnn, ItemKnnConfig), (UserKnn, SimilarityConfig)], ids=["item", "user"]
)


@MODELS
@given(matrix=matrices(), options=CONFIGS)
@settings(deadline=None, max_examples=60)
def test_a_history_is_answered_as_its_fitted_user_is(
    model, config, matrix: np.ndarray, options: dict
) -> None:
    table = to_interactions(matrix)
    fitted = model(config(**options)).fit(table)
    assert fitted.recommend(ids("u", len(matrix)), 4).equals(fitted.recommend_from(table, 4))


@MODELS
def test_saved_and_loaded_it_answers_the_same(model, config, tmp_path) -> None:
    fitted = model(config(weighting="bm25", neighbours=7, shrink=1, popularity_penalty=0.5)).fit(
        to_interactions(random_matrix(2, 50, 40))
    )
    fitted.save(str(tmp_path / "m"))
    again = model.load(str(tmp_path / "m"))
    users = ids("u", 50)
    assert again.recommend(users, 9).equals(fitted.recommend(users, 9))
