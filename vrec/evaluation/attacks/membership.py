"""Membership inference: was a shopper, whose history is known, among those of the fit?"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.evaluation.attacks.results import (
    AttackResult,
    FitModel,
    association_matrix,
    attack_auc,
    summarize_trials,
)
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix

Floats = npt.NDArray[np.float64]


def membership_inference(
    fit: FitModel, interactions: pa.Table, models: int, rng: np.random.Generator
) -> list[AttackResult]:
    """Return the success of two attacks on models that are each fitted on a random half of the shoppers.

    See `infer_members`; a history is explained well if its pairs of videos are associated in the model.

    Args:
        fit: Fit of the attacked recommender.
        interactions: INTERACTIONS of all shoppers.
        models: Number of models, at least 4.
        rng: Source of the halves.
    """
    users = IdVocabulary.from_columns(interactions.column("user_id"))
    rows = users.find(interactions.column("user_id"))
    inside = draw_members(models, len(users), rng)
    fits = np.empty((models, len(users)))
    for number in range(models):
        part = interactions.filter(pa.array(inside[number][rows]))
        fits[number] = explained(fit(part), interactions, users)
    return infer_members(fits, inside)


def draw_members(models: int, users: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return (models, users) whether each shopper is in the fit of each model, with probability 1/2."""
    # Independent: in a balanced design the number of shadow models of each kind would tell the answer.
    return rng.random((models, users)) < 0.5


def infer_members(fits: Floats, inside: npt.NDArray[np.bool_]) -> list[AttackResult]:
    """Return the success of two attacks that see how well each model explains each shopper.

    The loss attack takes a shopper for a member if the model explains her well. The likelihood-ratio attack
    compares with how well models with and without this shopper explain her, all others being shadow models
    (Carlini et al. 2022, "Membership inference attacks from first principles"). Each model is the target
    once.

    Args:
        fits: (models, users) higher where a model explains a shopper better, such as the negative loss.
        inside: (models, users) from `draw_members`.
    """
    count = range(len(fits))
    loss = np.array([attack_auc(inside[n], fits[n]) for n in count])
    ratio = np.array([attack_auc(inside[n], _likelihood_ratio(fits, inside, n)) for n in count])
    return [
        summarize_trials("membership, loss", loss),
        summarize_trials("membership, likelihood ratio", ratio),
    ]


def explained(model: MatrixRecommender, interactions: pa.Table, users: IdVocabulary) -> Floats:
    """Return (users,) means over the pairs of videos of a history, of a pair's association in the model."""
    known = interactions.filter(pc.is_in(interactions.column("video_id"), value_set=model.videos.ids))
    watched = build_interaction_matrix(known, users, model.videos).weights.astype(bool).astype(np.float64)
    pairs = association_matrix(model)
    # In units of what a video has with all others, so that frequent videos do not outweigh the rest.
    scale = np.sqrt((pairs**2).mean(axis=0)) + 1e-12
    scale = np.sqrt(scale[:, None] * scale)
    own = np.asarray((watched @ (pairs / scale) * watched.toarray()).sum(axis=1)).ravel()
    counts = np.asarray(watched.sum(axis=1)).ravel()
    return own / np.maximum(counts * (counts - 1), 1)


def _likelihood_ratio(fits: Floats, inside: npt.NDArray[np.bool_], target: int) -> Floats:
    """Return the (users,) log ratios of normal densities, fitted on all models but the target."""
    others = np.arange(len(fits)) != target
    members, values = inside[others], fits[others]
    counts = members.sum(axis=0), (~members).sum(axis=0)
    means = [
        np.where(part, values, 0).sum(axis=0) / np.maximum(count, 1)
        for part, count in zip((members, ~members), counts, strict=True)
    ]
    residuals = values - np.where(members, means[0], means[1])
    # One variance for both: a handful of models says little about two. Far above rounding.
    variance = (residuals**2).sum(axis=0) / max(len(values) - 2, 1)
    variance = np.maximum(variance, (1e-6 * np.abs(values).max(axis=0)) ** 2) + 1e-300
    ratio = ((fits[target] - means[1]) ** 2 - (fits[target] - means[0]) ** 2) / variance
    return np.where((counts[0] > 0) & (counts[1] > 0), np.round(ratio, 6), 0.0)
