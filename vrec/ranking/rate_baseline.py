"""Smoothed-rate baseline ranker: click rates of the video, the user and the surface, and three weights."""

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
from vrec.ranking.config import LabelsConfig
from vrec.ranking.duration_groups import group_by_duration
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions, RankingRequest
from vrec.ranking.features.numeric import request_counts
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, column
from vrec.ranking.reranking.utility import UtilityConfig

Doubles = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

SHOWN, CLICKS = "event:impression", "event:click"
LEAST_RATE = 1e-6
"""Rates are clipped this far from 0 and 1, where log-odds are infinite."""


class RateBaselineConfig(BaseConfig):
    """Settings of the smoothed-rate baseline: priors where the training split is too small to fit them."""

    click: RatePrior = RatePrior(rate=0.05, strength=50.0)
    """Prior of clicks per impression of a video, user or surface, used where fewer than two of them have two
    impressions."""
    conversion: RatePrior = RatePrior(rate=0.02, strength=100.0)
    """Prior of conversions per click of a video, used where fewer than two videos have two clicks."""
    watch_strength: float = Field(default=10.0, gt=0)
    """Weight, in impressions, of the mean watch time of videos of similar duration against a video's own
    mean; used where fewer than two videos have two impressions."""
    durations: int = Field(default=10, ge=1)
    """Maximum number of video duration groups, equal in impressions, each with its own mean watch time."""
    labels: LabelsConfig = Field(default_factory=LabelsConfig)
    """Event kinds that count as conversions."""
    utility: UtilityConfig = Field(default_factory=UtilityConfig)
    """Weights of clicks, minutes and sales in the utility."""


@dataclass(frozen=True, eq=False, slots=True)
class RateCounts:
    """Counts behind the rates of N candidates, each (N,), from before the moment of the request."""

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
        """Read the counts of all candidates of all requests; `labels` defines the conversions.

        Raises:
            RankError: a count is not finite or below 0.
        """
        video_counts, sizes = request_counts(requests), [len(r.video_ids) for r in requests]
        user_counts = np.array([[r.user.counts.get(key, 0.0) for key in (SHOWN, CLICKS)] for r in requests])
        user_counts = user_counts.reshape(-1, 2)
        invalid = np.flatnonzero(~(np.isfinite(user_counts) & (user_counts >= 0)).all(axis=1))
        if len(invalid):
            raise RankError(
                f"impressions and clicks of user {requests[invalid[0]].user.entity_id} are "
                f"{user_counts[invalid[0]]}; those of {len(invalid):,} of {len(requests):,} requests "
                "are not finite or below 0",
                fix="rebuild the profiles from the events",
            )
        user_shown, user_clicks = np.repeat(user_counts, sizes, axis=0).T
        conversions = [
            key for kind in labels.conversion_kinds if (key := f"event:{kind}") in VIDEO_COUNT_KEYS
        ]
        converted = sum((column(video_counts, key) for key in conversions), np.zeros(len(video_counts)))
        return cls(
            shown=column(video_counts, SHOWN),
            clicks=column(video_counts, CLICKS),
            watch_s=column(video_counts, WATCH_S),
            converted=converted,
            user_shown=np.ascontiguousarray(user_shown),
            user_clicks=np.ascontiguousarray(user_clicks),
            surface=[r.context.surface for r, size in zip(requests, sizes, strict=True) for _ in range(size)],
            video=[video for r in requests for video in r.video_ids],
        )


