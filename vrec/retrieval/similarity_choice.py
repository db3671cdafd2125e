"""Choice of the settings of a similarity that are given as `auto`, by held-out interactions."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vrec.retrieval.config import SimilarityConfig, WeightingKind
from vrec.retrieval.held_out_pairs import HeldOutPairs, hold_out_pairs
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.similarity import (
    SimilarityFormula,
    SimilarityTask,
    row_products,
    scale_near_one,
    sparse_similarities,
)
from vrec.retrieval.sparse_topk import topk_sparse

PENALTIES = (0.0, 0.25, 0.5, 0.75, 1.0)
RELATIVE_SHRINKS = (0.0, 3.0)
WEIGHTINGS: tuple[WeightingKind, ...] = ("tfidf", "none", "bm25")
"""Values tried for each `auto`, one setting after the other with the best of the ones before; the first are
preferred among equals."""
FALLBACK = {"weighting": "none", "popularity_penalty": 0.5, "shrink": 0.0}
"""Values of `auto` where too little can be held out to choose by."""
FEWEST_ENTRIES = 1 << 22
"""Similarities in memory for the choice, or as many as the matrix has entries if that is more."""

VideoTaskMaker = Callable[[Matrix, SimilarityFormula], SimilarityTask]
"""Function from (users, videos) weights and a formula to the comparison of all videos."""
UserTaskMaker = Callable[[Matrix, Matrix, SimilarityFormula], SimilarityTask]
"""Function from the weights of some users, those of all users, and a formula to their comparison."""


def choose_video_formula(
    weights: Matrix, config: SimilarityConfig, make_task: VideoTaskMaker
) -> SimilarityFormula:
    """Return the formula of the similarity of videos that ranks held-out interactions best.

    Args:
        weights: (users, videos) float32.
        config: Settings; what is `auto` in them is chosen.
        make_task: Comparison of the videos.
    """
    held = _held_out(weights, config)
    if held is None:
        return given_formula(config)
    histories = held.kept[held.users]
    rows = _affordable_rows(histories, held.kept)
    histories = histories[:, rows]

    def gain(near: Matrix) -> float:
        return held.mean_gain(histories @ near)

    return _best_formula(config, lambda formula: make_task(held.kept, formula), rows, gain)


def choose_user_formula(
    weights: Matrix, config: SimilarityConfig, make_task: UserTaskMaker
) -> SimilarityFormula:
    """Return the formula of the similarity of users that ranks held-out interactions best.

    Args:
        weights: (users, videos) float32.
        config: Settings; what is `auto` in them is chosen.
        make_task: Comparison of some users with all.
    """
    held = _held_out(weights, config)
    if held is None:
        return given_formula(config)
    histories = held.kept[held.users]
    entries = np.minimum(row_products(histories, held.kept.T.tocsr()), len(weights.indptr))
    held = held.first(int(np.searchsorted(np.cumsum(entries), FEWEST_ENTRIES)))
    if not held.suffice:
        return given_formula(config)
    rows = np.arange(len(held.users))

    def gain(near: Matrix) -> float:
        return held.mean_gain(near @ held.kept)

    return _best_formula(
        config, lambda formula: make_task(histories[: len(rows)], held.kept, formula), rows, gain
    )


def _best_formula(
    config: SimilarityConfig,
    make_task: Callable[[SimilarityFormula], SimilarityTask],
    rows: npt.NDArray[np.int64],
    gain: Callable[[Matrix], float],
) -> SimilarityFormula:
    """Return the formula by whose nearest rows the gain is greatest, trying one `auto` after the other."""

    @lru_cache(maxsize=1)
    def compare(weighting: WeightingKind) -> tuple[SimilarityTask, Matrix]:
        task = make_task(replace(given_formula(config), weighting=weighting))
        return task, task.left[rows] @ task.right

    def gain_of(formula: SimilarityFormula) -> float:
        task, products = compare(formula.weighting)
        near = products.copy()
        near.data = sparse_similarities(replace(task, formula=formula), products, rows)
        return gain(topk_sparse(near, formula.neighbours))

    best = given_formula(config)
    if config.weighting == "auto":
        best = replace(best, weighting=WEIGHTINGS[0])
    reached = gain_of(best)
    for name, setting, values in (
        ("popularity_penalty", config.popularity_penalty, PENALTIES),
        ("relative_shrink", config.shrink, RELATIVE_SHRINKS),
        ("weighting", config.weighting, WEIGHTINGS),
    ):
        for value in values if setting == "auto" else ():
            formula = replace(best, **{name: value})
            found = reached if formula == best else gain_of(formula)
            if found > reached:
                best, reached = formula, found
    return best


def _held_out(weights: Matrix, config: SimilarityConfig) -> HeldOutPairs | None:
    """Return interactions to choose by; None where nothing is to be chosen, or by too few."""
    if "auto" not in (config.popularity_penalty, config.shrink, config.weighting):
        return None
    held = hold_out_pairs(scale_near_one(weights))
    return held if held.suffice else None


def given_formula(config: SimilarityConfig) -> SimilarityFormula:
    """Return the formula of the settings, with fixed values for what is `auto`."""
    given = {name: getattr(config, name) for name in FALLBACK if getattr(config, name) != "auto"}
    return SimilarityFormula(config.similarity, config.neighbours, **(FALLBACK | given))


def _affordable_rows(histories: Matrix, kept: Matrix) -> npt.NDArray[np.int64]:
    """Return the videos of the first histories whose similarities fit the memory, ascending."""
    videos = histories.indices[np.sort(np.unique(histories.indices, return_index=True)[1])]
    columns = kept.T.tocsr()
    entries = np.minimum(row_products(columns[videos], kept), kept.shape[1])
    limit = max(FEWEST_ENTRIES, kept.nnz)
    return np.sort(videos[np.cumsum(entries) <= limit]).astype(np.int64)
