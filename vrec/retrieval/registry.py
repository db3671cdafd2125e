"""Any recommender by its name, and any saved one by its folder."""

import difflib

from pydantic import Field

from vrec.core.artifact import artifact_kind
from vrec.core.errors import FitError
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
"""The names of all recommenders, as `--model` and `--models` take them."""


class RetrievalConfig(SingleModelsConfig):
    """The settings of each recommender."""

    hybrid: HybridConfig = Field(default_factory=HybridConfig)
    """A blend of the others with learned weights."""


def check_kind(kind: str) -> None:
    """Raises FitError for a name that is no recommender's, with the nearest that is."""
    if kind not in RECOMMENDER_KINDS:
        near = difflib.get_close_matches(kind, RECOMMENDER_KINDS, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise FitError(
            f"no recommender is called {kind}{guess}", fix=f"give one of {', '.join(RECOMMENDER_KINDS)}"
        )


def build_recommender(
    kind: str, config: RetrievalConfig, map_blocks: BlockMapper = map_in_threads
) -> MatrixRecommender:
    """The recommender of that name with its settings, not fitted; `spread` is for those that fit in blocks.

    Raises FitError for a name that is none.
    """
    check_kind(kind)
    if kind != HybridRecommender.kind:
        return build_single_model(kind, config, map_blocks)  # type: ignore[arg-type]
    if config.hybrid.models is not None:
        return HybridRecommender(config.hybrid)
    singles = SingleModelsConfig.model_validate(config.model_dump(exclude={"hybrid"}))
    return HybridRecommender(config.hybrid.model_copy(update={"models": singles}))


def load_recommender(uri: str) -> MatrixRecommender:
    """The fitted recommender in a folder, of whatever kind; raises ModelError where it is not a sound one."""
    return (
        HybridRecommender.load(uri)
        if artifact_kind(uri) == HybridRecommender.kind
        else load_single_model(uri)
    )
