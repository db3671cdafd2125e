"""Registry of the recommenders that are not made of other recommenders."""

import importlib
from collections.abc import Mapping

import pyarrow as pa

from vrec.core.artifact import artifact_kind
from vrec.core.errors import FitError, ModelError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CONTENT_KINDS, SingleModelsConfig
from vrec.retrieval.similarity import BlockMapper, map_in_threads

SINGLE_MODELS: Mapping[str, str] = {
    "popular": "popular:PopularRecommender",
    "item_knn": "item_knn:ItemKnn",
    "cross_domain": "cross_domain:CrossDomain",
    "user_knn": "user_knn:UserKnn",
    "co_visitation": "co_visitation:CoVisitation",
    "als": "als:Als",
    "ease": "ease:Ease",
    "mult_vae": "mult_vae:MultVae",
    "neumf": "neumf:NeuMf",
    "sequence": "sasrec:SASRec",
    "content": "content:ContentRecommender",
    "propagate": "propagate:PropagationRecommender",
    "graph_filter": "graph_filter:GraphFilter",
    "multimodal": "multimodal:MultimodalFilter",
    "creators": "creators:CreatorRecommender",
}
"""Module in `vrec.retrieval.models` and class of each recommender, by name. A module is imported when its
model is used: some need torch, whose import takes longer than many fits."""


def single_model_class(kind: str) -> type[MatrixRecommender]:
    """Return the class of a recommender by its name."""
    module, name = SINGLE_MODELS[kind].split(":")
    return getattr(importlib.import_module(f"vrec.retrieval.models.{module}"), name)


def build_single_model(
    kind: str, config: SingleModelsConfig, map_blocks: BlockMapper = map_in_threads
) -> MatrixRecommender:
    """Return an unfitted recommender; `map_blocks` is for those that are fitted in blocks."""
    model = single_model_class(kind)
    own = getattr(config, kind)
    return model(own, map_blocks) if kind in ("item_knn", "cross_domain") else model(own)  # type: ignore[call-arg]


def fit_member(
    kind: str,
    config: SingleModelsConfig,
    interactions: pa.Table,
    content: CatalogContent | None,
    deadline: float | None = None,
    *,
    videos: int | None = None,
) -> MatrixRecommender:
    """Fit a recommender on INTERACTIONS.

    Args:
        kind: Name of the recommender.
        config: Settings, of which its own apply.
        interactions: INTERACTIONS.
        content: Content of the videos.
        deadline: Moment of `time.monotonic` at which a network stops training, and other fits end.
        videos: Number of videos of a later fit on more interactions, which must be possible too.

    Raises:
        FitError: It cannot be fitted on these rows, or needs content and there is none.
        FitTimeout: The deadline came in a network's first epoch, or in the fit of another model.
    """
    if kind in CONTENT_KINDS and (content is None or not content.video_id_columns):
        raise FitError("there is no content")
    model = build_single_model(kind, config)
    if videos is not None:
        model.check_size(videos)
    model.deadline = deadline
    return model.fit(interactions, content)


def load_single_model(uri: str) -> MatrixRecommender:
    """Load a saved recommender.

    Raises:
        ModelError: The folder holds another kind of artifact, or is not complete.
    """
    kind = artifact_kind(uri)
    if kind not in SINGLE_MODELS:
        raise ModelError(f"{uri} is a {kind}, not one of {', '.join(SINGLE_MODELS)}")
    return single_model_class(kind).load(uri)
