"""Any recommender by its name, and any saved one by its folder."""

import difflib

from pydantic import Field

from vrec.core.artifact import artefact_kind
from vrec.core.errors import FitError
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.models.hybrid import Hybrid, HybridConfig
from vrec.retrieval.models.single_models import SINGLES, SinglesConfig, build_single, load_single
from vrec.retrieval.similarity import Spread, in_threads

KINDS: tuple[str, ...] = (*SINGLES, Hybrid.kind)
"""The names of all recommenders, as `--model` and `--models` take them."""


class RetrievalConfig(SinglesConfig):
    """The settings of each recommender."""

    hybrid: HybridConfig = Field(default_factory=HybridConfig)
    """A blend of the others with learned weights."""


def check_kind(kind: str) -> None:
    """Raises FitError for a name that is no recommender's, with the nearest that is."""
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise FitError(f"no recommender is called {kind}{guess}", mend=f"give one of {', '.join(KINDS)}")


def build(kind: str, config: RetrievalConfig, spread: Spread = in_threads) -> MatrixRecommender:
    """The recommender of that name with its settings, not fitted; `spread` is for those that fit in blocks.

    Raises FitError for a name that is none.
    """
    check_kind(kind)
    if kind != Hybrid.kind:
        return build_single(kind, config, spread)  # type: ignore[arg-type]
    if config.hybrid.models is not None:
        return Hybrid(config.hybrid)
    singles = SinglesConfig.model_validate(config.model_dump(exclude={"hybrid"}))
    return Hybrid(config.hybrid.model_copy(update={"models": singles}))


def load(uri: str) -> MatrixRecommender:
    """The fitted recommender in a folder, of whatever kind; raises ModelError where it is not a sound one."""
    return Hybrid.load(uri) if artefact_kind(uri) == Hybrid.kind else load_single(uri)
