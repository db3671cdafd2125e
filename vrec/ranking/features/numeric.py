"""Numeric features of users, candidates and histories at a moment, before scaling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from vrec.core.errors import RankError
from vrec.profiles.user import HOUR_US, INTERESTS, TASTE_WEIGHT
from vrec.ranking.features.arrays import Indices, RankingRequest
from vrec.ranking.features.catalog import NEVER, CatalogFeatures, unit_vectors
from vrec.ranking.features.space import BLOCKS, FeatureSpace
from vrec.ranking.features.video_counts import (
    RATES,
    USER_RATES,
    VIDEO_COUNT_KEYS,
    Doubles,
    log_odds,
    mean_seconds,
    profile_counts,
)

OPTIONAL = frozenset({
    "user.log_idle_hours", "candidate.log_age_hours", "candidate.taste_cosine", "candidate.liked_cosine_max",
    "candidate.liked_cosine_mean", "candidate.log_liked_hours",
})  # fmt: skip
"""Numbers that may be missing (NaN)."""
_LOG_USER_COUNTS = {
    f"log_{kind}": VIDEO_COUNT_KEYS.index(f"event:{kind}")
    for kind in ("impression", "click", "watch", "like", "cart", "purchase")
}
"""Place of the count by the column with its logarithm, for users."""
_LOG_VIDEO_COUNTS = {
    "log_impressions": _LOG_USER_COUNTS["log_impression"],
    "log_clicks": _LOG_USER_COUNTS["log_click"],
    "log_watches": _LOG_USER_COUNTS["log_watch"],
}
"""The same for videos."""


@dataclass(frozen=True, slots=True)
class LikedHistory:
    """History of a user up to a moment: an entry per video, by when it was liked last, newest first."""

    at: dict[str, int]
    """Time of the last like in µs since 1970, by video_id."""
    weights: dict[str, float]
    """Largest weight of the likes, by video_id."""


def user_numbers(
    space: FeatureSpace,
    requests: Sequence[RankingRequest],
    liked: Sequence[LikedHistory],
    moments: npt.NDArray[np.int64],
    tastes: Doubles,
) -> dict[str, Doubles]:
    """Return (R,) columns about each user, except `no_liked_vector`.

    Args:
        space: Priors and mean seconds of users.
        requests: R requests.
        liked: Their histories.
        moments: (R,) int64 times in µs since 1970.
        tastes: (R, dim) taste vectors, zeros for none.

    Raises:
        RankError: a count is negative or not finite.
    """
    counts = np.ascontiguousarray(user_counts(requests).T)
    columns = {
        f"{r.name}_rate": v for r, v in zip(USER_RATES, log_odds(counts, space.user_priors), strict=True)
    }
    columns |= zip(_LOG_USER_COUNTS, np.log1p(counts[list(_LOG_USER_COUNTS.values())]), strict=True)
    seconds = mean_seconds(counts, float(space.seconds[1]), space.config.watch_strength)
    last = np.array([r.user.seen[-1][0] if r.user.seen else NEVER for r in requests], np.int64)
    sizes = np.array([len(one.at) for one in liked], np.float64)
    columns["log_watch_s"], columns["log_history"] = np.log1p(np.array([seconds, sizes]))
    return columns | {
        "log_idle_hours": _hours_since(last, moments),
        "no_event": (last == NEVER).astype(float),
        "no_history": (sizes == 0).astype(float),
        "no_taste": (~tastes.any(axis=1)).astype(float),
    }


def taste_vectors(space: FeatureSpace, requests: Sequence[RankingRequest]) -> Doubles:
    """Return (R, dim) unit taste vectors of the users with the mean content vector subtracted, or zeros."""
    dim, mean = space.dim, space.mean.astype(np.float64)
    tastes = np.zeros((len(requests), dim))
    for row, request in enumerate(requests):
        user = request.user
        if not dim or user.vector is None or TASTE_WEIGHT not in user.counts:
            continue
        if len(user.vector) != dim or not np.isfinite(user.vector).all():
            raise RankError(
                f"the taste of user {user.entity_id} is {len(user.vector)} long, want {dim} finite numbers",
                fix="rebuild the profiles with the encoder of the ranker",
            )
        tastes[row] = user.vector - user.counts[TASTE_WEIGHT] * mean
    return unit_vectors(tastes)


def candidate_numbers(
    catalog: CatalogFeatures,
    requests: Sequence[RankingRequest],
    video: Indices,
    moments: npt.NDArray[np.int64],
) -> dict[str, Doubles]:
    """Return (N,) columns about each candidate that do not depend on the user.

    `video` are (N,) catalog rows, `moments` (N,) times in µs. Errors as in `request_counts`.
    """
    space = catalog.space
    if space.released is None:
        by_candidate = request_counts(requests)
    else:
        by_candidate = space.released.of([v for r in requests for v in r.video_ids])
    counts = np.ascontiguousarray(by_candidate.T)
    columns = {f"{r.name}_rate": v for r, v in zip(RATES, log_odds(counts, space.priors), strict=True)}
    columns |= zip(_LOG_VIDEO_COUNTS, np.log1p(counts[list(_LOG_VIDEO_COUNTS.values())]), strict=True)
    seconds = mean_seconds(counts, float(space.seconds[0]), space.config.watch_strength)
    published = catalog.published[video]
    return columns | {
        "log_watch_s": np.log1p(seconds),
        "log_age_hours": _hours_since(published, moments),
        "no_age": (published == NEVER).astype(float),
    }


def affinities(
    catalog: CatalogFeatures, requests: Sequence[RankingRequest], video: Indices
) -> dict[str, Doubles]:
    """Return (N,) log lifts of each candidate's category and creator in the user's interests.

    A lift is the smoothed share in the interests over the share of all impressions; its log is 0 for a
    candidate without category or creator.
    """
    strength = catalog.space.config.affinity_strength
    sizes = [len(r.video_ids) for r in requests]
    total = np.repeat([r.user.counts.get(INTERESTS, 0.0) for r in requests], sizes)
    numbers, share = catalog.interests.take(video, axis=1), catalog.interest_shares.take(video, axis=1)
    own, end = np.zeros(numbers.shape), 0
    for request, size in zip(requests, sizes, strict=True):
        start, end = end, end + size
        _write_counts(catalog.keys, request.user.counts, numbers[:, start:end], own[:, start:end])
    np.maximum(own, 0.0, out=own)  # dislikes may outweigh interest
    lift = np.log((own + strength * share) / ((total + strength) * share))
    lift[numbers == 0] = 0.0
    return {"category_affinity": lift[0], "creator_affinity": lift[1]}


def _write_counts(
    keys: Mapping[str, int], counts: Mapping[str, float], numbers: Indices, into: Doubles
) -> None:
    """Write the counts of keys, by their numbers, into zeros of the shape of `numbers`.

    The user has few counts, the catalog may have many keys: the time depends on the former alone.
    """
    found = {number: counts[key] for key in counts if (number := keys.get(key)) is not None}
    if not found:
        return
    known = np.array(sorted(found), np.int32)
    values = np.array([found[number] for number in known.tolist()])
    place = known[:-1].searchsorted(numbers)
    np.copyto(into, values.take(place), where=known.take(place) == numbers)


def liked_history(request: RankingRequest) -> LikedHistory:
    """Return the videos that the user liked strictly before the moment of the request."""
    moment = request.context.at
    at: dict[str, int] = {}
    weights: dict[str, float] = {}
    for when, _, video, weight, _ in reversed(request.user.history):
        if when >= moment:
            continue
        if video not in at:
            at[video], weights[video] = when, weight
        elif weight > weights[video]:
            weights[video] = weight
    return LikedHistory(at, weights)


def liked_numbers(requests: Sequence[RankingRequest], liked: Sequence[LikedHistory]) -> dict[str, Doubles]:
    """Return (N,) columns: whether the user liked the candidate itself before, and log(1 + hours) since."""
    sizes = [len(request.video_ids) for request in requests]
    at, end = np.full(sum(sizes), NEVER), 0
    for request, one, size in zip(requests, liked, sizes, strict=True):
        start, end = end, end + size
        if not one.at.keys().isdisjoint(request.video_ids):  # as in most requests
            at[start:end] = np.fromiter(map(one.at.get, request.video_ids, repeat(NEVER)), np.int64, size)
    moments = np.repeat([r.context.at for r in requests], sizes)
    return {"liked": (at != NEVER).astype(float), "log_liked_hours": _hours_since(at, moments)}


def _hours_since(at: npt.NDArray[np.int64], moments: npt.NDArray[np.int64]) -> Doubles:
    known = at != NEVER
    return np.where(known, log_hours(moments - np.where(known, at, moments)), np.nan)


def log_hours(micros: npt.NDArray[np.int64]) -> Doubles:
    """Return (N,) log(1 + hours) of durations in µs; negative ones count as 0."""
    return np.log1p(np.maximum(micros, 0) / HOUR_US)


def user_counts(requests: Sequence[RankingRequest]) -> Doubles:
    """Return (R, len(VIDEO_COUNT_KEYS)) float64 counts of the requests' users.

    Raises:
        RankError: a count is negative or not finite.
    """
    counts = np.array([profile_counts(r.user) for r in requests]).reshape(-1, len(VIDEO_COUNT_KEYS))
    _check_counts(counts, lambda: [f"user {r.user.entity_id}" for r in requests])
    return counts


def request_counts(requests: Sequence[RankingRequest]) -> Doubles:
    """Return (N, len(VIDEO_COUNT_KEYS)) float64 counts of all candidates.

    Raises:
        RankError: the counts of a request have another shape, or a count is negative or not finite.
    """
    for request in requests:
        if request.video_counts.shape != (len(request.video_ids), len(VIDEO_COUNT_KEYS)):
            raise RankError(
                f"a request of user {request.user.entity_id} has video_counts of shape "
                f"{request.video_counts.shape}, want {(len(request.video_ids), len(VIDEO_COUNT_KEYS))}",
                fix="build them with profile_counts",
            )
    every = [request.video_counts for request in requests]
    counts = every[0] if len(every) == 1 else np.concatenate([np.zeros((0, len(VIDEO_COUNT_KEYS))), *every])
    counts = counts.astype(np.float64, copy=False)
    _check_counts(counts, lambda: [f"video {v}" for r in requests for v in r.video_ids])
    return counts


def _check_counts(counts: Doubles, owners: Callable[[], Sequence[str]]) -> None:
    if not counts.size or (counts.min() >= 0 and counts.max() < np.inf):  # NaN is neither
        return
    bad = ~(np.isfinite(counts) & (counts >= 0))
    row, index = (int(i[0]) for i in np.nonzero(bad))
    raise RankError(
        f"{VIDEO_COUNT_KEYS[index]} of {owners()[row]} is {counts[row, index]}; {int(bad.sum()):,} "
        "counts in total are not finite or below 0",
        fix="rebuild the profiles from the events",
    )


def stack_columns(block: str, columns: dict[str, Doubles], owners: Callable[[], Sequence[str]]) -> Doubles:
    """Stack the columns of a block in its order as (N, columns) float64, adjacent in memory by column.

    Args:
        block: Name of the block in BLOCKS.
        columns: (N,) arrays by column name.
        owners: Returns N names of the subjects of the rows, for messages.

    Raises:
        RankError: a number is not finite; NaN is allowed for OPTIONAL numbers.
    """
    names = BLOCKS[block]
    # By column in memory: all that is done to a column is done to adjacent numbers.
    stacked = np.concatenate([columns[name] for name in names]).reshape(len(names), -1)
    bad = ~np.isfinite(stacked)
    if bad.any():
        optional = [index for index, name in enumerate(names) if f"{block}.{name}" in OPTIONAL]
        bad[optional] &= ~np.isnan(stacked[optional])
    if bad.any():
        index = int(np.argmax(bad.any(axis=1)))
        name, values, rows = names[index], stacked[index], np.flatnonzero(bad[index])
        raise RankError(
            f"features: {block}.{name} is {values[rows[0]]} for {owners()[rows[0]]}, not finite in "
            f"{len(rows):,} of {len(values):,} rows",
            fix="rebuild the profiles from the events",
        )
    return stacked.T
