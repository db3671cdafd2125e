"""Recommenders by name: each gets its own settings, and unknown names and folders are refused."""

import pytest

from tests.retrieval.catalogues import interactions
from vrec.core.errors import FitError, ModelError
from vrec.retrieval.config import (
    RECOMMENDER_KINDS,
    PopularConfig,
    RetrievalConfig,
    SingleModelsConfig,
    check_kind,
)
from vrec.retrieval.index.index import FaissIndex
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.single_models import (
    SINGLE_MODELS,
    build_single_model,
    load_single_model,
    single_model_class,
)
from vrec.retrieval.registry import build_recommender, load_recommender

CHANGED = {
    "popular": {"half_life_days": 3},
    "item_knn": {"recency_half_life": 2},
    "cross_domain": {"weight": 0.5},
    "user_knn": {"neighbours": 7},
    "als": {"factors": 5},
    "ease": {"regularization": 7},
    "mult_vae": {"hidden": 9},
    "neumf": {"factors": 3},
    "sequence": {"layers": 1},
    "content": {"center": False},
    "propagate": {"mode": "degree"},
    "graph_filter": {"factors": 5},
    "multimodal": {"neighbours": 5},
    "co_visitation": {"window": 2},
    "creators": {"few": 3},
    "hybrid": {"holdout": "last", "members": ["popular", "als"]},
    "auto": {"minutes": 1, "members": ["popular", "als"]},
}
CONFIG = RetrievalConfig.model_validate(CHANGED)
ROWS = interactions(("ann", "a", 1, 0), ("bo", "b", 1, 1), ("bo", "a", 1, 2))


def test_every_kind_is_tried_here():
    assert set(CHANGED) == set(RECOMMENDER_KINDS)
    assert (*SINGLE_MODELS, "hybrid", "auto") == RECOMMENDER_KINDS


@pytest.mark.parametrize("kind", SINGLE_MODELS)
def test_each_model_gets_its_own_settings(kind: str):
    model = build_recommender(kind, CONFIG)
    assert (model.kind, type(model)) == (kind, single_model_class(kind))
    assert model.config == getattr(CONFIG, kind)
    assert model.config != type(model)().config
    assert build_single_model(kind, CONFIG).config == model.config


def test_blocks_are_mapped_as_given():
    calls = []

    def mapper(function, task, blocks):
        calls.append(blocks)
        return [function(task, block) for block in blocks]

    model = build_recommender("item_knn", CONFIG, mapper)
    assert isinstance(model, ItemKnn)
    model.fit(ROWS)
    assert calls == [[range(2)]]


@pytest.mark.parametrize("kind", ["hybrid", "auto"])
def test_members_have_their_own_settings_or_those_of_retrieval(kind):
    model = build_recommender(kind, CONFIG)
    assert isinstance(model, HybridRecommender)
    assert type(model).kind == kind
    assert model.config.members == ("popular", "als")
    assert model.config.models is not None
    assert model.config.models.model_dump() == CONFIG.model_dump(exclude={"hybrid", "auto", "live"})
    own = SingleModelsConfig(popular=PopularConfig(half_life_days=9))
    config = CONFIG.model_copy(update={kind: type(getattr(CONFIG, kind))(models=own)})
    model = build_recommender(kind, config)
    assert isinstance(model, HybridRecommender)
    assert model.config.models == own


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(FitError, match="no recommender is called eas; did you mean ease") as error:
        check_kind("eas")
    assert error.value.fix == "give one of " + ", ".join(RECOMMENDER_KINDS)
    with pytest.raises(FitError, match=r"no recommender is called zzz$"):
        build_recommender("zzz", CONFIG)
    for kind in RECOMMENDER_KINDS:
        check_kind(kind)


def test_saved_models_load_by_their_kind(tmp_path):
    build_recommender("ease", CONFIG).fit(ROWS).save(str(tmp_path / "ease"))
    loaded = load_recommender(str(tmp_path / "ease"))
    assert (loaded.kind, loaded.config) == ("ease", CONFIG.ease)
    hybrid = build_recommender("hybrid", CONFIG).fit(ROWS)
    hybrid.save(str(tmp_path / "hybrid"))
    loaded = load_recommender(str(tmp_path / "hybrid"))
    assert (loaded.kind, loaded.config) == ("hybrid", hybrid.config)
    with pytest.raises(ModelError, match="is a hybrid, not one of popular, "):
        load_single_model(str(tmp_path / "hybrid"))
    index = FaissIndex()
    index.save(str(tmp_path / "index"))
    with pytest.raises(ModelError, match="is a index, not one of popular, "):
        load_recommender(str(tmp_path / "index"))
