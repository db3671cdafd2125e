"""Construction of recommenders by name, and loading of saved ones."""

from vrec.core.artifact import artifact_kind
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig, SingleModelsConfig, check_kind
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.single_models import build_single_model, load_single_model
from vrec.retrieval.similarity import BlockMapper, map_in_threads


def build_recommender(
    kind: str, config: RetrievalConfig, map_blocks: BlockMapper = map_in_threads
) -> MatrixRecommender:
    """Return an unfitted recommender.

    Args:
        kind: One of RECOMMENDER_KINDS.
        config: Settings of all recommenders; those of `kind` are used. A hybrid without settings for its
            members takes them from here.
        map_blocks: How a model that is fitted in blocks computes them.

    Raises:
        UnknownModel: There is no recommender of that name.
    """
    check_kind(kind)
    if kind != HybridRecommender.kind:
        return build_single_model(kind, config, map_blocks)
    if config.hybrid.models is not None:
        return HybridRecommender(config.hybrid)
    singles = SingleModelsConfig.model_validate(config.model_dump(exclude={"hybrid"}))
    return HybridRecommender(config.hybrid.model_copy(update={"models": singles}))


def load_recommender(uri: str) -> MatrixRecommender:
    """Load a fitted recommender of any kind from a folder.

    Raises:
        ModelError: The folder holds no complete recommender.
    """
    return (
        HybridRecommender.load(uri)
        if artifact_kind(uri) == HybridRecommender.kind
        else load_single_model(uri)
    )
