"""A shop with a planted truth: who likes what, how good a video is, where shoppers look, what is shown."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import AwareDatetime, Field
from scipy.optimize import brentq
from scipy.special import expit, softmax

from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import EventsError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
RecommendationPolicy = Callable[[Indices, Indices], Floats]
"""(N,) users and (M,) videos on offer, as places, to (N, M) probabilities of showing each; rows sum to 1."""

BLOCK_CELLS = 2_000_000
"""Users × videos looked at once, 16 MB of float64: memory is flat however large the shop is."""
CENTURY_DAYS = 36_500
DAY_US = 86_400_000_000


class SimulationConfig(BaseConfig):
    """How a shop, its shoppers and its logging policy are drawn."""

    seed: int = Field(default=0, ge=0)
    """Decides every draw: equal settings and seeds give equal shops and events."""
    users: int = Field(default=2000, gt=0)
    """Shoppers."""
    videos: int = Field(default=500, gt=0)
    """Videos of a drawn catalogue; a given catalogue has its own."""
    categories: int = Field(default=20, gt=0)
    """Categories of a drawn catalogue."""
    creators: int = Field(default=50, gt=0)
    """Creators of a drawn catalogue."""
    tags: int = Field(default=60, gt=0)
    """Different tags of a drawn catalogue, of which a video has three at most."""
    dim: int = Field(default=32, gt=0)
    """Length of a drawn catalogue's content vectors."""
    start: AwareDatetime = datetime(2025, 1, 1, tzinfo=UTC)
    """The first moment of the log."""
    days: int = Field(default=30, gt=0)
    """Days logged."""
    requests_per_user: float = Field(default=15.0, gt=0)
    """Mean requests of a shopper over all days; the total is exactly users × this, rounded."""
    activity_spread: float = Field(default=0.7, ge=0)
    """Standard deviation of the log of shoppers' activity; 0 makes all equally active."""
    slots: int = Field(default=8, gt=0)
    """Videos shown a request; 1 logs a plain contextual bandit."""
    click_rate: float = Field(default=0.08, gt=0, lt=1)
    """Mean chance of a click on a video in the first slot, over all shoppers and videos."""
    interests: float = Field(default=0.15, gt=0)
    """Dirichlet concentration of tastes over categories: small for few and strong interests."""
    category_weight: float = Field(default=2.5, ge=0)
    """Log-odds of a click that the favourite category adds over one without any interest."""
    tag_weight: float = Field(default=0.4, ge=0)
    """Standard deviation of the log-odds that a video's tags add or take."""
    creator_weight: float = Field(default=0.4, ge=0)
    """Standard deviation of the log-odds that a video's creator adds or takes."""
    vector_weight: float = Field(default=1.0, ge=0)
    """Log-odds that a content vector adds when it points where the shopper's ideal does."""
    quality_spread: float = Field(default=0.5, ge=0)
    """Standard deviation over videos of the log-odds that all shoppers agree on."""
    drift: float = Field(default=0.0, ge=0, le=1)
    """Share of a shopper's taste that is another on the last day; 0 keeps tastes as they are."""
    examination_decay: float = Field(default=0.8, ge=0)
    """Slot s (from 0) is looked at with probability (s + 1)^-this; 0 takes the position bias away."""
    popularity_skew: float = Field(default=0.8, ge=0)
    """Zipf exponent of the logging policy's preference over videos; 0 shows all alike."""
    popularity_quality: float = Field(default=0.5, ge=-1, le=1)
    """Correlation of that preference with the planted quality."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the logging policy's softmax: large shows all alike, small shows the popular only."""
    logging_taste: float = Field(default=0.3, ge=0)
    """How much of the shopper's planted taste the logging policy knows."""
    cold_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the videos without a publishing date that come out during the log, at the start of a day."""
    watch_level: float = Field(default=0.4)
    """Log-odds of the share watched of a video of median length that meets the average taste."""
    watch_taste: float = Field(default=0.5)
    """Log-odds of the share watched that one unit of taste adds."""
    watch_duration: float = Field(default=0.6)
    """Log-odds of the share watched that a video e times as long loses."""
    watch_spread: float = Field(default=0.8, ge=0)
    """Standard deviation of the log-odds of the share watched."""
    cart_rate: float = Field(default=0.08, gt=0, lt=1)
    """Chance of a cart after a click on a video of median price that meets the average taste."""
    cart_taste: float = Field(default=0.5)
    """Log-odds of a cart that one unit of taste adds."""
    price_sensitivity: float = Field(default=0.5)
    """Log-odds of a cart that a price e times as high loses."""
    purchase_rate: float = Field(default=0.4, ge=0, le=1)
    """Chance of a purchase after a cart."""
    purchase_delay_hours: float = Field(default=20.0, ge=0)
    """Mean hours from cart to purchase; purchases after the last day are not in the log."""

    @property
    def requests(self) -> int:
        """Requests in the whole log, at least 1."""
        return max(1, round(self.users * self.requests_per_user))


@dataclass(frozen=True)
class SimulatedShop:
    """The truth behind the events. Shoppers and videos are meant by place: their rows in `users`, `videos`.

    A click needs a look at the slot and a liking of the video, both independent of all else (the
    position-based model; Richardson et al. 2007, "Predicting clicks").
    """

    config: SimulationConfig
    users: pa.Array
    """(U,) user ids."""
    videos: pa.Table
    """VIDEOS, V rows, `published_at` filled in."""
    vectors: npt.NDArray[np.float32] | None
    """(V, dim) content vectors, or None where the catalogue came without."""
    activity: Floats
    """(U,) chance that a request is this shopper's."""
    tastes: tuple[Floats, Floats]
    """(U, F) each: tastes at the start, and what they turn to with drift."""
    features: Floats
    """(V, F) what tastes are about."""
    quality: Floats
    """(V,) log-odds that all shoppers agree on."""
    base_log_odds: float
    """Log-odds of a liking at average taste and quality."""
    popularity: Floats
    """(V,) the logging policy's log-preference."""
    release: Indices
    """(V,) the first day, from 0, on which a video is on offer; CENTURY_DAYS for never."""

    @cached_property
    def examination(self) -> Floats:
        """(slots,) chance that a slot is looked at; 1 for the first."""
        return np.power(np.arange(1.0, self.config.slots + 1.0), -self.config.examination_decay)

    def days_of(self, at: pa.Array | pa.ChunkedArray) -> Indices:
        """(N,) days of the log, from 0, on which these times fall."""
        start = round(self.config.start.timestamp() * 1e6)
        return (np.asarray(at.cast(pa.int64())) - start) // DAY_US

    def available_videos(self, day: int) -> Indices:
        """The (M,) videos that can be shown on a day."""
        return np.flatnonzero(self.release <= day)

    def affinity(
        self, users: Indices, videos: Indices, days: Indices | int | None = None, *, paired: bool = True
    ) -> Floats:
        """Taste and quality as log-odds about `base`: (N,) of N pairs, or (N, M) of all pairs.

        `days` count from 0, the last one by default; they matter with drift only.
        """
        days = self.config.days - 1 if days is None else days
        part = self.config.drift * np.asarray(days) / max(1, self.config.days - 1)
        now, later = self.tastes
        taste = now[users] if not self.config.drift else _blend(now[users], later[users], part)
        if paired:
            return np.einsum("nf,nf->n", taste, self.features[videos]) + self.quality[videos]
        return taste @ self.features[videos].T + self.quality[videos]

    def click_probability(
        self, users: Indices, videos: Indices, positions: Indices | int, days: Indices | int | None = None
    ) -> Floats:
        """(N,) chance that each shopper clicks each video in each slot (from 0)."""
        return self.examination[positions] * expit(self.base_log_odds + self.affinity(users, videos, days))

    def logging_policy(self, users: Indices, videos: Indices) -> Floats:
        """(N, M) the chance that the log shows each of the videos on offer first; a `Policy` of its own."""
        return np.asarray(softmax(self.logging_scores(users, videos), axis=1), np.float64)

    def logging_scores(self, users: Indices, videos: Indices) -> Floats:
        """(N, M) what the logging policy draws by: a softmax over those on offer that are not shown yet.

        It knows tastes as they were on the first day.
        """
        taste = self.config.logging_taste * self.affinity(users, videos, 0, paired=False)
        return (self.popularity[videos] + taste) / self.config.temperature

    def oracle_policy(self, users: Indices, videos: Indices) -> Floats:
        """(N, M) all on the video that the shopper likes best on the last day; a `Policy`."""
        likes = self.affinity(users, videos, paired=False)
        return (np.arange(len(videos)) == likes.argmax(axis=1)[:, None]).astype(np.float64)

    def true_policy_value(self, policy: RecommendationPolicy) -> float:
        """The click rate of the first slot under a policy, exact: over shoppers by activity, and all days.

        This is the mean over the population that the log's requests are drawn from. Raises EventsError for
        rows that are not probabilities.
        """
        total, offers = 0.0, [self.available_videos(day) for day in range(self.config.days)]
        for day, weight in self._distinct_days(offers):
            for users in np.array_split(np.arange(len(self.users)), self._blocks(len(offers[day]))):
                shown = _checked(policy(users, offers[day]), len(users), len(offers[day]))
                clicks = expit(self.base_log_odds + self.affinity(users, offers[day], day, paired=False))
                total += weight * float(self.activity[users] @ (shown * clicks).sum(axis=1))
        return total * float(self.examination[0])

    def policy_probability(
        self, policy: RecommendationPolicy, users: Indices, videos: Indices, days: Indices
    ) -> Floats:
        """(N,) the chance that a policy shows these videos to these shoppers first, on these days.

        Raises EventsError for rows that are not probabilities, or a video that was not on offer.
        """
        chances = np.empty(len(users))
        for day in np.unique(days):
            offer = self.available_videos(int(day))
            rows = np.flatnonzero(days == day)
            where = np.searchsorted(offer, videos[rows]).clip(max=len(offer) - 1)
            if (offer[where] != videos[rows]).any():
                raise EventsError(f"a video is asked for on day {day} that came out later")
            for part in np.array_split(np.arange(len(rows)), self._blocks(len(offer), len(rows))):
                shown = _checked(policy(users[rows[part]], offer), len(part), len(offer))
                chances[rows[part]] = shown[np.arange(len(part)), where[part]]
        return chances

    def ideal_ranking(self, users: Indices, k: int, day: int | None = None) -> Indices:
        """(N, ≤ k) the videos on offer each shopper likes best, best first (default: last day)."""
        offer = self.available_videos(self.config.days - 1 if day is None else day)
        likes = self.affinity(users, offer, day, paired=False)
        return offer[np.argsort(-likes, axis=1, kind="stable")[:, :k]]

    def user_indices(self, ids: pa.Array | pa.ChunkedArray) -> Indices:
        """(N,) places of user ids; raises EventsError for one that is not of this shop."""
        return _places(ids, self.users, "user")

    def video_indices(self, ids: pa.Array | pa.ChunkedArray) -> Indices:
        """(N,) places of video ids; raises EventsError for one that is not of this shop."""
        return _places(ids, self.videos.column("video_id").combine_chunks(), "video")

    def _distinct_days(self, offers: list[Indices]) -> list[tuple[int, float]]:
        # What is on offer only grows: equal sizes are equal offers, and count once unless tastes drift.
        sizes = np.array([len(offer) for offer in offers])
        if self.config.drift:
            return [(day, 1 / len(offers)) for day in range(len(offers))]
        _, first, count = np.unique(sizes, return_index=True, return_counts=True)
        return [(int(day), float(n) / len(offers)) for day, n in zip(first, count, strict=True)]

    def _blocks(self, videos: int, users: int | None = None) -> int:
        return 1 + (len(self.users) if users is None else users) * videos // BLOCK_CELLS


def calibrate_base(click_rate: float, likings: Floats) -> float:
    """The log-odds that give a sample of likings this mean click rate."""
    return float(brentq(lambda base: expit(base + likings).mean() - click_rate, -60.0, 60.0))


def _blend(now: Floats, later: Floats, part: Floats) -> Floats:
    part = part[:, None] if part.ndim else part
    return (1 - part) * now + part * later


def _checked(shown: Floats, users: int, videos: int) -> Floats:
    if shown.shape != (users, videos) or not (shown >= 0).all() or not np.allclose(shown.sum(axis=1), 1):
        raise EventsError(
            f"a policy must give ({users}, {videos}) probabilities whose rows sum to 1",
            fix="normalise over the videos on offer that the policy is called with",
        )
    return shown


def _places(ids: pa.Array | pa.ChunkedArray, known: pa.Array, what: str) -> Indices:
    found = pc.index_in(ids, value_set=known)
    if found.null_count:
        lost = pc.filter(ids, pc.is_null(found))
        raise EventsError(
            f"{found.null_count:,} {what} ids of {len(ids):,} are not of this shop, such as {lost[0]}"
        )
    return np.asarray(found).astype(np.int64)
