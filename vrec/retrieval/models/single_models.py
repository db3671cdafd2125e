"""Registry of the recommenders that are not made of other recommenders."""

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
from vrec.retrieval.models.item_knn import ItemKnn, ItemKnnConfig
from vrec.retrieval.models.mult_vae import MultVae, MultVaeConfig
from vrec.retrieval.models.neumf import NeuMf, NeuMfConfig
from vrec.retrieval.models.popular import PopularConfig, PopularRecommender
from vrec.retrieval.models.propagate import PropagationConfig, PropagationRecommender
from vrec.retrieval.models.sasrec import SASRec, SASRecConfig
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.similarity import BlockMapper, SimilarityConfig, map_in_threads

SingleKind = Literal[
    "popular", "item_knn", "user_knn", "als", "ease", "mult_vae", "neumf", "sequence", "content", "propagate"
]


class SingleModelsConfig(BaseConfig):
    """Settings of each recommender except the hybrid."""

    popular: PopularConfig = Field(default_factory=PopularConfig)
    """Settings of the ranking by number of users."""
    item_knn: ItemKnnConfig = Field(default_factory=ItemKnnConfig)
    """Settings of the item-based neighborhood model."""
    user_knn: SimilarityConfig = Field(default_factory=SimilarityConfig)
    """Settings of the user-based neighborhood model."""
    als: AlsConfig = Field(default_factory=AlsConfig)
    """Settings of matrix factorization by alternating least squares."""
    ease: EaseConfig = Field(default_factory=EaseConfig)
    """Settings of EASE, a linear autoencoder in closed form."""
    mult_vae: MultVaeConfig = Field(default_factory=MultVaeConfig)
    """Settings of Mult-VAE, a variational autoencoder of histories."""
    neumf: NeuMfConfig = Field(default_factory=NeuMfConfig)
    """Settings of neural matrix factorization."""
    sequence: SASRecConfig = Field(default_factory=SASRecConfig)
    """Settings of SASRec, self-attention over a user's videos in time order."""
    content: ContentConfig = Field(default_factory=ContentConfig)
    """Settings of the content-based model: videos similar to those that the user has watched."""
    propagate: PropagationConfig = Field(default_factory=PropagationConfig)
    """Settings of the propagation of tastes over similar users."""


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
"""Recommender classes by name."""


def build_single_model(
    kind: SingleKind, config: SingleModelsConfig, map_blocks: BlockMapper = map_in_threads
) -> MatrixRecommender:
    """Return an unfitted recommender; `map_blocks` is for those that are fitted in blocks."""
    match kind:
        case "item_knn":
            return ItemKnn(config.item_knn, map_blocks)
        case _:
            return SINGLE_MODELS[kind](getattr(config, kind))


def load_single_model(uri: str) -> MatrixRecommender:
    """Load a saved recommender.

    Raises:
        ModelError: The folder holds another kind of artifact, or is not complete.
    """
    kind = artifact_kind(uri)
    if kind not in SINGLE_MODELS:
        raise ModelError(f"{uri} is a {kind}, not one of {', '.join(SINGLE_MODELS)}")
    return SINGLE_MODELS[kind].load(uri)
