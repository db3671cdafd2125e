"""Events that come twice: with the same id and other content, or again in another hour."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vrec.robustness.gates.findings import HOUR_US, GateFinding, hour_text

Hashes = npt.NDArray[np.uint64]
MOST_KEPT = 1 << 18
"""Sampled rows that are held, 24 bytes each."""
LEAST_TWINS = 10
TWIN_SHARE = 0.3
"""Share of an hour's events that were in an earlier hour, from which the hour repeats it."""


@dataclass
class RowSample:
    """Rows whose key has a hash in a sampled range, so that all rows of one key are in it or none.

    The range is halved whenever the rows are too many (adaptive sampling; Flajolet 1990).
    """

    width: int
    most: int = MOST_KEPT
    shift: int = 0
    rows: int = 0
    _parts: list[npt.NDArray[np.int64]] = field(default_factory=list)
    _held: int = 0

    def add(self, keys: Hashes, *columns: npt.NDArray[np.int64]) -> None:
        """Add (N,) rows with their keys."""
        self.rows += len(keys)
        kept = self._sampled(keys)
        part = np.column_stack([keys[kept].view(np.int64), *(column[kept] for column in columns)])
        self._parts.append(part)
        self._held += len(part)
        while self._held > self.most:
            self.shift += 1
            self._parts = [
                part[self._sampled(part[:, 0].view(np.uint64))]
                for part in map(np.ascontiguousarray, self._parts)
            ]
            self._held = sum(map(len, self._parts))

    def _sampled(self, keys: Hashes) -> npt.NDArray[np.bool_]:
        return (keys >> np.uint64(64 - self.shift)) == 0 if self.shift else np.ones(len(keys), bool)

    def table(self) -> npt.NDArray[np.int64]:
        """Return the (M, 1 + columns) sampled rows, sorted by key and the next column."""
        if not self._parts:
            return np.empty((0, self.width), np.int64)
        rows = np.concatenate(self._parts)
        return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def id_conflicts(sample: RowSample) -> GateFinding | None:
    """Return the finding of event_ids that several contents share.

    Args:
        sample: Rows of the hash of the event_id, the hash of the content, and the number of the row.
    """
    rows = sample.table()
    same = (rows[1:, 0] == rows[:-1, 0]) & (rows[1:, 1] != rows[:-1, 1])
    count = int(same.sum())
    if not count or count < 0.001 * len(rows):
        return None
    shown = tuple(int(row) for row in np.sort(rows[1:, 2][same])[:3])
    total = count << sample.shift
    about = "about " if sample.shift else ""
    message = f"{about}{total:,} rows have an event_id that another row with other content has"
    return GateFinding("event_id_conflict", "EVENTS", ("event_id",), message, count=total, rows=shown)


def repeated_hours(sample: RowSample) -> list[GateFinding]:
    """Return the findings of hours and days whose events are those of an earlier hour.

    Args:
        sample: Rows of the hash of shopper, video, kind and time within the hour, the hour, and the hash of
            the event_id. Rows with one event_id are one event.
    """
    rows = sample.table()
    if not len(rows):
        return []
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:, 0] != rows[:-1, 0]) | (rows[1:, 1] != rows[:-1, 1]) | (rows[1:, 2] != rows[:-1, 2])
    rows = rows[first]
    twin = np.zeros(len(rows), bool)
    twin[1:] = rows[1:, 0] == rows[:-1, 0]
    lag = np.zeros(len(rows), np.int64)
    lag[1:] = np.where(twin[1:], rows[1:, 1] - rows[:-1, 1], 0)
    hours, places = np.unique(rows[:, 1], return_inverse=True)
    counts = np.bincount(places)
    twins = np.bincount(places, weights=twin).astype(int)
    share = twins / counts
    usual = float(np.quantile(share[counts >= LEAST_TWINS], 0.25)) if (counts >= LEAST_TWINS).any() else 0.0
    bad = (twins >= LEAST_TWINS) & (share >= max(TWIN_SHARE, 5 * usual))
    found: dict[int, list[int]] = {}
    for place in np.flatnonzero(bad):
        lags = lag[(places == place) & twin]
        values, times = np.unique(lags, return_counts=True)
        found.setdefault(int(values[times.argmax()]), []).append(int(place))
    return [
        _repeat_finding(
            lag, tuple(hours[at].tolist()), int(twins[at].sum()) << sample.shift, float(share[at].mean())
        )
        for lag, at in found.items()
    ]


def _repeat_finding(lag: int, named: tuple[int, ...], count: int, share: float) -> GateFinding:
    columns = ("user_id", "video_id", "kind", "at")
    if lag == 0:
        message = f"{share:.0%} of the events are there twice, with other event_ids"
        return GateFinding(
            "repeated_events", "EVENTS", columns, message, hours=named, count=count, drop="twins"
        )
    if lag % 24 == 0 and len(named) > 3:
        what = f"a day is replayed: {share:.0%} of its events are those of {lag // 24} days before"
        return GateFinding("replayed_day", "EVENTS", columns, what, hours=named, count=count)
    message = (
        f"{share:.0%} of the events are those of {lag} hours before, such as of {hour_text(min(named) - lag)}"
    )
    return GateFinding("duplicated_hour", "EVENTS", columns, message, hours=named, count=count)


def early_clicks(sample: RowSample) -> GateFinding | None:
    """Return the finding of clicks before the impression of the same request and video.

    Args:
        sample: Rows of the hash of request and video, the time in µs, and 1 for a click, 0 for an impression.
    """
    rows = sample.table()
    if len(rows) < 2:
        return None
    keys, places = np.unique(rows[:, 0], return_inverse=True)
    times = {}
    for code in (0, 1):
        least = np.full(len(keys), np.iinfo(np.int64).max)
        chosen = rows[:, 2] == code
        np.minimum.at(least, places[chosen], rows[chosen, 1])
        times[code] = least
    both = (times[0] < np.iinfo(np.int64).max) & (times[1] < np.iinfo(np.int64).max)
    gap = times[0][both] - times[1][both]
    early = gap > 60_000_000
    if both.sum() < 50 or early.mean() < 0.02 or early.sum() < 20:
        return None
    lag = float(np.median(gap[early])) / HOUR_US
    hours = np.unique(times[1][both][early] // HOUR_US)
    message = (
        f"{early.mean():.0%} of the clicks are before their own impression, by {lag:.3g} hours in the median"
        ": are their times of another zone?"
    )
    count = int(early.sum()) << sample.shift
    # Where most clicks are early it is the whole table.
    named = tuple(int(hour) for hour in hours) if early.mean() < 0.5 else ()
    return GateFinding(
        "click_before_impression", "EVENTS", ("at", "request_id"), message, hours=named, count=count
    )
