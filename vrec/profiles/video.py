"""Video profiles: counts of events, and rates smoothed towards a prior."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata

Floats = npt.NDArray[np.float64]

MAX_STRENGTH, MIN_STRENGTH = 1e6, 1e-3
"""Bounds of a fitted strength: for videos that differ only by chance, and for outcomes that differ only
between videos."""
WATCH_S, WATCH_SHARE, WATCH_SHARE_SQUARED = "watch_s", "watch_share", "watch_share_squared"
TIMED_WATCHES, COMPLETIONS, MONEY, GIFTED = "watches_timed", "completions", "money", "gifted"
"""Counts of a video: seconds watched, sum of watched shares of its duration, watches with a known share,
complete watches, money from purchases, and the value of gifts."""
_SUMS_BY_TRIALS = {
    "event:watch": (WATCH_S,),
    "event:purchase": (MONEY,),
    "event:gift": (GIFTED,),
    TIMED_WATCHES: (WATCH_SHARE, WATCH_SHARE_SQUARED, COMPLETIONS),
}
"""Sums over events by the count of these events."""
STATISTICS = ("event:", WATCH_S, WATCH_SHARE, TIMED_WATCHES, COMPLETIONS, MONEY, GIFTED)
"""Prefixes of the keys of statistics; all other keys are attributes, which the catalog may change."""


class RatePrior(BaseConfig):
    """Prior of a rate."""

    rate: float = Field(ge=0, le=1)
    """Rate of a video without events."""
    strength: float = Field(gt=0)
    """Weight of the prior in trials: after as many trials, prior and observed rate have equal weight."""


class VideoProfileConfig(BaseConfig):
    """Settings for the statistics of videos."""

    complete: float = Field(default=0.95, gt=0, le=1)
    """Share of the duration, in (0, 1], from which a watch counts as complete."""
    click: RatePrior = RatePrior(rate=0.05, strength=50.0)
    """Prior of the click rate: clicks per impression."""
    watch_share: RatePrior = RatePrior(rate=0.4, strength=10.0)
    """Prior of the watch share: mean watched share of the duration per watch."""
    completion: RatePrior = RatePrior(rate=0.2, strength=20.0)
    """Prior of the completion rate: complete watches per watch."""
    conversion: RatePrior = RatePrior(rate=0.02, strength=100.0)
    """Prior of the conversion rate: purchases per click."""


@dataclass(frozen=True, slots=True)
class VideoStatistics:
    """A video's smoothed rates."""

    click_rate: float
    watch_share: float
    completion_rate: float
    conversion_rate: float


def record_video_event(
    builder: ProfileBuilder,
    event: EventRecord,
    facts: VideoMetadata | None,
    config: VideoProfileConfig,
    sign: float = 1.0,
) -> None:
    """Record an event in its video's builder: its kind, and the seconds watched or money paid.

    Args:
        builder: The video's profile.
        event: The event.
        facts: Catalog data of the video; None where the catalog does not know it.
        config: The settings of video profiles.
        sign: 1, or −1 to take back an event that was recorded.
    """
    builder.increment(f"event:{event.kind}", sign)
    if event.value is None:
        return
    if event.kind == "purchase":
        builder.increment(MONEY, sign * event.value)
    if event.kind == "gift":
        builder.increment(GIFTED, sign * event.value)
    if event.kind == "watch":
        builder.increment(WATCH_S, sign * event.value)
        if facts is not None and facts.duration_s:
            share = min(1.0, event.value / facts.duration_s)
            builder.increment(TIMED_WATCHES, sign)
            builder.increment(WATCH_SHARE, sign * share)
            builder.increment(WATCH_SHARE_SQUARED, sign * share * share)
            builder.increment(COMPLETIONS, sign * float(share >= config.complete))


def take_back_video_event(
    builder: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: VideoProfileConfig
) -> None:
    """Undo `record_video_event`: up to float rounding the builder is as if the event had never been."""
    record_video_event(builder, event, facts, config, -1.0)
    for trials, sums in _SUMS_BY_TRIALS.items():
        # Without trials their sums are 0 but for rounding, and were never recorded.
        if builder.counts.get(trials, 0.0) <= 0:
            for key in (trials, *sums):
                builder.counts.pop(key, None)
    if builder.counts.get(key := f"event:{event.kind}", 0.0) <= 0:
        builder.counts.pop(key, None)
    for key in (WATCH_S, MONEY, GIFTED, *_SUMS_BY_TRIALS[TIMED_WATCHES]):
        if builder.counts.get(key, 0.0) < 0:
            builder.counts[key] = 0.0


