"""Noised counts of impressions and clicks of videos, in the place of exact rates."""

from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.privacy.mechanisms import GRID, clipped_shares, noised_totals, totals_sensitivity
from vrec.privacy.noise import NormalSource
from vrec.profiles.video import RatePrior
from vrec.ranking.features.arrays import ImpressionLabels
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles, ReleasedCounts

SHOWN, CLICKED = VIDEO_COUNT_KEYS.index("event:impression"), VIDEO_COUNT_KEYS.index("event:click")
STRENGTH = 50.0
"""Impressions that the prior of a video's click rate weighs beside those that stand for the noise."""


@dataclass(frozen=True, eq=False)
class NoisedCounts:
    """Impressions and clicks of V videos with noise, and what each shopper gave."""

    video_ids: tuple[str, ...]
    totals: Doubles
    """(V, 2) impressions and clicks with noise, which may be below 0."""
    noise: float
    """Standard deviation of the noise."""
    shoppers: float
    """Number of shoppers with noise, at least 1."""
    given: sparse.csr_matrix
    """(shoppers, 2 V) what each shopper gave to the impressions, then to the clicks. Not to be released."""

    @classmethod
    def release(
        cls,
        shopper: npt.NDArray[np.int64],
        videos: pa.Array,
        labels: ImpressionLabels,
        catalog: pa.Array,
        *,
        impressions: float,
        multiplier: float,
        normals: NormalSource,
    ) -> Self:
        """Count the impressions of videos in the catalog and add noise.

        Args:
            shopper: (N,) number of the shopper of each impression, from 0 without gaps.
            videos: (N,) ids of the videos shown.
            labels: (N,) outcomes.
            catalog: (V,) ids of the videos of the public catalog.
            impressions: Impressions and clicks of a shopper up to which all count in full, if no video was
                shown twice.
            multiplier: Noise multiplier.
            normals: Source of the noise.
        """
        column = np.asarray(pc.fill_null(pc.index_in(videos, value_set=catalog), -1), np.int64)
        known, count = column >= 0, len(catalog)
        rows = np.concatenate([shopper[known], shopper[known & (labels.click > 0)]])
        columns = np.concatenate([column[known], column[known & (labels.click > 0)] + count])
        shape = (int(shopper.max(initial=-1)) + 1, 2 * count)
        given = sparse.csr_matrix((np.ones(len(rows), np.int64), (rows, columns)), shape=shape)
        given.sum_duplicates()
        limit = sqrt(impressions)
        totals, shoppers = noised_totals(given, limit, multiplier, normals)
        shares = sparse.diags(clipped_shares(given, limit) / GRID)
        noise = multiplier * totals_sensitivity(limit)
        return cls(
            tuple(catalog.to_pylist()),
            totals.reshape(2, -1).T,
            noise,
            max(shoppers, 1.0),
            (shares @ given).tocsr(),
        )

    @property
    def prior(self) -> RatePrior:
        """Prior of the click rate of a video: the rate of all."""
        shown, clicked = np.maximum(self.totals.sum(axis=0), 1.0)
        return RatePrior(rate=float(np.clip(clicked / shown, 0.001, 0.9)), strength=STRENGTH)

    def released(self) -> ReleasedCounts:
        """Return the counts for features when serving."""
        return ReleasedCounts(self.video_ids, self._as_counts(np.pad(self.totals, ((0, 1), (0, 0)))))

    def without_own(self, shopper: npt.NDArray[np.int64], videos: pa.Array) -> Doubles:
        """Return the (N, len(VIDEO_COUNT_KEYS)) counts for training, less what the shopper gave to them.

        An impression's own click would else be among its features.

        Args:
            shopper: (N,) shoppers.
            videos: (N,) ids of the videos.
        """
        names, count = pa.array(self.video_ids, pa.string()), len(self.video_ids)
        column = np.asarray(pc.fill_null(pc.index_in(videos, value_set=names), -1), np.int64)
        known, totals = np.flatnonzero(column >= 0), np.zeros((len(column), 2))
        if len(known):
            rows, columns = shopper[known], column[known]
            own = [np.asarray(self.given[rows, columns + part]).ravel() for part in (0, count)]
            totals[known] = self.totals[columns] - np.stack(own, axis=1)
        return self._as_counts(totals)

    def _as_counts(self, totals: Doubles) -> Doubles:
        """Return (N, len(VIDEO_COUNT_KEYS)) counts of (N, 2) noised impressions and clicks, ≥ 0.

        Each video gets as many impressions at the rate of all as keep rates and logarithms of counts that
        are mostly noise close together; without noise none.
        """
        counts, more = np.zeros((len(totals), len(VIDEO_COUNT_KEYS))), 2 * self.noise
        shown = np.maximum(totals[:, 0], 0.0)
        counts[:, SHOWN] = shown + more
        counts[:, CLICKED] = np.clip(totals[:, 1], 0.0, shown) + more * self.prior.rate
        return counts
