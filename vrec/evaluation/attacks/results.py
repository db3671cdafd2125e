"""Success of an attack, with its interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import rankdata, t

from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix

Floats = npt.NDArray[np.float64]
FitModel = Callable[[pa.Table], MatrixRecommender]
"""Function that fits the attacked recommender on INTERACTIONS, each time with noise of its own."""


@dataclass(frozen=True, slots=True)
class AttackResult:
    """AUC of an attack."""

    name: str
    auc: float
    """Probability with which a true case scores above a false one; .5 is chance."""
    low: float
    """Ends of the 95 % interval."""
    high: float
    trials: int
    """Independent trials that the interval is over: targets of an attack, or shoppers."""


def attack_auc(truth: npt.NDArray[np.bool_], scores: Floats) -> float:
    """Return the AUC of (N,) scores, ties counting half; NaN where all cases are true, or none is."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def summarize_trials(name: str, aucs: Floats) -> AttackResult:
    """Return the mean of (N,) AUCs of independent trials with Student's interval; NaNs are left out."""
    known = aucs[~np.isnan(aucs)]
    mean = float(known.mean()) if len(known) else float("nan")
    if len(known) < 2:
        return AttackResult(name, mean, 0.0, 1.0, len(known))
    half = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return AttackResult(name, mean, max(mean - half, 0.0), min(mean + half, 1.0), len(known))


def association_matrix(model: MatrixRecommender) -> Floats:
    """Return (videos, videos) float64 scores of each video for somebody who watched one video only.

    This is what item neighbors are made of, and all that an attacker gets to see of a model here. What has no
    score counts 0.
    """
    count = len(model.videos)
    found = np.empty((count, count))
    for start in range(0, count, 256):
        rows = np.arange(start, min(start + 256, count))
        ones: Matrix = Matrix(
            (np.ones(len(rows), np.float32), (np.arange(len(rows)), rows)), (len(rows), count)
        )
        alone = InteractionMatrix(ones, np.zeros(len(rows), np.int64))
        scores = model.score_block(alone, np.full(len(rows), -1)).astype(np.float64)
        found[rows] = np.where(np.isfinite(scores), scores, 0.0)
    np.fill_diagonal(found, 0.0)
    return found
