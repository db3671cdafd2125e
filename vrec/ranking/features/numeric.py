"""The numbers that say what shopper, candidate and history are at a moment, before they are scaled."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    column,
    log_odds,
    mean_seconds,
    profile_counts,
)

OPTIONAL = frozenset({
    "user.log_idle_hours", "candidate.log_age_hours", "candidate.taste_cosine", "candidate.liked_cosine_max",
    "candidate.liked_cosine_mean", "candidate.log_liked_hours",
})  # fmt: skip
"""Numbers that may be missing."""


@dataclass(frozen=True, slots=True)
class LikedHistory:
    """A shopper's history up to a moment: one entry a video, by when it was liked last, the newest first."""

    at: dict[str, int]
    weights: dict[str, float]


def user_numbers(
    space: FeatureSpace,
    requests: Sequence[RankingRequest],
    liked: Sequence[LikedHistory],
    moments: npt.NDArray[np.int64],
    tastes: Doubles,
) -> dict[str, Doubles]:
    """(R,) columns about each shopper but for `no_liked_vector`; raises RankError for impossible counts."""
    states = np.array([profile_counts(r.user) for r in requests]).reshape(-1, len(VIDEO_COUNT_KEYS))
    _check_counts(states, [f"user {r.user.entity_id}" for r in requests])
    rates = log_odds(states, USER_RATES, space.user_priors)
    columns = {f"{rate.name}_rate": odds for rate, odds in zip(USER_RATES, rates, strict=True)}
    for kind in ("impression", "click", "watch", "like", "cart", "purchase"):
        columns[f"log_{kind}"] = np.log1p(column(states, f"event:{kind}"))
    seconds = mean_seconds(states, float(space.seconds[1]), space.config.watch_strength)
    last = np.array([r.user.seen[-1][0] if r.user.seen else NEVER for r in requests], np.int64)
    sizes = np.array([len(one.at) for one in liked], np.float64)
    return columns | {
        "log_watch_s": np.log1p(seconds),
        "log_idle_hours": _hours_since(last, moments),
        "no_event": (last == NEVER).astype(float),
        "log_history": np.log1p(sizes),
        "no_history": (sizes == 0).astype(float),
        "no_taste": (~tastes.any(axis=1)).astype(float),
    }


def taste_vectors(space: FeatureSpace, requests: Sequence[RankingRequest]) -> Doubles:
    """(R, dim) unit rows towards what each shopper likes, the mean content subtracted; or zeros."""
    dim, mean = space.dim, space.mean.astype(np.float64)
    found = np.zeros((len(requests), dim))
    for row, request in enumerate(requests):
        user = request.user
        if not dim or user.vector is None or TASTE_WEIGHT not in user.counts:
            continue
        if len(user.vector) != dim or not np.isfinite(user.vector).all():
            raise RankError(
                f"the taste of user {user.entity_id} is {len(user.vector)} long, want {dim} finite numbers",
                fix="make the profiles anew with the encoder of the ranker",
            )
        found[row] = user.vector - user.counts[TASTE_WEIGHT] * mean
    return unit_vectors(found)


def candidate_numbers(
    catalog: CatalogFeatures,
    requests: Sequence[RankingRequest],
    video: Indices,
    moments: npt.NDArray[np.int64],
) -> dict[str, Doubles]:
    """(N,) columns about each candidate, whoever the shopper is, at (N,) `moments`. Errors as `states_of`."""
    space = catalog.space
    states = request_counts(requests)
    rates = log_odds(states, RATES, space.priors)
    columns = {f"{rate.name}_rate": odds for rate, odds in zip(RATES, rates, strict=True)}
    seconds = mean_seconds(states, float(space.seconds[0]), space.config.watch_strength)
    published = catalog.published[video]
    return columns | {
        "log_watch_s": np.log1p(seconds),
        "log_impressions": np.log1p(column(states, "event:impression")),
        "log_clicks": np.log1p(column(states, "event:click")),
        "log_watches": np.log1p(column(states, "event:watch")),
        "log_age_hours": _hours_since(published, moments),
        "no_age": (published == NEVER).astype(float),
    }


