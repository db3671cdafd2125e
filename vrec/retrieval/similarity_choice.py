"""Choice of the settings of a similarity that are given as `auto`, by held-out interactions."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.config import SimilarityConfig, WeightingKind
from vrec.retrieval.deadline import TimeCheck, no_limit
from vrec.retrieval.held_out_pairs import HeldOutPairs, hold_out_pairs
from vrec.retrieval.interaction_matrix import Matrix, row_runs
from vrec.retrieval.row_statistics import column_products
from vrec.retrieval.similarity import (
    SimilarityFormula,
    SimilarityTask,
    block_cells,
    cumulative,
    row_products,
    scale_near_one,
    sparse_similarities,
    stack_rows,
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
"""Similarities to choose by, or as many as the matrix has entries if that is more."""

VideoTaskMaker = Callable[[Matrix, SimilarityFormula], SimilarityTask]
"""Function from (users, videos) weights and a formula to the comparison of all videos."""
UserTaskMaker = Callable[[Matrix, Matrix, SimilarityFormula], SimilarityTask]
"""Function from the weights of some users, those of all users, and a formula to their comparison."""


def choose_video_formula(
    weights: Matrix, config: SimilarityConfig, make_task: VideoTaskMaker, check: TimeCheck = no_limit
) -> SimilarityFormula:
    """Return the formula of the similarity of videos that ranks held-out interactions best.

    Args:
        weights: (users, videos) float32.
        config: Settings; what is `auto` in them is chosen.
        make_task: Comparison of the videos.
        check: Check of the time, for each formula.
    """
    held = _held_out(weights, config)
    if held is None:
        return given_formula(config)
    histories = held.kept[held.users]
    rows = _affordable_rows(histories, held.kept)
    histories = histories[:, rows]

    def gain(near: Matrix) -> float:
        check()
        return held.mean_gain_by_runs(lambda run: histories[run] @ near, row_products(histories, near))

    return _best_formula(config, lambda formula: make_task(held.kept, formula), rows, gain)


def choose_user_formula(
    weights: Matrix, config: SimilarityConfig, make_task: UserTaskMaker, check: TimeCheck = no_limit
) -> SimilarityFormula:
    """Return the formula of the similarity of users that ranks held-out interactions best.

    Args:
        weights: (users, videos) float32.
        config: Settings; what is `auto` in them is chosen.
        make_task: Comparison of some users with all.
        check: Check of the time, for each formula.
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
        check()
        return held.mean_gain_by_runs(lambda run: near[run] @ held.kept, row_products(near, held.kept))

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

    best = given_formula(config)
    if config.weighting == "auto":
        best = replace(best, weighting=WEIGHTINGS[0])
    task, gains = make_task(best), dict[SimilarityFormula, float]()
    for name, setting, values in (
        ("popularity_penalty", config.popularity_penalty, PENALTIES),
        ("relative_shrink", config.shrink, RELATIVE_SHRINKS),
        ("weighting", config.weighting, WEIGHTINGS),
    ):
        if setting != "auto":
            continue
        tried = [best, *(replace(best, **{name: value}) for value in values)]
        fresh = [formula for formula in dict.fromkeys(tried) if formula not in gains]
        for weighting in dict.fromkeys(formula.weighting for formula in fresh):
            if weighting != task.formula.weighting:
                # The comparison before is let go first: two of them would take twice the memory.
                del task
                task = make_task(replace(best, weighting=weighting))
            alike = [formula for formula in fresh if formula.weighting == weighting]
            gains |= {
                formula: gain(near) for formula, near in zip(alike, _nearest(task, alike, rows), strict=True)
            }
        best = max(tried, key=gains.__getitem__)
    return best


def _nearest(
    task: SimilarityTask, formulas: Sequence[SimilarityFormula], rows: npt.NDArray[np.int64]
) -> list[Matrix]:
    """Return the similarities of some rows to their nearest, by each of several formulas.

    Args:
        task: Comparison with the weighting of all of the formulas.
        formulas: F formulas that differ in penalty and shrinkage.
        rows: (N,) rows of `task.left`.

    Returns:
        F matrices of (N, M) sparse float32.
    """
    tasks = [replace(task, formula=formula) for formula in formulas]
    parts: list[list[Matrix]] = [[] for _ in tasks]
    columns = task.right.shape[1]
    work = np.minimum(row_products(task.left, task.right)[rows], columns)
    for start, stop in row_runs(cumulative(work), block_cells(task.right)):
        # The products are the same by all formulas, and are not kept: few of them are in memory at a time.
        products = task.left[rows[start:stop]] @ task.right
        for each, found in zip(tasks, parts, strict=True):
            similarities = sparse_similarities(each, products, rows[start:stop])
            near = sparse.csr_matrix((similarities, products.indices, products.indptr), products.shape)
            found.append(topk_sparse(near, each.formula.neighbours))
    return [stack_rows(found, columns) for found in parts]


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
    entries = np.minimum(column_products(kept)[videos], kept.shape[1])
    limit = max(FEWEST_ENTRIES, kept.nnz)
    return np.sort(videos[np.cumsum(entries) <= limit]).astype(np.int64)
