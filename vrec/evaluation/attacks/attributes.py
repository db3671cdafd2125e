"""Inference of an attribute, such as the gender, from the vectors that profiles of shoppers hold."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vrec.core.errors import EvaluationError
from vrec.evaluation.attacks.results import AttackResult, attack_auc

Floats = npt.NDArray[np.float64]


def attribute_inference(
    name: str, vectors: Floats, truth: npt.NDArray[np.bool_], rng: np.random.Generator, draws: int = 500
) -> AttackResult:
    """Return how well a logistic regression tells an attribute of shoppers by their vectors.

    Each shopper is scored by a regression that was fitted on others, in 5 folds. The interval is that of a
    bootstrap over shoppers.

    Args:
        name: Name of the attribute.
        vectors: (N, D) vectors of the shoppers.
        truth: (N,) whether a shopper has the attribute.
        rng: Source of folds and draws.
        draws: Draws of the bootstrap.

    Raises:
        EvaluationError: Fewer than 5 shoppers have the attribute, or lack it.
    """
    if min(truth.sum(), (~truth).sum()) < 5:
        raise EvaluationError(
            f"{name}: {int(truth.sum())} of {len(truth)} shoppers have it",
            fix="give an attribute that at least 5 shoppers have and 5 lack",
        )
    folds = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    scores = np.asarray(cross_val_predict(regression, vectors, truth, cv=folds, method="decision_function"))
    samples = rng.integers(len(truth), size=(draws, len(truth)))
    drawn = np.array([attack_auc(truth[sample], scores[sample]) for sample in samples])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return AttackResult(f"attribute {name}", attack_auc(truth, scores), float(low), float(high), len(truth))
