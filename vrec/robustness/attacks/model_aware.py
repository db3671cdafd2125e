"""Model-aware attacks: profiles that are optimised against a model of the recommender.

Fillers are chosen one by one, each the one with which the target enters most lists of real shoppers by a
surrogate in closed form. Such attacks on top-N lists are those of Fang, Yang, Gong and Liu (2018, "Poisoning
attacks to graph-based recommender systems", ACSAC) and Fang, Gong and Liu (2020, "Influence function based
data poisoning attacks to top-N recommender systems", WWW), who optimise by gradients and influence functions,
and of Huang, Mu, Gong, Li, Liu and Xu (2021, "Data poisoning attacks to deep learning based recommender
systems", NDSS). The greedy search here is our own.
"""

from collections.abc import Mapping

import numpy as np
from scipy import sparse
from scipy.special import expit

from vrec.robustness.attacks.profiles import SHILLING, AttackPlan, FakeProfiles
from vrec.robustness.attacks.surrogates import Surrogate, SurrogateEase, SurrogateFactors, SurrogateKnn
from vrec.robustness.watched import Floats, Ints

SURROGATES = {"item_knn": SurrogateKnn, "ease": SurrogateEase, "factors": SurrogateFactors}
"""Surrogates by name."""
MODEL_AWARE: Mapping[str, str] = {f"aware_{name}": name for name in SURROGATES}
"""Name of the surrogate of each model-aware attack."""
ATTACKS = (*SHILLING, *MODEL_AWARE)
"""Names of all attacks by fake shoppers."""

LIST_LENGTH = 10
"""Length of the lists that the target is to enter."""
GROUPS = 4
"""Groups of accounts with profiles of their own, so that the profiles are not all the same."""
KEPT_SHARE = 0.8
"""Share of a group's fillers that each of its accounts has."""
MOST_FILLERS = 24
MOST_CANDIDATES = 120
"""Fillers looked at per group, drawn in proportion to their shoppers."""
MOST_SHOPPERS = 600
"""Real shoppers of a group's objective."""


def plan_attack(name: str, plan: AttackPlan) -> FakeProfiles:
    """Return the profiles of one of ATTACKS."""
    return SHILLING[name](plan) if name in SHILLING else model_aware_attack(plan, MODEL_AWARE[name])


def model_aware_attack(plan: AttackPlan, surrogate: str) -> FakeProfiles:
    """Return profiles that bring the target into as many lists as they can, by one of SURROGATES.

    The attacker knows the whole log, the worst case.
    """
    watched, target = _with_target(plan)
    model = SURROGATES[surrogate].fit(watched, target)
    places = min(LIST_LENGTH, watched.shape[1])
    clean = model.clean_scores() - 1e9 * watched.toarray()
    bars = -np.partition(-clean, places - 1, axis=1)[:, places - 1]
    groups = min(GROUPS, plan.accounts)
    fillers: list[Ints] = []
    for accounts in np.array_split(np.arange(plan.accounts), groups):
        chosen = _greedy(plan, model, target, bars, copies=len(accounts))
        kept = max(1, round(KEPT_SHARE * len(chosen)))
        fillers += [plan.rng.permutation(chosen)[:kept] for _ in accounts]
    return FakeProfiles(plan.target, tuple(fillers))


def _with_target(plan: AttackPlan) -> tuple[sparse.csr_matrix, int]:
    """Return the log's matrix with a column for the target, and that column."""
    matrix, column = plan.log.matrix, plan.log.column(plan.target)
    if column is not None:
        return matrix, column
    nothing = sparse.csr_matrix((matrix.shape[0], 1))
    return sparse.csr_matrix(sparse.hstack([matrix, nothing])), matrix.shape[1]


def _greedy(plan: AttackPlan, model: Surrogate, target: int, bars: Floats, *, copies: int) -> Ints:
    """Return the fillers of one group of accounts."""
    rng = plan.rng
    size = min(int(np.median(plan.log.lengths)) + 1, MOST_FILLERS)
    candidates = plan.draw(MOST_CANDIDATES, plan.others() * plan.log.counts)
    someone = rng.permutation(len(bars))[:MOST_SHOPPERS]
    width = max(float(bars[someone].std()), 1e-6) / 4
    chosen = np.empty(0, np.int64)
    for _ in range(min(size, len(candidates))):
        scores = model.target_scores(chosen, candidates, copies)[someone]
        gains = expit((scores - bars[someone, None]) / width).mean(axis=0)
        best = int(np.argmax(gains))
        chosen = np.append(chosen, candidates[best])
        candidates = np.delete(candidates, best)
    return chosen
