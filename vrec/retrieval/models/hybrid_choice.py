"""Choice between a blend of recommenders, a constrained blend and a single one, on a validation part."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.retrieval.config import BlendConfig
from vrec.retrieval.deadline import TimeCheck, checked, no_limit
from vrec.retrieval.holdout import ValidationPart
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.models.hybrid_weights import (
    Weights,
    collect_choices,
    equal_weights,
    fit_blend_weights,
    sum_features,
    user_weights,
)
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import Scores
from vrec.retrieval.validation import block_ndcg, validation_blocks

BLEND, NON_NEGATIVE = "blend", "non-negative blend"
"""Names of the two blends with learned weights among the candidates."""

FEATURE_CELLS = 1_000_000
"""Scores of each feature that are in memory at once."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BlendChoice:
    """Best way to combine the members of a panel."""

    name: str
    """Name of the candidate."""
    members: tuple[str, ...]
    """Names of the members that it uses, in the panel's order."""
    weights: Weights
    """(2, features) weights of the blend; equal ones for a single member, which needs none."""
    scores: dict[str, float]
    """Mean validation NDCG@10 of each candidate by its name."""

    @property
    def single(self) -> str | None:
        """Name of the member that is used alone, None for a blend."""
        return self.members[0] if self.name == self.members[0] else None

    @property
    def blends(self) -> dict[str, float]:
        """`scores` of the candidates that are blends."""
        return {name: score for name, score in self.scores.items() if "blend" in name.split()}


def single_scores(panel: ScorePanel, name: str, part: ValidationPart, check: TimeCheck = no_limit) -> Floats:
    """Return the (users,) NDCG@10 of one member, its lists filled up with popular videos.

    Args:
        panel: Members fitted on `part.train`.
        name: Name of the member.
        part: The validation part.
        check: Check of the time, after each block of users.
    """
    values = [np.empty(0)]
    for block in checked(validation_blocks(part), check):
        before = part.before.rows(block)
        scores = panel.member_scores(name, before, part.users.take(pa.array(block)))
        values.append(block_ndcg(fill_with_popular(scores, panel.support), before, part.after.rows(block)))
    return np.concatenate(values)


def fill_with_popular(scores: Scores, support: npt.NDArray[np.int64]) -> Scores:
    """Put the videos without a score below all others, by number of users, in place; return the same array.

    Args:
        scores: (B, videos) float32, −inf for no opinion.
        support: (videos,) number of users of each video; videos without any keep −inf.
    """
    missing = ~np.isfinite(scores)
    if missing.any():
        known = np.where(missing, np.float32(np.inf), scores).min(axis=1)
        lowest = np.where(np.isfinite(known), known, 0).astype(np.float32)
        # A share below 1 of a step that is large enough to be seen beside the lowest score.
        share = (support / (support.max(initial=0) + 1) - 1).astype(np.float32)
        step = np.maximum(np.abs(lowest), 1)
        below = np.where(support > 0, lowest[:, None] + step[:, None] * (share - np.float32(1e-3)), -np.inf)
        np.copyto(scores, below.astype(np.float32), where=missing)
    return scores