def affinities(
    catalog: CatalogFeatures, requests: Sequence[RankingRequest], video: Indices
) -> dict[str, Doubles]:
    """How much likelier than among all impressions each candidate's category and creator are here."""
    space = catalog.space
    strength, fields = space.config.affinity_strength, catalog.arrays.fields
    sizes = [len(r.video_ids) for r in requests]
    total = np.repeat([r.user.counts.get(INTERESTS, 0.0) for r in requests], sizes)
    owners = [r.user.counts for r in requests for _ in r.video_ids]
    columns: dict[str, Doubles] = {}
    parts = (("category", 2, catalog.categories), ("creator_id", 1, catalog.creators))
    for name, place, keys in parts:
        named = [keys[row] for row in video.tolist()]
        own = np.array(
            [0.0 if k is None else c.get(k, 0.0) for k, c in zip(named, owners, strict=True)], np.float64
        )
        share = space.shares[name][fields[video, place]]
        lift = np.log((own + strength * share) / ((total + strength) * share))
        known = np.array([key is not None for key in named], bool)
        columns[f"{name.removesuffix('_id')}_affinity"] = np.where(known, lift, 0.0)
    return columns


def liked_history(request: RankingRequest) -> LikedHistory:
    """What the shopper liked strictly before the request's moment."""
    moment = request.context.at
    at: dict[str, int] = {}
    weights: dict[str, float] = {}
    for when, _, video, weight in reversed(request.user.history):
        if when >= moment:
            continue
        if video not in at:
            at[video], weights[video] = when, weight
        elif weight > weights[video]:
            weights[video] = weight
    return LikedHistory(at, weights)


def liked_numbers(requests: Sequence[RankingRequest], liked: Sequence[LikedHistory]) -> dict[str, Doubles]:
    """(N,) columns that say whether the shopper liked the candidate itself before, and how long ago."""
    ages = [
        request.context.at - one.at[video] if video in one.at else -1
        for request, one in zip(requests, liked, strict=True)
        for video in request.video_ids
    ]
    known = np.array(ages, np.int64)
    hours = np.where(known >= 0, log_hours(known), np.nan)
    return {"liked": (known >= 0).astype(float), "log_liked_hours": hours}


def _hours_since(at: npt.NDArray[np.int64], moments: npt.NDArray[np.int64]) -> Doubles:
    known = at != NEVER
    return np.where(known, log_hours(moments - np.where(known, at, moments)), np.nan)


def log_hours(micros: npt.NDArray[np.int64]) -> Doubles:
    """(N,) log(1 + hours) of µs, 0 where they are below 0."""
    return np.log1p(np.maximum(micros, 0) / HOUR_US)


def request_counts(requests: Sequence[RankingRequest]) -> Doubles:
    """(N, len(STATE)) states of all candidates; raises RankError for another shape, NaN and less than 0."""
    for request in requests:
        if request.video_counts.shape != (len(request.video_ids), len(VIDEO_COUNT_KEYS)):
            raise RankError(
                f"a request of user {request.user.entity_id} has states of shape "
                f"{request.video_counts.shape}, want {(len(request.video_ids), len(VIDEO_COUNT_KEYS))}",
                fix="make them with state_of",
            )
    states = np.concatenate([np.zeros((0, len(VIDEO_COUNT_KEYS))), *(r.video_counts for r in requests)])
    _check_counts(states, [f"video {v}" for r in requests for v in r.video_ids])
    return states


def _check_counts(states: Doubles, owners: Sequence[str]) -> None:
    bad = ~(np.isfinite(states) & (states >= 0))
    if bad.any():
        row, place = (int(i[0]) for i in np.nonzero(bad))
        raise RankError(
            f"{VIDEO_COUNT_KEYS[place]} of {owners[row]} is {states[row, place]}; {int(bad.sum()):,} counts "
            "of such are not finite or below 0",
            fix="make the profiles anew from the events",
        )


def stack_columns(block: str, columns: dict[str, Doubles], owners: Sequence[str]) -> Doubles:
    """(N, columns) float64 in the block's order; raises RankError that names what is not finite.

    `owners` are N names of what each row is about. NaN may be where a number is OPTIONAL.
    """
    found = np.stack([columns[name] for name in BLOCKS[block]], axis=1)
    for place, name in enumerate(BLOCKS[block]):
        values = found[:, place]
        bad = ~np.isfinite(values)
        if f"{block}.{name}" in OPTIONAL:
            bad &= ~np.isnan(values)
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise RankError(
                f"features: {block}.{name} is {values[first]} for {owners[first]}, not finite in "
                f"{int(bad.sum()):,} of {len(values):,} rows",
                fix="make the profiles anew from the events",
            )
    return found
