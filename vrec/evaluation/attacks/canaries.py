"""Canaries: planted shoppers, half of whom are in a fit, and the ε that guessing which proves."""

from dataclasses import dataclass
from math import exp

import numpy as np
import pyarrow as pa
from scipy.optimize import brentq
from scipy.stats import binom

from vrec.core.compute import pc
from vrec.core.schema import INTERACTIONS
from vrec.evaluation.attacks.results import FitModel, association_matrix
from vrec.retrieval.interaction_matrix import IdVocabulary


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """Guesses about planted shoppers."""

    guesses: int
    correct: int
    epsilon: float
    """Lower bound of ε that these guesses prove with 95 % confidence."""


def plant_canaries(
    fit: FitModel, interactions: pa.Table, canaries: int, rng: np.random.Generator, shadows: int = 1
) -> CanaryResult:
    """Return how well somebody who knows all other shoppers guesses which canaries are in one fit.

    A canary watches two of the most watched videos, no two canaries the same one. The attacker compares the
    association of the two videos with that in fits without canaries, takes the third that rose most for
    members and the third that rose least for others (Steinke, Nasr and Jagielski 2023, "Privacy auditing with
    one training run").

    Args:
        fit: Fit of the attacked recommender.
        interactions: INTERACTIONS of all other shoppers.
        canaries: Number of canaries, at most half of the videos.
        rng: Source of pairs and of who is in the fit.
        shadows: Fits without canaries, over which the attacker averages.
    """
    counted = interactions.group_by("video_id").aggregate([("user_id", "count_distinct")])
    order = [("user_id_count_distinct", "descending"), ("video_id", "ascending")]
    frequent = counted.sort_by(order)["video_id"].to_pylist()
    canaries = min(canaries, len(frequent) // 2)
    pairs = rng.permutation(np.array(frequent[: 2 * canaries], dtype=object)).reshape(canaries, 2)
    inside = rng.random(canaries) < 0.5
    at = pc.max(interactions["at"])
    planted = [(f"canary-{n}", str(v), 1.0, at.as_py()) for n in np.flatnonzero(inside) for v in pairs[n]]
    columns = (
        [
            pa.array(list(column), field.type)
            for column, field in zip(zip(*planted, strict=True), INTERACTIONS.arrow(), strict=True)
        ]
        if planted
        else []
    )
    added = (
        pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow()) if planted else interactions.slice(0, 0)
    )
    target = _pair_scores(fit, pa.concat_tables([interactions, added]), pairs)
    expected = np.mean([_pair_scores(fit, interactions, pairs) for _ in range(shadows)], axis=0)
    ranked = np.argsort(target - expected, kind="stable")
    third = max(canaries // 3, 1)
    correct = int(inside[ranked[-third:]].sum() + (~inside[ranked[:third]]).sum())
    return CanaryResult(2 * third, correct, epsilon_of_guesses(2 * third, correct))


def epsilon_of_guesses(guesses: int, correct: int, confidence: float = 0.95) -> float:
    """Return the ε that a number of correct guesses proves; 0 where it proves none.

    With an ε-private fit the number is at most binomial, with a probability of e^ε / (1 + e^ε) each.
    """

    def surprise(epsilon: float) -> float:
        return float(binom.sf(correct - 1, guesses, 1 / (1 + exp(-epsilon)))) - (1 - confidence)

    if surprise(0.0) >= 0:
        return 0.0
    return float(brentq(surprise, 0.0, 50.0))


def _pair_scores(fit: FitModel, interactions: pa.Table, pairs: np.ndarray) -> np.ndarray:
    model = fit(interactions)
    names: IdVocabulary = model.videos
    associations = association_matrix(model)
    first, second = (names.find(pa.array(side.tolist(), pa.string())) for side in pairs.T)
    known = (first >= 0) & (second >= 0)
    return np.where(known, associations[first, second] + associations[second, first], 0.0)
