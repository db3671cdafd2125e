"""Construction of recommenders by name, and loading of saved ones."""

from vrec.core.artifact import artifact_kind
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig, SingleModelsConfig, check_kind
from vrec.retrieval.models.auto import AutoRecommender
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.single_models import build_single_model, load_single_model
from vrec.retrieval.similarity import BlockMapper, map_in_threads

COMBINED: dict[str, type[HybridRecommender]] = {"hybrid": HybridRecommender, "auto": AutoRecommender}
"""Recommenders that are made of others, by name."""


def build_recommender(
    kind: str,
    config: RetrievalConfig,
    map_blocks: BlockMapper = map_in_threads,
    *,
    trials: str | None = None,
) -> MatrixRecommender:
    """Return an unfitted recommender.

    Args:
        kind: One of RECOMMENDER_KINDS.
        config: Settings of all recommenders; those of `kind` are used. One that is made of others
            takes their settings from here, unless it has its own.
        map_blocks: How a model that is fitted in blocks computes them.
        trials: Folder for finished trials of `auto`, from which an interrupted fit continues, if any.

    Raises:
        UnknownModel: There is no recommender of that name.
    """
    check_kind(kind)
    if kind not in COMBINED:
        return build_single_model(kind, config, map_blocks)
    own = getattr(config, kind)
    if own.models is None:
        singles = SingleModelsConfig.model_validate(
            config.model_dump(include=set(SingleModelsConfig.model_fields))
        )
        own = own.model_copy(update={"models": singles})
    return AutoRecommender(own, trials) if kind == AutoRecommender.kind else COMBINED[kind](own)


def load_recommender(uri: str) -> MatrixRecommender:
    """Load a fitted recommender of any kind from a folder.

    Raises:
        ModelError: The folder holds no complete recommender.
    """
    combined = COMBINED.get(artifact_kind(uri))
    return load_single_model(uri) if combined is None else combined.load(uri)
