"""Interactions held out of a fit, by which settings, epochs and blends are chosen."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.retrieval.interaction_matrix import (
    IdVocabulary,
    Indices,
    InteractionMatrix,
    Matrix,
    to_interactions,
)

HoldoutKind = Literal["time", "last", "random"]

Mask = npt.NDArray[np.bool_]

FEWEST_DRAWN = 1000
"""Validation users below which it does not matter that they are more than half of all."""


@dataclass(frozen=True)
class Holdout:
    """Interactions held out from some users of a matrix, and the matrix without them."""

    kept: InteractionMatrix
    """(all users, videos) histories without the interactions held out."""
    users: Indices
    """(N,) rows of the users from whom some were held out, ascending."""
    held_out: Matrix
    """(N, videos) the interactions held out; no row is empty."""

    def before(self, rows: Indices) -> InteractionMatrix:
        """Return the (B, videos) kept histories of the users at some places of `users`."""
        return self.kept.rows(self.users[rows])


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
        max_users: Most validation users; of more, as many are drawn at random. Except by time, they are half
            of the users at most where that leaves FEWEST_DRAWN, and nothing is held out of the others.
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
    if chosen != "time":
        # The others keep everything: models rank differently on fewer interactions.
        max_users = min(max_users, max(FEWEST_DRAWN, len(both) // 2))
    if len(both) > max_users:
        both = _draw(both, max_users, np.random.default_rng(seed))
        if chosen != "time":
            mask &= _of_users(histories, both)
    before, after = histories.select_entries(~mask), histories.select_entries(mask)
    train = to_interactions(histories, users, videos).filter(pa.array(~mask))
    return ValidationPart(chosen, train, before.rows(both), after.rows(both), users.names(both))


def _users_on_both_sides(histories: InteractionMatrix, mask: Mask) -> npt.NDArray[np.int64]:
    held = histories.select_entries(mask).weights.indptr
    counts = np.diff(histories.weights.indptr)
    late = np.diff(held)
    return np.flatnonzero((late > 0) & (late < counts))


def hold_out_random(histories: InteractionMatrix, users: int, seed: int, share: float = 0.1) -> Holdout:
    """Hold out a random share of the videos, but at least one, of some users who have two or more.

    Args:
        histories: Histories of all users.
        users: Maximum number of users, drawn at random.
        seed: Seed of both draws.
        share: Share of a history, rounded down.
    """
    counts = np.diff(histories.weights.indptr)
    rng = np.random.default_rng(seed)
    drawn = _draw(np.flatnonzero(counts > 1), users, rng)
    rows = np.repeat(np.arange(histories.users), counts)
    # In each row, the entries in random order.
    order = np.lexsort((rng.random(len(rows)), rows))
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows)) - histories.weights.indptr[rows]
    return _split(histories, drawn, place < np.maximum(1, (share * counts).astype(np.int64))[rows])


def hold_out_newest(
    histories: InteractionMatrix, users: int, least: int, share: float, rng: np.random.Generator
) -> Holdout:
    """Hold out the newest share of the videos, rounded up, of some users.

    Args:
        histories: Histories of all users.
        users: Maximum number of users, drawn at random.
        least: Fewest videos of a user who may be drawn.
        share: Share of a history.
        rng: Generator of the draw.
    """
    counts = np.diff(histories.weights.indptr)
    drawn = _draw(np.flatnonzero(counts >= least), users, rng)
    rows = np.repeat(np.arange(histories.users), counts)
    return _split(histories, drawn, histories.newer_counts < np.ceil(share * counts)[rows])


def _draw(among: Indices, count: int, rng: np.random.Generator) -> Indices:
    return np.sort(rng.choice(among, min(count, len(among)), replace=False))


def _split(histories: InteractionMatrix, users: Indices, mask: Mask) -> Holdout:
    # Holds out the entries of a (nnz,) mask that belong to some users.
    mask = mask & _of_users(histories, users)
    held_out = histories.select_entries(mask).rows(users).weights
    return Holdout(histories.select_entries(~mask), users, held_out)


def _of_users(histories: InteractionMatrix, users: Indices) -> Mask:
    drawn = np.zeros(histories.users, bool)
    drawn[users] = True
    return np.repeat(drawn, np.diff(histories.weights.indptr))