@dataclass(frozen=True, eq=False, slots=True)
class SmoothedRates:
    """Fitted rates: the log-odds of a click are an intercept plus three weighted log-odds ratios."""

    labels: LabelsConfig
    intercept: float
    weights: Doubles
    """(3,) weights of the video's, the user's and the surface's ratio."""
    video: RatePrior
    user: RatePrior
    conversion: RatePrior
    surfaces: dict[str, float]
    """Log-odds of a click on each surface minus those on all surfaces; 0 for an unknown surface."""
    edges: Doubles
    """(G − 1,) longest duration in seconds of each group except the last."""
    watch_s: Doubles
    """(G + 1,) mean watch time in seconds of each group; the last is of unknown durations."""
    watch_strength: float
    """Weight of the group's mean, in impressions."""

    @classmethod
    def fit(
        cls, config: RateBaselineConfig, requests: Sequence[RankingRequest], labels: ImpressionLabels
    ) -> Self:
        """Fit the rates on training impressions; `labels` are in the order of the requests' candidates.

        Raises:
            RankError: the number of labels differs, or all or none of the impressions are clicked.
        """
        counts = RateCounts.from_requests(requests, config.labels)
        if len(counts.video) != len(labels):
            raise RankError(
                f"rates: {len(labels):,} labels for {len(counts.video):,} candidates",
                fix="build labels and requests from the same events",
            )
        clicked = labels.click > 0
        if not len(labels) or clicked.all() or not clicked.any():
            raise RankError(
                f"rates: {clicked.sum():,} of {len(labels):,} impressions are clicked",
                fix="train on a log with clicked and unclicked impressions",
            )
        videos = np.unique(counts.video, return_inverse=True)[1]
        click, mature = labels.click.astype(np.float64), labels.mature & clicked
        edges = _edges(labels.duration_s, config.durations)
        watch_s, strength = _watch(
            config, labels, group_by_duration(labels.duration_s, edges), len(edges) + 2, videos
        )
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
        # Imported here: serving would wait for the import.
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression().fit(unfitted._ratios(counts), clicked)
        return replace(unfitted, intercept=float(model.intercept_[0]), weights=model.coef_[0])

    def predict(
        self, requests: Sequence[RankingRequest], duration_s: npt.NDArray[np.floating]
    ) -> RankerPredictions:
        """Predict for the N candidates of requests; `duration_s` is (N,) seconds, NaN unknown.

        The spread is the standard deviation of the log-odds under the Beta posteriors of the video's and the
        user's click rate.
        """
        counts = RateCounts.from_requests(requests, self.labels)
        p_click = expit(self.intercept + (self._ratios(counts) * self.weights).sum(axis=1))
        cvr = smoothed_rate(counts.converted, counts.clicks, self.conversion.rate, self.conversion.strength)
        mean = self.watch_s[group_by_duration(duration_s, self.edges)]
        watch = (counts.watch_s + self.watch_strength * mean) / (counts.shown + self.watch_strength)
        variance = self.weights[0] ** 2 * _variance(counts.clicks, counts.shown, self.video)
        variance += self.weights[1] ** 2 * _variance(counts.user_clicks, counts.user_shown, self.user)
        columns = (p_click, watch, p_click * cvr, np.sqrt(variance))
        return RankerPredictions(*(values.astype(np.float32) for values in columns))

    def store(self) -> tuple[Arrays, pa.Table]:
        """Return the arrays and the table of surfaces that `restore` reads."""
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
        """Rebuild the rates from the arrays and table of `store`."""
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
        """Return (N, 3) log-odds of video, user and surface minus the overall log-odds."""
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
    """Return (N,) variances of the log-odds of the rates under their Beta posteriors."""
    rate = float(np.clip(prior.rate, LEAST_RATE, 1 - LEAST_RATE))
    missed = np.maximum(shown - clicks, 0) + prior.strength * (1 - rate)
    return polygamma(1, clicks + prior.strength * rate) + polygamma(1, missed)


def _sums(groups: Groups, values: Doubles | None = None) -> Doubles:
    """Return the (G,) sum of values, or the number of rows, of each group."""
    return np.bincount(groups, values).astype(np.float64)


def _prior(outcomes: Doubles, groups: Groups, fallback: RatePrior) -> RatePrior:
    """Fit the prior of the rates of groups with outcomes 0 or 1."""
    group = np.unique(groups, return_inverse=True)[1]
    totals = _sums(group, outcomes)
    return fit_prior(totals, _sums(group), totals, fallback)


