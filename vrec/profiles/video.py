"""What events say of a video: counts, and rates that are drawn to a prior until there is enough to go by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.profiles.profile import EventRecord, Profile, ProfileBuilder, VideoMetadata

Floats = npt.NDArray[np.float64]

MAX_STRENGTH, MIN_STRENGTH = 1e6, 1e-3
"""A prior's strength where videos do not differ beyond chance, and where nothing but videos differs."""
WATCH_S, WATCH_SHARE, WATCH_SHARE_SQUARED = "watch_s", "watch_share", "watch_share_squared"
TIMED_WATCHES, COMPLETIONS, MONEY = "watches_timed", "completions", "money"
"""Counts of a video: seconds, shares of its length, watches whose share is known, those to the end, money."""
STATISTICS = ("event:", WATCH_S, WATCH_SHARE, TIMED_WATCHES, COMPLETIONS, MONEY)
"""What keys of statistics start with; all others are attributes, which the catalogue may change."""


class RatePrior(BaseConfig):
    """What a rate is taken to be before there is anything to go by."""

    rate: float = Field(ge=0, le=1)
    """The rate of a video that nothing is known of."""
    strength: float = Field(gt=0)
    """How many trials the prior weighs: with as many, a video's rate is half its own."""


class VideoProfileConfig(BaseConfig):
    """How a video's statistics are made of its events."""

    complete: float = Field(default=0.95, gt=0, le=1)
    """Share of the length from which a watch counts as to the end."""
    click: RatePrior = RatePrior(rate=0.05, strength=50.0)
    """Clicks by impressions."""
    watch_share: RatePrior = RatePrior(rate=0.4, strength=10.0)
    """Share of the length watched, by watches."""
    completion: RatePrior = RatePrior(rate=0.2, strength=20.0)
    """Watches to the end, by watches."""
    conversion: RatePrior = RatePrior(rate=0.02, strength=100.0)
    """Purchases by clicks."""


@dataclass(frozen=True, slots=True)
class VideoStatistics:
    """A video's smoothed rates."""

    click_rate: float
    watch_share: float
    completion_rate: float
    conversion_rate: float


def record_video_event(
    draft: ProfileBuilder, event: EventRecord, facts: VideoMetadata | None, config: VideoProfileConfig
) -> None:
    """Notes an event in its video's draft: its kind, and what was watched or paid."""
    draft.increment(f"event:{event.kind}")
    if event.value is None:
        return
    if event.kind == "purchase":
        draft.increment(MONEY, event.value)
    if event.kind == "watch":
        draft.increment(WATCH_S, event.value)
        if facts is not None and facts.duration_s:
            share = min(1.0, event.value / facts.duration_s)
            draft.increment(TIMED_WATCHES)
            draft.increment(WATCH_SHARE, share)
            draft.increment(WATCH_SHARE_SQUARED, share * share)
            draft.increment(COMPLETIONS, float(share >= config.complete))


def set_catalog_attributes(draft: ProfileBuilder, facts: VideoMetadata) -> None:
    """Puts the catalogue's attributes, and its embedding if any, in place of those in a video's draft."""
    kept = {key: value for key, value in draft.counts.items() if key.startswith(STATISTICS)}
    draft.counts = kept | dict(facts.attributes)
    draft.vector = draft.vector if facts.vector is None else facts.vector


def video_statistics(profile: Profile, config: VideoProfileConfig) -> VideoStatistics:
    """A video's rates, each drawn to its prior."""
    click, share, completion, conversion = (
        float(smoothed_rate(total[0], trials[0], prior.rate, prior.strength))
        for total, trials, prior in zip(*_rates([profile])[:2], _priors(config), strict=True)
    )
    return VideoStatistics(click, share, completion, conversion)


def smoothed_rate(total: Floats | float, trials: Floats | float, rate: float, strength: float) -> Floats:
    """The mean (total + strength × rate) / (trials + strength), of the shape of `total`.

    It is the posterior mean of a Beta prior, and of any other the best linear guess (Bühlmann 1967). Where
    events are lost so that `total` exceeds `trials`, the total counts as trials too.
    """
    return (np.asarray(total) + strength * rate) / (np.maximum(total, trials) + strength)


def fit_prior(totals: Floats, trials: Floats, squares: Floats, fallback: RatePrior) -> RatePrior:
    """The prior that many videos' (V,) totals speak for, by the method of moments.

    `squares` are sums of squared outcomes, which for clicks are the totals. The rate is that of all trials;
    the strength is the variance within a video over that between videos (Bühlmann and Straub 1970), which for
    a Beta(a, b) is a + b. `fallback` where fewer than two videos have two trials.
    """
    totals, trials, squares = (np.asarray(a, np.float64)[trials > 0] for a in (totals, trials, squares))
    if np.count_nonzero(trials >= 2) < 2:
        return fallback
    n, means = trials.sum(), totals / trials
    rate = totals.sum() / n
    within = max(0.0, (squares - trials * means**2).sum()) / (n - len(trials))
    spread = (trials * (means - rate) ** 2).sum() - (len(trials) - 1) * within
    between = spread / (n - (trials**2).sum() / n)
    strength = within / between if between > within / MAX_STRENGTH else MAX_STRENGTH
    return RatePrior(rate=float(np.clip(rate, 0, 1)), strength=float(max(MIN_STRENGTH, strength)))


def fit_priors(profiles: Sequence[Profile], config: VideoProfileConfig) -> VideoProfileConfig:
    """The same config with priors fitted on all videos' profiles (empirical Bayes); see `fit_prior`."""
    totals, trials, squares = _rates(profiles)
    click, share, completion, conversion = (
        fit_prior(t, np.maximum(t, n), q, prior)
        for t, n, q, prior in zip(totals, trials, squares, _priors(config), strict=True)
    )
    fitted = {"click": click, "watch_share": share, "completion": completion, "conversion": conversion}
    return config.model_copy(update=fitted)


def _priors(config: VideoProfileConfig) -> tuple[RatePrior, RatePrior, RatePrior, RatePrior]:
    return config.click, config.watch_share, config.completion, config.conversion


def _rates(profiles: Sequence[Profile]) -> tuple[list[Floats], list[Floats], list[Floats]]:
    """Totals, trials and sums of squares (V,) of each of the four rates."""

    def column(key: str) -> Floats:
        return np.array([p.counts.get(key, 0.0) for p in profiles])

    clicks, bought, ended = column("event:click"), column("event:purchase"), column(COMPLETIONS)
    shares, timed = column(WATCH_SHARE), column(TIMED_WATCHES)
    totals = [clicks, shares, ended, bought]
    trials = [column("event:impression"), timed, timed, clicks]
    return totals, trials, [clicks, column(WATCH_SHARE_SQUARED), ended, bought]
