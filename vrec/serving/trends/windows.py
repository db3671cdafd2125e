"""Counts of videos over a sliding window and over the four windows before it."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import islice
from typing import Literal, NamedTuple, get_args

from vrec.core.schema import HIDING_KINDS

TrendWindow = Literal["1h", "24h", "7d"]
"""Windows over which trends are counted, by name."""
HOUR_US = 3_600_000_000
WINDOW_US: Mapping[TrendWindow, int] = {"1h": HOUR_US, "24h": 24 * HOUR_US, "7d": 7 * 24 * HOUR_US}
TREND_WINDOWS: tuple[TrendWindow, ...] = get_args(TrendWindow)
SLICES = 12
"""Slices of a window, by which it slides: it is a whole number of them and the one that has begun."""
BASELINE = 4
"""Windows before the present one, with which it is compared."""
REMEMBERED = 1 << 17
"""Pairs of a shopper and a video that each window remembers at most, about 14 MB. Where there are more, the
half that came first is forgotten, and counts again if it comes again before the window has passed."""

# Parts of the state of a pair: signs that are in force, and the number of purchases above them.
_LIKED, _OTHER, _HIDDEN, _PURCHASE = 1, 2, 4, 8
_MAX_STATE = 255
_NEVER = (-(1 << 62), 0)
_GIVES = {"like": _LIKED, **dict.fromkeys(HIDING_KINDS, _HIDDEN)}
_TAKES_AWAY = {"unlike": _LIKED, "unhide": _HIDDEN}


class WindowSums(NamedTuple):
    """Numbers of shoppers by video."""

    recent: Mapping[str, int]
    """In the window."""
    before: Mapping[str, int]
    """In the BASELINE windows before it."""


class WindowCounts:
    """Shoppers who chose each video, by slices of one window.

    A shopper counts once per video and window, however many events come, until the events that count are
    reversed or the video is hidden. Which pairs are remembered depends on the events and on nothing else, so
    that the same log gives the same counts in every process.
    """

    def __init__(self, window_us: int, remembered: int = REMEMBERED) -> None:
        """Build the counts without events.

        Args:
            window_us: Length of the window in µs.
            remembered: Maximum number of pairs of a shopper and a video to remember.
        """
        self._slice_us, self._remembered = window_us // SLICES, remembered
        # No two choices of a pair that count may lie in the slices of one window, of which one has begun and
        # one may be ahead of this machine's clock.
        self._apart_us = self._slice_us * (SLICES + 2)
        self._pairs: dict[int, tuple[int, int]] = {}
        """Time of the choice that counts, and what is in force, by pair."""
        self._slices: dict[int, defaultdict[str, int]] = {}
        self._recent: defaultdict[str, int] = defaultdict(int)
        self._before: defaultdict[str, int] = defaultdict(int)
        self._current = 0

    def record(self, key: int, video_id: str, kind: str, at: int) -> None:
        """Record an event of a shopper and a video.

        Args:
            key: Hash of the pair.
            video_id: The video.
            kind: Kind of the event: one that reverses or hides, else it is taken for a choice of the video.
            at: Time of the event, µs since 1970.
        """
        last, state = self._pairs.get(key, _NEVER)
        if at <= last - self._apart_us:
            return  # too late to tell whether its window has the pair already
        if at >= last + self._apart_us:
            last, state = at, 0
        after = _after(state, kind)
        if after == state:
            return
        if _counts(after) and not _counts(state) and kind != "unhide":
            last = at
        if (change := _counts(after) - _counts(state)) != 0:
            self._count(video_id, last, change)
        self._pairs[key] = last, after
        if len(self._pairs) > self._remembered:
            self._pairs = dict(islice(self._pairs.items(), len(self._pairs) // 2, None))

    def advance(self, now: int) -> None:
        """Slide the window to a time, µs since 1970; it never slides back."""
        before, current = self._current, max(self._current, now // self._slice_us)
        if current == before:
            return
        self._current = current
        for number in [one for one in self._slices if one < current - SLICES]:
            counts, is_over = self._slices[number], number < current - SLICES * (BASELINE + 1)
            if number >= before - SLICES:
                _add(self._recent, counts, -1)
                if not is_over:
                    _add(self._before, counts, 1)
            elif is_over:
                _add(self._before, counts, -1)
            if is_over:
                del self._slices[number]

    def sums(self) -> WindowSums:
        """Return the present sums; they are not copied."""
        return WindowSums(self._recent, self._before)

    def _count(self, video_id: str, at: int, change: int) -> None:
        number = at // self._slice_us
        if number < self._current - SLICES * (BASELINE + 1):
            return
        counts = self._slices.setdefault(number, defaultdict(int))
        counts[video_id] += change
        _add(self._recent if number >= self._current - SLICES else self._before, {video_id: change}, 1)


def _add(sums: defaultdict[str, int], counts: Mapping[str, int], sign: int) -> None:
    for video_id, count in counts.items():
        sums[video_id] += sign * count
        if not sums[video_id]:
            del sums[video_id]


def _counts(state: int) -> bool:
    """Return whether a pair counts in a state: something chosen is in force, and the video is not hidden."""
    return not state & _HIDDEN and state != 0


def _after(state: int, kind: str) -> int:
    """Return the state of a pair after an event."""
    if kind == "refund":
        return state - _PURCHASE if state >= _PURCHASE else state
    if kind == "purchase":
        return state + _PURCHASE if state + _PURCHASE <= _MAX_STATE else state
    if kind in _TAKES_AWAY:
        return state & ~_TAKES_AWAY[kind]
    return state | _GIVES.get(kind, _OTHER)
