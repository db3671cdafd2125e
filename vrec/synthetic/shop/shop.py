"""Simulated shop with known ground truth: tastes, video quality, slot examination and logging policy."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.optimize import brentq
from scipy.special import expit, softmax

from vrec.core.compute import pc
from vrec.core.errors import EventsError
from vrec.synthetic.shop.config import SimulationConfig

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
RecommendationPolicy = Callable[[Indices, Indices], Floats]
"""Function from indices of (N,) users and (M,) available videos to (N, M) probabilities of showing each video
first; rows sum to 1."""

BLOCK_CELLS = 2_000_000
"""Users × videos per block of computation, 16 MB of float64, which bounds memory for any shop size."""
CENTURY_DAYS = 36_500
"""Release day of videos that are never available."""
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class SimulatedShop:
    """Ground truth behind simulated events.

    Methods identify users and videos by index: their rows in `users` and `videos`. A click needs that the
    slot is examined and that the video is liked, independently (the position-based model; Richardson et al.
    2007, "Predicting clicks").
    """

    config: SimulationConfig
    users: pa.Array
    """(U,) user ids."""
    videos: pa.Table
    """VIDEOS, V rows, `published_at` filled in."""
    vectors: npt.NDArray[np.float32] | None
    """(V, dim) content vectors, or None for a catalog without vectors."""
    activity: Floats
    """(U,) probability that a request is this user's."""
    tastes: tuple[Floats, Floats]
    """(U, F) each: tastes at the start, and the tastes that they drift to."""
    features: Floats
    """(V, F) video features that tastes refer to."""
    quality: Floats
    """(V,) log-odds that are equal for all users."""
    base_log_odds: float
    """Log-odds of liking a video at average taste and quality."""
    popularity: Floats
    """(V,) the logging policy's log-preference."""
    release: Indices
    """(V,) first day, from 0, on which a video is available; CENTURY_DAYS for never."""

    @cached_property
    def examination(self) -> Floats:
        """(slots,) probability that a slot is examined; 1 for the first."""
        return np.power(np.arange(1.0, self.config.slots + 1.0), -self.config.examination_decay)

    def days_of(self, at: pa.Array | pa.ChunkedArray) -> Indices:
        """Return the (N,) days of the log, from 0, of these times."""
        start = round(self.config.start.timestamp() * 1e6)
        return (np.asarray(at.cast(pa.int64())) - start) // DAY_US

    def available_videos(self, day: int) -> Indices:
        """Return the (M,) indices of the videos that can be shown on a day."""
        return np.flatnonzero(self.release <= day)

    def affinity(
        self, users: Indices, videos: Indices, days: Indices | int | None = None, *, paired: bool = True
    ) -> Floats:
        """Return taste and quality as log-odds relative to `base_log_odds`.

        Args:
            users: (N,) user indices.
            videos: (N,) video indices if `paired`, else (M,).
            days: Days from 0, by default the last; they matter with drift only.
            paired: Whether `users` and `videos` are pairs; otherwise all combinations are computed.

        Returns:
            (N,) if `paired`, else (N, M).
        """
        days = self.config.days - 1 if days is None else days
        share = self.config.drift * np.asarray(days) / max(1, self.config.days - 1)
        now, later = self.tastes
        taste = now[users] if not self.config.drift else _blend(now[users], later[users], share)
        if paired:
            return np.einsum("nf,nf->n", taste, self.features[videos]) + self.quality[videos]
        return taste @ self.features[videos].T + self.quality[videos]

    def click_probability(
        self, users: Indices, videos: Indices, positions: Indices | int, days: Indices | int | None = None
    ) -> Floats:
        """Return the (N,) probabilities that users click videos in slots, which count from 0."""
        return self.examination[positions] * expit(self.base_log_odds + self.affinity(users, videos, days))

    def logging_policy(self, users: Indices, videos: Indices) -> Floats:
        """Return (N, M) probabilities that the log shows a video first; a RecommendationPolicy."""
        return np.asarray(softmax(self.logging_scores(users, videos), axis=1), np.float64)

    def logging_scores(self, users: Indices, videos: Indices) -> Floats:
        """Return the (N, M) scores of the logging policy, which draws by their softmax without replacement.

        It knows the tastes of the first day.
        """
        taste = self.config.logging_taste * self.affinity(users, videos, 0, paired=False)
        return (self.popularity[videos] + taste) / self.config.temperature

    def oracle_policy(self, users: Indices, videos: Indices) -> Floats:
        """Return (N, M) probabilities, all on the user's favorite on the last day; a RecommendationPolicy."""
        affinity = self.affinity(users, videos, paired=False)
        return (np.arange(len(videos)) == affinity.argmax(axis=1)[:, None]).astype(np.float64)

    def true_policy_value(self, policy: RecommendationPolicy) -> float:
        """Return the exact click rate of the first slot under a policy.

        This is the mean over the distribution of the log's requests: users by activity, and all days.

        Raises:
            EventsError: The policy's rows are not probabilities.
        """
        total, available = 0.0, [self.available_videos(day) for day in range(self.config.days)]
        for day, weight in self._distinct_days(available):
            videos = available[day]
            for users in np.array_split(np.arange(len(self.users)), self._block_count(len(videos))):
                shown = _check_policy(policy(users, videos), len(users), len(videos))
                clicks = expit(self.base_log_odds + self.affinity(users, videos, day, paired=False))
                total += weight * float(self.activity[users] @ (shown * clicks).sum(axis=1))
        return total * float(self.examination[0])

    def policy_probability(
        self, policy: RecommendationPolicy, users: Indices, videos: Indices, days: Indices
    ) -> Floats:
        """Return the (N,) probabilities that a policy shows these videos to these users first, on these days.

        Raises:
            EventsError: The policy's rows are not probabilities, or a video was not available on its day.
        """
        probabilities = np.empty(len(users))
        for day in np.unique(days):
            available = self.available_videos(int(day))
            rows = np.flatnonzero(days == day)
            columns = np.searchsorted(available, videos[rows]).clip(max=len(available) - 1)
            if (available[columns] != videos[rows]).any():
                raise EventsError(f"a video of day {day} was released later or is not available")
            for block in np.array_split(np.arange(len(rows)), self._block_count(len(available), len(rows))):
                shown = _check_policy(policy(users[rows[block]], available), len(block), len(available))
                probabilities[rows[block]] = shown[np.arange(len(block)), columns[block]]
        return probabilities

    def ideal_ranking(self, users: Indices, k: int, day: int | None = None) -> Indices:
        """Return the (N, ≤ k) available videos each user likes best, best first; default: the last day."""
        available = self.available_videos(self.config.days - 1 if day is None else day)
        affinity = self.affinity(users, available, day, paired=False)
        return available[np.argsort(-affinity, axis=1, kind="stable")[:, :k]]

    def user_indices(self, ids: pa.Array | pa.ChunkedArray) -> Indices:
        """Return the (N,) indices of user ids; raise EventsError for unknown ids."""
        return _indices_of(ids, self.users, "user")

    def video_indices(self, ids: pa.Array | pa.ChunkedArray) -> Indices:
        """Return the (N,) indices of video ids; raise EventsError for unknown ids."""
        return _indices_of(ids, self.videos.column("video_id").combine_chunks(), "video")

    def _distinct_days(self, available: list[Indices]) -> list[tuple[int, float]]:
        """Return days that differ in available videos or tastes, and the share of all days of each."""
        # The set of available videos only grows, so equal sizes are equal sets.
        sizes = np.array([len(videos) for videos in available])
        if self.config.drift:
            return [(day, 1 / len(available)) for day in range(len(available))]
        _, first, count = np.unique(sizes, return_index=True, return_counts=True)
        return [(int(day), float(n) / len(available)) for day, n in zip(first, count, strict=True)]

    def _block_count(self, videos: int, users: int | None = None) -> int:
        return 1 + (len(self.users) if users is None else users) * videos // BLOCK_CELLS


def calibrate_base(click_rate: float, affinities: Floats) -> float:
    """Return the base log-odds at which a sample of affinities has this mean click rate."""
    return float(brentq(lambda base: expit(base + affinities).mean() - click_rate, -60.0, 60.0))


def _blend(now: Floats, later: Floats, share: Floats) -> Floats:
    share = share[:, None] if share.ndim else share
    return (1 - share) * now + share * later


def _check_policy(shown: Floats, users: int, videos: int) -> Floats:
    if shown.shape != (users, videos) or not (shown >= 0).all() or not np.allclose(shown.sum(axis=1), 1):
        raise EventsError(
            f"a policy must give ({users}, {videos}) probabilities whose rows sum to 1",
            fix="normalize over the videos that the policy is called with",
        )
    return shown


def _indices_of(ids: pa.Array | pa.ChunkedArray, known: pa.Array, noun: str) -> Indices:
    indices = pc.index_in(ids, value_set=known)
    if indices.null_count:
        unknown = pc.filter(ids, pc.is_null(indices))
        raise EventsError(
            f"{indices.null_count:,} {noun} ids of {len(ids):,} are not of this shop, such as {unknown[0]}"
        )
    return np.asarray(indices).astype(np.int64)
