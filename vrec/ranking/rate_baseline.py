"""The humble ranker: smoothed rates of the video, the shopper and the surface, and a few weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field
from scipy.special import expit, logit, polygamma

from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.core.types import CatalogContent
from vrec.profiles.video import WATCH_S, RatePrior, fit_prior, smoothed_rate
from vrec.ranking.base import ProfileRanker, VideoScalars
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions, RankingRequest
from vrec.ranking.features.numeric import request_counts
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, column
from vrec.ranking.labels import LabelsConfig
from vrec.ranking.reranking.utility import UtilityConfig

Doubles = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

SHOWN, CLICKS = "event:impression", "event:click"
LEAST_RATE = 1e-6
"""Rates are kept this far from 0 and 1, whose log-odds are infinite."""


class RateBaselineConfig(BaseConfig):
    """What rates are drawn to where the training part is too small to tell."""

    click: RatePrior = RatePrior(rate=0.05, strength=50.0)
    """Clicks by impressions of a video, a shopper or a surface, where fewer than two of them have two."""
    conversion: RatePrior = RatePrior(rate=0.02, strength=100.0)
    """Conversions by clicks of a video, where fewer than two videos have two clicks."""
    watch_strength: float = Field(default=10.0, gt=0)
    """Impressions that the mean watch of videos of about the same length weighs against a video's own, where
    fewer than two videos have two impressions."""
    durations: int = Field(default=10, ge=1)
    """The most groups of video lengths, equal in impressions, each with a mean watch of its own."""
    labels: LabelsConfig = Field(default_factory=LabelsConfig)
    """What counts as a click's outcome."""
    utility: UtilityConfig = Field(default_factory=UtilityConfig)
    """What is aimed at."""


@dataclass(frozen=True, eq=False, slots=True)
class RateCounts:
    """What the rates of N candidates are made of, each (N,): counts from before the moment."""

    shown: Doubles
    clicks: Doubles
    watch_s: Doubles
    converted: Doubles
    user_shown: Doubles
    user_clicks: Doubles
    surface: list[str]
    video: list[str]

    @classmethod
    def from_requests(cls, requests: Sequence[RankingRequest], labels: LabelsConfig) -> Self:
        """The counts in requests, candidate by candidate; `labels` says what counts as a conversion.

        Raises RankError for counts that are not finite or below 0.
        """
        states, sizes = request_counts(requests), [len(r.video_ids) for r in requests]
        of_users = np.array([[r.user.counts.get(key, 0.0) for key in (SHOWN, CLICKS)] for r in requests])
        of_users = of_users.reshape(-1, 2)
        wrong = np.flatnonzero(~(np.isfinite(of_users) & (of_users >= 0)).all(axis=1))
        if len(wrong):
            raise RankError(
                f"impressions and clicks of user {requests[wrong[0]].user.entity_id} are "
                f"{of_users[wrong[0]]}; {len(wrong):,} of {len(requests):,} such are not finite or below 0",
                fix="make the profiles anew from the events",
            )
        user_shown, user_clicks = np.repeat(of_users, sizes, axis=0).T
        ends = [key for kind in labels.conversion_kinds if (key := f"event:{kind}") in VIDEO_COUNT_KEYS]
        converted = sum((column(states, key) for key in ends), np.zeros(len(states)))
        return cls(
            shown=column(states, SHOWN),
            clicks=column(states, CLICKS),
            watch_s=column(states, WATCH_S),
            converted=converted,
            user_shown=np.ascontiguousarray(user_shown),
            user_clicks=np.ascontiguousarray(user_clicks),
            surface=[r.context.surface for r, size in zip(requests, sizes, strict=True) for _ in range(size)],
            video=[video for r in requests for video in r.video_ids],
        )


