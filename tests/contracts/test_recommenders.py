"""Every recommender against the battery of the Recommender protocol."""

import pytest

from vrec.retrieval.config import (
    COMBINED_KINDS,
    AlsConfig,
    AutoConfig,
    BlendConfig,
    CoVisitationConfig,
    CreatorsConfig,
    CrossDomainConfig,
    EaseConfig,
    GraphFilterConfig,
    HybridConfig,
    ItemKnnConfig,
    MultimodalConfig,
    PopularConfig,
    PropagationConfig,
    SimilarityConfig,
)
from vrec.retrieval.models.als import Als
from vrec.retrieval.models.auto import AutoRecommender
from vrec.retrieval.models.co_visitation import CoVisitation
from vrec.retrieval.models.content import ContentRecommender
from vrec.retrieval.models.creators import CreatorRecommender
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.graph_filter import GraphFilter
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.mult_vae import MultVae
from vrec.retrieval.models.multimodal import MultimodalFilter
from vrec.retrieval.models.neumf import NeuMf
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.propagate import PropagationRecommender
from vrec.retrieval.models.sasrec import SASRec
from vrec.retrieval.models.single_models import SINGLE_MODELS
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.network_config import MultVaeConfig, NeuMfConfig, SASRecConfig
from vrec.testing.recommenders import CHECKS, Make

LEARNED = BlendConfig(least_users=5)

RECOMMENDERS: dict[str, Make] = {
    "popular": PopularRecommender,
    "popular-trend": lambda: PopularRecommender(PopularConfig(half_life_days=7)),
    "item_knn": lambda: ItemKnn(ItemKnnConfig(neighbours=70)),
    "item_knn-pearson": lambda: ItemKnn(ItemKnnConfig(similarity="pearson", shrink=2, recency_half_life=3)),
    "cross_domain": lambda: CrossDomain(CrossDomainConfig(neighbours=70)),
    "user_knn": lambda: UserKnn(SimilarityConfig(neighbours=70)),
    "user_knn-bm25": lambda: UserKnn(SimilarityConfig(neighbours=70, weighting="bm25", shrink=1)),
    "co_visitation": CoVisitation,
    "co_visitation-rare": lambda: CoVisitation(
        CoVisitationConfig(window=2, backward=0.2, popularity_power=0.4)
    ),
    "als": lambda: Als(AlsConfig(factors=6)),
    "creators": lambda: CreatorRecommender(CreatorsConfig(regularization=3)),
    "ease": lambda: Ease(EaseConfig(regularization=3)),
    "mult_vae": lambda: MultVae(MultVaeConfig(hidden=16, latent=8, epochs=2)),
    "neumf": lambda: NeuMf(NeuMfConfig(factors=4, layers=(8, 4), epochs=2)),
    "sequence": lambda: SASRec(SASRecConfig(max_length=6, dim=8, layers=1, epochs=2)),
    "content": ContentRecommender,
    "propagate": lambda: PropagationRecommender(PropagationConfig(neighbours=5)),
    "propagate-plain": lambda: PropagationRecommender(
        PropagationConfig(mode="plain", space="interactions", factors=3)
    ),
    "graph_filter": GraphFilter,
    "graph_filter-plain": lambda: GraphFilter(
        GraphFilterConfig(user_smoothing=0, video_smoothing=0, low_pass=1, factors=3)
    ),
    "multimodal": MultimodalFilter,
    "multimodal-cold": lambda: MultimodalFilter(
        MultimodalConfig(content_support=0, attributes_share=0, neighbours=3, factors=0)
    ),
    "hybrid": lambda: HybridRecommender(
        HybridConfig(
            members=("popular", "item_knn", "ease", "content"), recommend_new_users=False, blend=LEARNED
        )
    ),
    "auto": lambda: AutoRecommender(
        AutoConfig(
            members=("popular", "item_knn", "ease", "content"), recommend_new_users=False, blend=LEARNED
        )
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", RECOMMENDERS)
def test_recommender_holds_the_contract(kind: str, check):
    check(RECOMMENDERS[kind])


def test_no_recommender_is_left_out():
    assert {make().name for make in RECOMMENDERS.values()} == {*SINGLE_MODELS, *COMBINED_KINDS}
