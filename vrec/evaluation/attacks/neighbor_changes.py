"""Reconstruction of what a shopper has watched lately, from changes of item neighbors between two models."""

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.evaluation.attacks.results import (
    AttackResult,
    FitModel,
    Floats,
    association_matrix,
    attack_auc,
    summarize_trials,
)
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix


def neighbor_changes(
    fit: FitModel, interactions: pa.Table, targets: int, rng: np.random.Generator, new_videos: int = 1
) -> AttackResult:
    """Return the success of guessing the targets' new videos (Calandrino et al. 2011).

    Between two fits the targets alone watch something new: their last videos. The attacker knows the rest of
    a target's history, and looks for videos whose association with many of these rose at once ("You might
    also like: privacy risks of collaborative filtering"). The AUC is over the videos that the target may have
    watched; each target is a trial.

    Args:
        fit: Fit of the attacked recommender.
        interactions: INTERACTIONS of all shoppers.
        targets: Number of shoppers who are attacked, at most.
        rng: Source of the choice of targets.
        new_videos: Videos of a target that only the second fit has.
    """
    users = IdVocabulary.from_columns(interactions.column("user_id"))
    videos = IdVocabulary.from_columns(interactions.column("video_id"))
    watched = build_interaction_matrix(interactions, users, videos)
    starts, ordered = watched.by_time
    long_enough = np.flatnonzero(np.diff(starts) >= 5 * new_videos + 5)
    chosen = rng.permutation(long_enough)[:targets]
    last = {int(row): ordered[starts[row + 1] - new_videos : starts[row + 1]] for row in chosen}
    rows, columns = users.find(interactions["user_id"]), videos.find(interactions["video_id"])
    new = np.zeros(len(rows), bool)
    for row, own in last.items():
        new |= (rows == row) & np.isin(columns, own)
    before = fit(interactions.filter(pa.array(~new)))
    after = fit(interactions)
    shared = pc.filter(before.videos.ids, pc.is_in(before.videos.ids, value_set=after.videos.ids))
    change = _of(after, shared) - _of(before, shared)
    change /= np.sqrt((change**2).mean(axis=0)) + 1e-12
    names = IdVocabulary(shared)
    at = names.find(videos.ids)
    aucs = []
    for row, own in last.items():
        history = at[ordered[starts[row] : starts[row + 1]]]
        known = np.setdiff1d(history, at[own])
        known, truth = known[known >= 0], np.zeros(len(names), bool)
        truth[at[own][at[own] >= 0]] = True
        candidates = np.setdiff1d(np.arange(len(names)), known)
        # A vote per known video, as far as its association with the candidate moved.
        votes = (np.sign(change[known]) * np.minimum(np.abs(change[known]), 3)).sum(axis=0)
        aucs.append(attack_auc(truth[candidates], votes[candidates]))
    return summarize_trials("reconstruction from neighbor changes", np.array(aucs))


def _of(model: MatrixRecommender, names: pa.Array) -> Floats:
    at = model.videos.find(names)
    return association_matrix(model)[np.ix_(at, at)]
