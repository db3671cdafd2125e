"""The recommenders that stand on their own, by name."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from vrec.core.artifact import artifact_kind
from vrec.core.config import BaseConfig
from vrec.core.errors import ModelError
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.models.als import Als, AlsConfig
from vrec.retrieval.models.content import ContentConfig, ContentRecommender
from vrec.retrieval.models.ease import Ease, EaseConfig
from vrec.retrieval.models.knn import ItemKnn, ItemKnnConfig, UserKnn
from vrec.retrieval.models.mult_vae import MultVae, MultVaeConfig
from vrec.retrieval.models.neumf import NeuMf, NeuMfConfig
from vrec.retrieval.models.popular import PopularConfig, PopularRecommender
from vrec.retrieval.models.propagate import PropagationConfig, PropagationRecommender
from vrec.retrieval.models.sasrec import SASRec, SASRecConfig
from vrec.retrieval.similarity import BlockMapper, SimilarityConfig, map_in_threads

SingleKind = Literal[
    "popular", "item_knn", "user_knn", "als", "ease", "mult_vae", "neumf", "sequence", "content", "propagate"
]


class SingleModelsConfig(BaseConfig):
    """The settings of each recommender."""

    popular: PopularConfig = Field(default_factory=PopularConfig)
    """The videos that most users have watched."""
    item_knn: ItemKnnConfig = Field(default_factory=ItemKnnConfig)
    """Videos that share users with those that the user has watched."""
    user_knn: SimilarityConfig = Field(default_factory=SimilarityConfig)
    """Videos of the users who have watched the same."""
    als: AlsConfig = Field(default_factory=AlsConfig)
    """Factors of users and videos by alternating least squares."""
    ease: EaseConfig = Field(default_factory=EaseConfig)
    """A linear autoencoder in closed form."""
    mult_vae: MultVaeConfig = Field(default_factory=MultVaeConfig)
    """A variational autoencoder of histories."""
    neumf: NeuMfConfig = Field(default_factory=NeuMfConfig)
    """Neural matrix factorisation."""
    sequence: SASRecConfig = Field(default_factory=SASRecConfig)
    """Self-attention over the videos in their order."""
    content: ContentConfig = Field(default_factory=ContentConfig)
    """Videos like those that the user has watched, by what they show and say."""
    propagate: PropagationConfig = Field(default_factory=PropagationConfig)
    """Tastes refreshed by those of like-minded users."""


SINGLE_MODELS: Mapping[str, type[MatrixRecommender]] = {
    model.kind: model
    for model in (
        PopularRecommender,
        ItemKnn,
        UserKnn,
        Als,
        Ease,
        MultVae,
        NeuMf,
        SASRec,
        ContentRecommender,
        PropagationRecommender,
    )
}
"""Every recommender by its name."""


def build_single_model(
    kind: SingleKind, config: SingleModelsConfig, map_blocks: BlockMapper = map_in_threads
) -> MatrixRecommender:
    """The recommender of that name, not fitted; `spread` is for those that fit in blocks."""
    match kind:
        case "item_knn":
            return ItemKnn(config.item_knn, map_blocks)
        case _:
            return SINGLE_MODELS[kind](getattr(config, kind))


def load_single_model(uri: str) -> MatrixRecommender:
    """The saved recommender in a folder; raises ModelError where it is not one of these."""
    kind = artifact_kind(uri)
    if kind not in SINGLE_MODELS:
        raise ModelError(f"{uri} is a {kind}, not one of {', '.join(SINGLE_MODELS)}")
    return SINGLE_MODELS[kind].load(uri)