def _surfaces(click: Doubles, surface: list[str], fallback: RatePrior) -> dict[str, float]:
    names, group = np.unique(surface, return_inverse=True)
    # A single surface has no prior other than the overall rate, which is its own.
    prior = RatePrior(rate=float(click.mean()), strength=_prior(click, group, fallback).strength)
    odds = _log_odds(_sums(group, click), _sums(group), prior)
    return dict(zip(names.tolist(), (odds - _logit(click.mean())).tolist(), strict=True))


def _edges(duration_s: npt.NDArray[np.floating], groups: int) -> Doubles:
    known = duration_s[~np.isnan(duration_s)].astype(np.float64)
    if not len(known):
        return np.zeros(0)
    return np.unique(np.quantile(known, np.arange(1, groups) / groups, method="inverted_cdf"))


def _watch(
    config: RateBaselineConfig, labels: ImpressionLabels, group: Groups, groups: int, videos: Groups
) -> tuple[Doubles, float]:
    """Return (groups,) mean watch times in seconds by duration group, and their weight in impressions."""
    watch = labels.watch_s.astype(np.float64)
    count = np.bincount(group, minlength=groups)
    means = np.full(groups, watch.mean())
    np.divide(np.bincount(group, watch, groups), count, out=means, where=count > 0)
    # In units of the group's mean, so that differences between durations do not count as the video's own.
    share = watch / np.where(means > 0, means, 1)[group]
    fallback = RatePrior(rate=0.5, strength=config.watch_strength)
    return means, fit_prior(_sums(videos, share), _sums(videos), _sums(videos, share**2), fallback).strength


class RateBaselineRanker(ProfileRanker):
    """Ranker by smoothed rates of counts: the baseline for networks."""

    kind = "rates"

    def __init__(self, config: RateBaselineConfig, rates: SmoothedRates, scalars: VideoScalars) -> None:
        self.config, self.rates, self.scalars, self.utility_config = config, rates, scalars, config.utility

    @classmethod
    def fit(
        cls,
        config: RateBaselineConfig,
        requests: Sequence[RankingRequest],
        labels: ImpressionLabels,
        content: CatalogContent,
    ) -> Self:
        """Fit the ranker on training impressions; `labels` are in the order of the requests' candidates.

        Raises:
            RankError: the number of labels differs, or all or none of the impressions are clicked.
            SchemaError: VIDEOS has other columns.
        """
        return cls(config, SmoothedRates.fit(config, requests, labels), VideoScalars.from_content(content))

    def with_videos(self, content: CatalogContent) -> Self:
        """Return a copy of the ranker with the videos of `content` added or updated."""
        return type(self)(self.config, self.rates, self.scalars.with_videos(content))

    def restricted_to(self, video_ids: Sequence[str], newer: ProfileRanker | None = None) -> Self:
        """Return a copy that knows only some videos; see `ProfileRanker`."""
        newer = self._check_same_kind(newer)
        scalars = self.scalars.restricted_to(video_ids, None if newer is None else newer.scalars)
        return type(self)(self.config, self.rates, scalars)

    def predict_requests(self, requests: Sequence[RankingRequest]) -> RankerPredictions:
        """Predict from requests; see `ProfileRanker`."""
        rows = self.scalars.find([video for request in requests for video in request.video_ids])
        return self.rates.predict(requests, self.scalars.duration_s[rows])

    def save(self, uri: str) -> None:
        """Write the fitted ranker as a folder; see `Ranker`."""
        arrays, surfaces = self.rates.store()
        tables = {"surfaces": surfaces, "videos": self.scalars.store()}
        write_artifact(uri, ModelArtifact(self.kind, self.config.model_dump(mode="json"), arrays, tables))

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the ranker that `save` wrote; see `Ranker`."""
        artifact = read_artifact(uri, cls.kind)
        config = RateBaselineConfig.model_validate(artifact.config)
        rates = SmoothedRates.restore(config.labels, artifact.arrays, artifact.tables["surfaces"])
        return cls(config, rates, VideoScalars.restore(artifact.tables["videos"]))