def choose_blend(
    panel: ScorePanel,
    part: ValidationPart,
    config: BlendConfig,
    *,
    singles: dict[str, float] | None = None,
    fallback: bool = True,
    surely: bool = True,
) -> BlendChoice:
    """Choose the best member, or the best of the blends that are surely above it, by mean NDCG@10.

    Surely above is a blend whose lead, paired over the validation users, exceeds the lead's standard error:
    one of several blends is easily ahead by less, and as easily behind on other data.

    The weights that score a user are learned from the other half of the validation users, so that a blend is
    not judged by what it was learned from; those of the choice are learned from all of them.

    Args:
        panel: Members fitted on `part.train`.
        part: The validation part.
        config: Settings of the learning.
        singles: Mean NDCG@10 of the members by name, where known already.
        fallback: Whether anything but BLEND may be chosen.
        surely: Whether a blend must be surely above the best member; otherwise any lead suffices.
    """
    scores = dict(singles or {})
    for name in panel.members:
        if name not in scores:
            scores[name] = float(single_scores(panel, name, part).mean())
    members = tuple(panel.members)
    initial = equal_weights(len(panel.features), len(members))
    if len(members) == 1 and fallback:
        return BlendChoice(members[0], members, initial, scores)
    equal = _equal_blends(panel, scores) if fallback else {}
    fixed = {name: _equal_weights_of(panel, among) for name, among in equal.items()}
    choices = collect_choices(panel, part.before, part.after, part.users, config)
    free = np.array([name != "cold" for name in panel.features])
    learn = {BLEND: None, NON_NEGATIVE: free}
    halves = np.random.default_rng(config.seed).permutation(part.before.users) % 2 == 0
    by_user = {name: user_weights(weights, part.before) for name, weights in fixed.items()} | {
        name: _cross_fit(
            halves,
            lambda users, only=only: fit_blend_weights(choices.select(users), config.ridge, initial, only),
            part.before,
            initial,
        )
        for name, only in learn.items()
    }
    blends = _blend_ndcg(panel, part, by_user)
    scores |= {name: float(values.mean()) for name, values in blends.items()}
    best = BLEND
    if fallback:
        single = max(members, key=lambda name: scores[name])
        alone = single_scores(panel, single, part)
        sure = [name for name, values in blends.items() if not surely or _is_surely_above(values, alone)]
        best = max([single, *sure], key=lambda name: scores[name])
    if best in learn:
        return BlendChoice(
            best, members, fit_blend_weights(choices, config.ridge, initial, learn[best]), scores
        )
    return BlendChoice(best, equal.get(best, (best,)), fixed.get(best, initial), scores)


def _is_surely_above(values: Floats, others: Floats) -> bool:
    lead = values - others
    return lead.mean() > lead.std() / np.sqrt(len(lead))


def _equal_blends(panel: ScorePanel, scores: dict[str, float]) -> dict[str, tuple[str, ...]]:
    """Return the members of each blend with equal weights: the best two, the best three, and so on."""
    ranked = sorted(panel.members, key=lambda name: -scores[name])
    return {
        f"equal blend of {count}": tuple(name for name in panel.members if name in ranked[:count])
        for count in range(2, len(ranked) + 1)
    }


def _equal_weights_of(panel: ScorePanel, members: tuple[str, ...]) -> Weights:
    weights = np.zeros((2, len(panel.features)))
    weights[0] = [name in members for name in panel.features]
    return weights


def _cross_fit(
    halves: npt.NDArray[np.bool_],
    learn: Callable[[npt.NDArray[np.bool_]], Weights],
    histories: InteractionMatrix,
    initial: Weights,
) -> npt.NDArray[np.float32]:
    """Return the (users, features) weights of each user, learned from the other half."""
    weights = np.zeros((len(halves), initial.shape[1]), np.float32)
    for half in (halves, ~halves):
        rows = np.flatnonzero(half)
        learned = initial if half.all() else learn(~half)
        weights[rows] = user_weights(learned, histories.rows(rows))
    return weights


def _blend_ndcg(
    panel: ScorePanel, part: ValidationPart, weights: dict[str, npt.NDArray[np.float32]]
) -> dict[str, Floats]:
    values: dict[str, list[Floats]] = {name: [np.empty(0)] for name in weights}
    for block in validation_blocks(part, FEATURE_CELLS):
        before, after = part.before.rows(block), part.after.rows(block)
        features = list(panel.rows(before, part.users.take(pa.array(block))))
        for name, by_user in weights.items():
            scores = sum_features(features, by_user[block], len(panel.members))
            values[name].append(block_ndcg(scores, before, after))
    return {name: np.concatenate(found) for name, found in values.items()}
