"""Validation part of a fit: interactions held out of it by time, by order or at random."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, to_interactions

HoldoutKind = Literal["time", "last", "random"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ValidationPart:
    """Held-out interactions of some users, and what everyone did before them."""

    kind: HoldoutKind
    """Way in which they were held out."""
    train: pa.Table
    """INTERACTIONS of all users that are not held out."""
    before: InteractionMatrix
    """(users, videos) histories of the validation users without what is held out; none is empty."""
    after: InteractionMatrix
    """(users, videos) their held-out interactions; none is empty."""
    users: pa.Array
    """(users,) ids."""

    def select(self, rows: npt.NDArray[np.int64]) -> Self:
        """Return the part with only the validation users in some rows."""
        return type(self)(
            self.kind,
            self.train,
            self.before.rows(rows),
            self.after.rows(rows),
            self.users.take(pa.array(rows)),
        )


def suitable_holdout(histories: InteractionMatrix) -> HoldoutKind:
    """Return the way of holding out that the times of the interactions allow.

    `random` where most users with several videos have all of them at one moment: there is no order. `last`
    where most users have their last video at the same moment, as in data that have an order and no times.
    `time` otherwise.
    """
    counts = np.diff(histories.weights.indptr)
    if not (counts > 1).any():
        return "random"
    several = np.repeat(counts > 1, counts)
    at = histories.at[several]
    begins = np.concatenate([[0], np.cumsum(counts[counts > 1])[:-1]])
    first, last = np.minimum.reduceat(at, begins), np.maximum.reduceat(at, begins)
    if np.mean(first == last) > 0.5:
        return "random"
    same = np.unique(last, return_counts=True)[1].max()
    return "last" if same > 0.5 * len(last) else "time"


def held_out_entries(histories: InteractionMatrix, kind: HoldoutKind, share: float, seed: int) -> Mask:
    """Return the (nnz,) mask of the interactions to hold out.

    Args:
        histories: All interactions.
        kind: `time` holds out what all users watched after one moment, `last` the last videos of each user,
            `random` random ones of each user.
        share: Share of the interactions. Of users it is rounded up, and one video always stays.
        seed: Seed of the random choice.
    """
    if kind == "time":
        if not len(histories.at):
            return np.zeros(0, bool)
        return histories.at >= np.quantile(histories.at, 1 - share, method="higher")
    if kind == "random":
        at = np.random.default_rng(seed).permutation(len(histories.at))
        histories = InteractionMatrix(histories.weights, at)
    counts = np.diff(histories.weights.indptr)
    earlier = np.minimum(np.floor(counts * (1 - share)), counts - 1)
    enough = np.repeat(counts > 1, counts)
    return (histories.newer_counts < np.repeat(counts - earlier, counts)) & enough


def hold_out(
    histories: InteractionMatrix,
    users: IdVocabulary,
    videos: IdVocabulary,
    *,
    kind: HoldoutKind | Literal["auto"],
    share: float,
    least_users: int,
    max_users: int,
    seed: int,
) -> ValidationPart | None:
    """Split interactions into a part to fit on and a validation part; None where too few users have both.

    Args:
        histories: (users, videos) all interactions.
        users: Ids of the rows.
        videos: Ids of the columns.
        kind: Way of holding out; `auto` takes `suitable_holdout`, or `last` where a moment in time leaves too
            few users on both sides of it.
        share: Share of the interactions to hold out.
        least_users: Fewest validation users.
        max_users: Most validation users; of more, as many are drawn at random.
        seed: Seed of the draws.
    """
    chosen = suitable_holdout(histories) if kind == "auto" else kind
    mask = held_out_entries(histories, chosen, share, seed)
    both = _users_on_both_sides(histories, mask)
    if kind == "auto" and chosen == "time" and len(both) < least_users:
        chosen = "last"
        mask = held_out_entries(histories, chosen, share, seed)
        both = _users_on_both_sides(histories, mask)
    if len(both) < max(1, least_users):
        return None
    if len(both) > max_users:
        both = np.sort(np.random.default_rng(seed).choice(both, max_users, replace=False))
    before, after = histories.select_entries(~mask), histories.select_entries(mask)
    train = to_interactions(histories, users, videos).filter(pa.array(~mask))
    return ValidationPart(chosen, train, before.rows(both), after.rows(both), users.names(both))


def _users_on_both_sides(histories: InteractionMatrix, mask: Mask) -> npt.NDArray[np.int64]:
    held = histories.select_entries(mask).weights.indptr
    counts = np.diff(histories.weights.indptr)
    late = np.diff(held)
    return np.flatnonzero((late > 0) & (late < counts))
