"""Construction of recommenders by name, and loading of saved ones."""

import difflib

from pydantic import Field

from vrec.core.artifact import artifact_kind
from vrec.core.errors import UnknownModel
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.models.hybrid import HybridConfig, HybridRecommender
from vrec.retrieval.models.single_models import (
    SINGLE_MODELS,
    SingleModelsConfig,
    build_single_model,
    load_single_model,
)
from vrec.retrieval.similarity import BlockMapper, map_in_threads

RECOMMENDER_KINDS: tuple[str, ...] = (*SINGLE_MODELS, HybridRecommender.kind)
"""Names of all recommenders, as `--model` and `--models` take them."""


class RetrievalConfig(SingleModelsConfig):
    """Settings of all recommenders."""

    hybrid: HybridConfig = Field(default_factory=HybridConfig)
    """Settings of the blend of several recommenders with learned weights."""


def check_kind(kind: str) -> None:
    """Check that a recommender of that name exists.

    Raises:
        UnknownModel: There is none; the message suggests the closest name.
    """
    if kind not in RECOMMENDER_KINDS:
        near = difflib.get_close_matches(kind, RECOMMENDER_KINDS, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise UnknownModel(
            f"no recommender is called {kind}{guess}", fix=f"give one of {', '.join(RECOMMENDER_KINDS)}"
        )


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
        return build_single_model(kind, config, map_blocks)  # type: ignore[arg-type]
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