def set_catalog_attributes(builder: ProfileBuilder, facts: VideoMetadata) -> None:
    """Replace the attributes in a video's builder by the catalog's, and the embedding if there is one."""
    statistics = {key: value for key, value in builder.counts.items() if key.startswith(STATISTICS)}
    builder.counts = statistics | dict(facts.attributes)
    builder.vector = builder.vector if facts.vector is None else facts.vector


def video_statistics(profile: Profile, config: VideoProfileConfig) -> VideoStatistics:
    """Return a video's rates, each smoothed towards its prior."""
    click, share, completion, conversion = (
        float(smoothed_rate(total[0], trials[0], prior.rate, prior.strength))
        for total, trials, prior in zip(*_outcomes([profile])[:2], _priors(config), strict=True)
    )
    return VideoStatistics(click, share, completion, conversion)


def smoothed_rate(total: Floats | float, trials: Floats | float, rate: float, strength: float) -> Floats:
    """Return (total + strength × rate) / (trials + strength).

    This is the posterior mean of a Beta prior, and the best linear estimate for any other (Bühlmann 1967).
    If events are lost so that `total` exceeds `trials`, the total is used as the number of trials.

    Args:
        total: (...) sum of the outcomes, such as clicks.
        trials: (...) number of trials, such as impressions.
        rate: The prior's rate.
        strength: The prior's weight in trials.

    Returns:
        Rates of the shape of `total`, float64.
    """
    return (np.asarray(total) + strength * rate) / (np.maximum(total, trials) + strength)


def fit_prior(totals: Floats, trials: Floats, squares: Floats, fallback: RatePrior) -> RatePrior:
    """Fit a prior on many videos' rates by the method of moments.

    The rate is that of all trials together; the strength is the variance within videos divided by the
    variance between videos (Bühlmann and Straub 1970), which is a + b for a Beta(a, b).

    Args:
        totals: (V,) sums of the outcomes of each video.
        trials: (V,) trials of each video; videos without trials are ignored.
        squares: (V,) sums of the squared outcomes; for clicks the same as `totals`.
        fallback: The result if fewer than two videos have at least two trials.
    """
    totals, trials, squares = (np.asarray(a, np.float64)[trials > 0] for a in (totals, trials, squares))
    if np.count_nonzero(trials >= 2) < 2:
        return fallback
    n, means = trials.sum(), totals / trials
    rate = totals.sum() / n
    within = max(0.0, (squares - trials * means**2).sum()) / (n - len(trials))
    excess = (trials * (means - rate) ** 2).sum() - (len(trials) - 1) * within
    between = excess / (n - (trials**2).sum() / n)
    strength = within / between if between > within / MAX_STRENGTH else MAX_STRENGTH
    return RatePrior(rate=float(np.clip(rate, 0, 1)), strength=float(max(MIN_STRENGTH, strength)))


def fit_priors(profiles: Sequence[Profile], config: VideoProfileConfig) -> VideoProfileConfig:
    """Return the config with priors fitted on all videos' profiles (empirical Bayes); see `fit_prior`."""
    totals, trials, squares = _outcomes(profiles)
    click, share, completion, conversion = (
        fit_prior(t, np.maximum(t, n), q, prior)
        for t, n, q, prior in zip(totals, trials, squares, _priors(config), strict=True)
    )
    fitted = {"click": click, "watch_share": share, "completion": completion, "conversion": conversion}
    return config.model_copy(update=fitted)


def _priors(config: VideoProfileConfig) -> tuple[RatePrior, RatePrior, RatePrior, RatePrior]:
    return config.click, config.watch_share, config.completion, config.conversion


def _outcomes(profiles: Sequence[Profile]) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Return (V,) totals, trials and sums of squares of each of the four rates."""

    def column(key: str) -> Floats:
        return np.array([p.counts.get(key, 0.0) for p in profiles])

    clicks, purchases, completions = column("event:click"), column("event:purchase"), column(COMPLETIONS)
    shares, timed = column(WATCH_SHARE), column(TIMED_WATCHES)
    totals = [clicks, shares, completions, purchases]
    trials = [column("event:impression"), timed, timed, clicks]
    return totals, trials, [clicks, column(WATCH_SHARE_SQUARED), completions, purchases]