@dataclass(frozen=True, eq=False, slots=True)
class SmoothedRates:
    """The fitted rates: log-odds of a click are an intercept and three weighted log-odds ratios."""

    labels: LabelsConfig
    intercept: float
    weights: Doubles
    """(3,) of the video's, the shopper's and the surface's."""
    video: RatePrior
    user: RatePrior
    conversion: RatePrior
    surfaces: dict[str, float]
    """Log-odds of a click on each surface less those on all; one that is not known is like all."""
    edges: Doubles
    """(G − 1,) the longest duration in seconds of each group but the last."""
    watch_s: Doubles
    """(G + 1,) mean watch of each group, the last one being unknown durations."""
    watch_strength: float
    """Impressions that the group's mean weighs."""

    @classmethod
    def fit(
        cls, config: RateBaselineConfig, requests: Sequence[RankingRequest], labels: ImpressionLabels
    ) -> Self:
        """The rates of training impressions, whose labels are in the order of the requests' candidates.

        Raises RankError where there are not as many labels, or all are clicked or none.
        """
        counts = RateCounts.from_requests(requests, config.labels)
        if len(counts.video) != len(labels):
            raise RankError(f"rates: {len(labels):,} labels for {len(counts.video):,} candidates")
        clicked = labels.click > 0
        if not len(labels) or clicked.all() or not clicked.any():
            raise RankError(
                f"rates: {clicked.sum():,} of {len(labels):,} impressions are clicked",
                fix="train on a log with impressions of both kinds",
            )
        videos = np.unique(counts.video, return_inverse=True)[1]
        click, mature = labels.click.astype(np.float64), labels.mature & clicked
        edges = _edges(labels.duration_s, config.durations)
        watch_s, strength = _watch(config, labels, _group(labels.duration_s, edges), len(edges) + 2, videos)
        unfitted = cls(
            config.labels,
            0.0,
            np.ones(3),
            _prior(click, videos, config.click),
            _prior(click, labels.user, config.click),
            _prior(labels.conversion[mature].astype(np.float64), videos[mature], config.conversion),
            _surfaces(click, counts.surface, config.click),
            edges,
            watch_s,
            strength,
        )
        # Here: a service that scores would wait for the import.
        from sklearn.linear_model import LogisticRegression

        found = LogisticRegression().fit(unfitted._ratios(counts), clicked)
        return replace(unfitted, intercept=float(found.intercept_[0]), weights=found.coef_[0])

    def predict(
        self, requests: Sequence[RankingRequest], duration_s: npt.NDArray[np.floating]
    ) -> RankerPredictions:
        """What to expect of the N candidates of requests, whose durations are (N,) seconds, NaN unknown.

        The spread is that of the Beta distributions behind the video's and the shopper's rate.
        """
        counts = RateCounts.from_requests(requests, self.labels)
        p_click = expit(self.intercept + (self._ratios(counts) * self.weights).sum(axis=1))
        cvr = smoothed_rate(counts.converted, counts.clicks, self.conversion.rate, self.conversion.strength)
        mean = self.watch_s[_group(duration_s, self.edges)]
        watch = (counts.watch_s + self.watch_strength * mean) / (counts.shown + self.watch_strength)
        unsure = self.weights[0] ** 2 * _variance(counts.clicks, counts.shown, self.video)
        unsure += self.weights[1] ** 2 * _variance(counts.user_clicks, counts.user_shown, self.user)
        answers = (p_click, watch, p_click * cvr, np.sqrt(unsure))
        return RankerPredictions(*(answer.astype(np.float32) for answer in answers))

    def store(self) -> tuple[Arrays, pa.Table]:
        """Arrays and the table of surfaces, which `restore` needs."""
        priors = [[prior.rate, prior.strength] for prior in (self.video, self.user, self.conversion)]
        arrays: Arrays = {
            "intercept": np.array(self.intercept),
            "weights": self.weights,
            "priors": np.array(priors),
            "edges": self.edges,
            "watch_s": self.watch_s,
            "watch_strength": np.array(self.watch_strength),
        }
        columns = [pa.array(self.surfaces, pa.string()), pa.array(self.surfaces.values(), pa.float64())]
        return arrays, pa.table(columns, names=["surface", "log_odds"])

    @classmethod
    def restore(cls, labels: LabelsConfig, arrays: Arrays, surfaces: pa.Table) -> Self:
        """The rates that `store` gave."""
        video, user, conversion = (RatePrior(rate=r, strength=k) for r, k in arrays["priors"].tolist())
        names, odds = (surfaces.column(name).to_pylist() for name in ("surface", "log_odds"))
        return cls(
            labels,
            float(arrays["intercept"]),
            arrays["weights"],
            video,
            user,
            conversion,
            dict(zip(names, odds, strict=True)),
            arrays["edges"],
            arrays["watch_s"],
            float(arrays["watch_strength"]),
        )

    def _ratios(self, counts: RateCounts) -> Doubles:
        """(N, 3) how far the log-odds of video, shopper and surface lie from those of all."""
        return np.column_stack(
            [
                _log_odds(counts.clicks, counts.shown, self.video) - _logit(self.video.rate),
                _log_odds(counts.user_clicks, counts.user_shown, self.user) - _logit(self.user.rate),
                [self.surfaces.get(surface, 0.0) for surface in counts.surface],
            ]
        )


def _logit(rate: Doubles | float) -> Doubles:
    return logit(np.clip(rate, LEAST_RATE, 1 - LEAST_RATE))


def _log_odds(clicks: Doubles, shown: Doubles, prior: RatePrior) -> Doubles:
    return _logit(smoothed_rate(clicks, shown, prior.rate, prior.strength))


def _variance(clicks: Doubles, shown: Doubles, prior: RatePrior) -> Doubles:
    """(N,) the variance of the log-odds of Beta distributed rates."""
    rate = float(np.clip(prior.rate, LEAST_RATE, 1 - LEAST_RATE))
    missed = np.maximum(shown - clicks, 0) + prior.strength * (1 - rate)
    return polygamma(1, clicks + prior.strength * rate) + polygamma(1, missed)


