"""Rates of streamers by the views that have ended, the same offline and online."""

from collections.abc import Sequence

import numpy as np

from vrec.retrieval.live.log import DAY_US, SECOND_US, Floats, Indices

PRIOR_VIEWS = 10.0
"""Views with the mean of all streamers that a streamer's own rates are smoothed with."""
POPULAR_DAYS = (1.0, 7.0)
"""Half-lives of the decayed numbers of views."""


class StreamerRates:
    """Sums over the views of streamers that have ended; a view that goes on is nothing that a log knows.

    The sums do not depend on how views are batched. Views in another order than that of their ends give the
    same up to float rounding.
    """

    def __init__(self, size: int, early_leave_s: float) -> None:
        """Begin without views.

        Args:
            size: Number of streamers.
            early_leave_s: Seconds below which a view was left early.
        """
        self.early_leave_s = early_leave_s
        self._views, self._stays, self._log_minutes = np.zeros(size), np.zeros(size), np.zeros(size)
        self._popular = np.zeros((len(POPULAR_DAYS), size))
        self._popular_at = np.zeros(size, np.int64)
        self._total = [0.0, 0.0, 0.0]
        """Views, stays and log minutes of all streamers."""

    def __len__(self) -> int:
        """Return the number of streamers."""
        return len(self._views)

    def add(self, streamer: Indices, start: Indices, end: Indices) -> None:
        """Add (V,) views by their streamers and times, µs since 1970."""
        seconds = (end - start) / SECOND_US
        stays, minutes = seconds >= self.early_leave_s, np.log1p(seconds / 60)
        columns = (streamer.tolist(), end.tolist(), stays.tolist(), minutes.tolist())
        for row, at, stayed, length in zip(*columns, strict=True):
            for n, value in enumerate((1.0, float(stayed), length)):
                self._total[n] += value
            self._views[row] += 1
            self._stays[row] += stayed
            self._log_minutes[row] += length
            days = (at - self._popular_at[row]) / DAY_US
            for n, half_life in enumerate(POPULAR_DAYS):
                if days >= 0:
                    self._popular[n, row] = 1 + self._popular[n, row] * 0.5 ** (days / half_life)
                else:  # later ones were added before
                    self._popular[n, row] += 0.5 ** (-days / half_life)
            self._popular_at[row] = max(at, self._popular_at[row])

    def grown(self, size: int) -> "StreamerRates":
        """Return the same rates with room for more streamers."""
        rows = np.arange(size)
        rows[len(self) :] = -1
        return self.take(rows)

    def take(self, rows: Indices | Sequence[int]) -> "StreamerRates":
        """Return the rates of some rows, in their order; −1 is a streamer without views."""
        rows = np.asarray(rows, np.int64)
        out = StreamerRates(len(rows), self.early_leave_s)
        known = rows >= 0
        for name in ("_views", "_stays", "_log_minutes", "_popular", "_popular_at"):
            getattr(out, name)[..., known] = getattr(self, name)[..., rows[known]]
        out._total = list(self._total)
        return out

    def at(self, streamer: Indices, at: int) -> dict[str, Floats]:
        """Return the fields of `LiveNow` that are rates, of (C,) rows at a time, µs since 1970."""
        total, stays, minutes = self._total
        prior = PRIOR_VIEWS / (total + PRIOR_VIEWS)
        views = self._views[streamer] + PRIOR_VIEWS
        days = (at - self._popular_at[streamer]) / DAY_US
        popular = [
            self._popular[n, streamer] * 0.5 ** (days / half_life) for n, half_life in enumerate(POPULAR_DAYS)
        ]
        return {
            "views_1d": popular[0],
            "views_7d": popular[1],
            "stay_rate": (self._stays[streamer] + prior * (stays + 0.5 * PRIOR_VIEWS)) / views,
            "log_minutes": (self._log_minutes[streamer] + prior * (minutes + PRIOR_VIEWS)) / views,
        }