def _sums(groups: Groups, of: Doubles | None = None) -> Doubles:
    """(G,) the sum of values, or the number of rows, of each group."""
    return np.bincount(groups, of).astype(np.float64)


def _prior(outcomes: Doubles, groups: Groups, fallback: RatePrior) -> RatePrior:
    """The prior of the rates that groups of 0 or 1 outcomes have."""
    places = np.unique(groups, return_inverse=True)[1]
    totals = _sums(places, outcomes)
    return fit_prior(totals, _sums(places), totals, fallback)


def _surfaces(click: Doubles, surface: list[str], fallback: RatePrior) -> dict[str, float]:
    names, places = np.unique(surface, return_inverse=True)
    # A lone surface has no prior but the rate of all, which is its own.
    prior = RatePrior(rate=float(click.mean()), strength=_prior(click, places, fallback).strength)
    odds = _log_odds(_sums(places, click), _sums(places), prior)
    return dict(zip(names.tolist(), (odds - _logit(click.mean())).tolist(), strict=True))


def _edges(duration_s: npt.NDArray[np.floating], groups: int) -> Doubles:
    known = duration_s[~np.isnan(duration_s)].astype(np.float64)
    if not len(known):
        return np.zeros(0)
    return np.unique(np.quantile(known, np.arange(1, groups) / groups, method="inverted_cdf"))


def _group(duration_s: npt.NDArray[np.floating], edges: Doubles) -> Groups:
    places = np.searchsorted(edges, duration_s, side="left")
    return np.where(np.isnan(duration_s), len(edges) + 1, places)


def _watch(
    config: RateBaselineConfig, labels: ImpressionLabels, group: Groups, groups: int, videos: Groups
) -> tuple[Doubles, float]:
    """Mean watch by group of durations, and how many impressions it weighs against a video's own."""
    watch = labels.watch_s.astype(np.float64)
    count = np.bincount(group, minlength=groups)
    of_all = np.full(groups, watch.mean())
    means = np.divide(np.bincount(group, watch, groups), count, out=of_all, where=count > 0)
    # In units of their group's mean, so that what differs between lengths is not taken for the video's own.
    share = watch / np.where(means > 0, means, 1)[group]
    fallback = RatePrior(rate=0.5, strength=config.watch_strength)
    return means, fit_prior(_sums(videos, share), _sums(videos), _sums(videos, share**2), fallback).strength


class RateBaselineRanker(ProfileRanker):
    """Ranks by counts alone: what a network must beat."""

    kind = "rates"

    def __init__(self, config: RateBaselineConfig, rates: SmoothedRates, figures: VideoScalars) -> None:
        self.config, self.rates, self.scalars, self.utility_config = config, rates, figures, config.utility

    @classmethod
    def fit(
        cls,
        config: RateBaselineConfig,
        requests: Sequence[RankingRequest],
        labels: ImpressionLabels,
        content: CatalogContent,
    ) -> Self:
        """The ranker of training impressions, whose labels are in the order of the requests' candidates.

        Raises RankError where there are not as many labels, or all are clicked or none; SchemaError.
        """
        return cls(config, SmoothedRates.fit(config, requests, labels), VideoScalars.from_content(content))

    def with_videos(self, content: CatalogContent) -> Self:
        """The same ranker, to which the videos of `content` are known as well, or anew."""
        return type(self)(self.config, self.rates, self.scalars.with_videos(content))

    def restricted_to(self, video_ids: Sequence[str], newer: ProfileRanker | None = None) -> Self:
        """See `ProfileRanker`."""
        newer = self._check_same_kind(newer)
        figures = self.scalars.restricted_to(video_ids, None if newer is None else newer.scalars)
        return type(self)(self.config, self.rates, figures)

    def predict_requests(self, requests: Sequence[RankingRequest]) -> RankerPredictions:
        """See `ProfileRanker`."""
        rows = self.scalars.find([video for request in requests for video in request.video_ids])
        return self.rates.predict(requests, self.scalars.duration_s[rows])

    def save(self, uri: str) -> None:
        """Writes the fitted ranker as a folder; see `Ranker`."""
        arrays, surfaces = self.rates.store()
        tables = {"surfaces": surfaces, "videos": self.scalars.store()}
        write_artifact(uri, ModelArtifact(self.kind, self.config.model_dump(mode="json"), arrays, tables))

    @classmethod
    def load(cls, uri: str) -> Self:
        """The ranker that `save` wrote; see `Ranker`."""
        found = read_artifact(uri, cls.kind)
        config = RateBaselineConfig.model_validate(found.config)
        rates = SmoothedRates.restore(config.labels, found.arrays, found.tables["surfaces"])
        return cls(config, rates, VideoScalars.restore(found.tables["videos"]))
