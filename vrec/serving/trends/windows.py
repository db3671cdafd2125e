"""Counts of videos over a sliding window and over the four windows before it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
"""Pairs of a shopper and a video that are remembered at most, about 26 MB. Where there are more, the
half that came first is forgotten, and counts again if it comes again before the window has passed."""

# Parts of the state of a pair: signs that are in force, and the number of purchases above them.
_LIKED, _OTHER, _HIDDEN, _FOLLOWED, _PURCHASE = 1, 2, 4, 8, 16
_MAX_STATE = 255
_GIVES = {"like": _LIKED, "follow": _FOLLOWED, **dict.fromkeys(HIDING_KINDS, _HIDDEN)}
_TAKES_AWAY = {"unlike": _LIKED, "unfollow": _FOLLOWED, "unhide": _HIDDEN}
_PLAIN = frozenset({"click", "watch", "cart"})

_PairState = tuple[int, int]
"""Time of the choice that counts, µs since 1970, and what is in force."""
PairEvent = tuple[int, str, str, int]
"""Hash of a shopper and a video, the video, kind of the event (one that reverses or hides, else it is taken
for a choice of the video), and its time in µs since 1970."""


class WindowSums(NamedTuple):
    """Numbers of shoppers by video."""

    recent: defaultdict[str, int]
    """In the window."""
    before: defaultdict[str, int]
    """In the BASELINE windows before it."""


class WindowCounts:
    """Shoppers who chose each video, by slices of each of several windows.

    A shopper counts once per video and window, however many events come, until the events that count are
    reversed or the video is hidden. Which pairs are remembered depends on the events and on nothing else, so
    that the same log gives the same counts in every process, in batches of any size.
    """

    def __init__(self, windows_us: Sequence[int], remembered: int = REMEMBERED) -> None:
        """Build the counts without events.

        Args:
            windows_us: Length of each window in µs.
            remembered: Maximum number of pairs of a shopper and a video to remember.
        """
        self._windows = tuple(_SlicedCounts(window_us // SLICES) for window_us in windows_us)
        self._remembered = remembered
        self._apart_us = min(window.apart_us for window in self._windows)
        self._pairs: dict[int, tuple[_PairState, ...]] = {}
        """State of each pair by window, most often the same in all."""

    def record(self, events: Iterable[PairEvent]) -> None:
        """Record events in their order."""
        pairs, many, apart_us = self._pairs, len(self._windows), self._apart_us
        changes = [dict[tuple[int, str], int]() for _ in self._windows]
        for key, video_id, kind, at in events:
            states = pairs.get(key)
            if states is None:
                after = _after(0, kind)
                if not after:
                    continue
                pairs[key] = ((at, after),) * many
                if _counts(after):
                    for window, changed in zip(self._windows, changes, strict=True):
                        place = at // window.slice_us, video_id
                        changed[place] = changed.get(place, 0) + 1
                if len(pairs) > self._remembered:
                    pairs = self._pairs = dict(islice(pairs.items(), len(pairs) // 2, None))
                continue
            last, state = states[0]
            if state & _OTHER and kind in _PLAIN and states[0] is states[-1] and abs(at - last) < apart_us:
                continue  # in force already, as most repeated choices are
            moved = [
                window.follow(state, kind, at, video_id, changed)
                for window, state, changed in zip(self._windows, states, changes, strict=True)
            ]
            if any(new is not old for new, old in zip(moved, states, strict=True)):
                pairs[key] = tuple(moved)
        for window, changed in zip(self._windows, changes, strict=True):
            window.add(changed)

    def advance(self, now: int) -> None:
        """Slide the windows to a time, µs since 1970; they never slide back."""
        for window in self._windows:
            window.advance(now)

    def sums(self, number: int) -> WindowSums:
        """Return the present sums of a window by its number; they are not copied."""
        return self._windows[number].sums


class _SlicedCounts:
    """Counts of one window by slices."""

    def __init__(self, slice_us: int) -> None:
        self.slice_us = slice_us
        # No two choices of a pair that count may lie in the slices of one window, of which one has begun and
        # one may be ahead of this machine's clock.
        self.apart_us = slice_us * (SLICES + 2)
        self._slices: dict[int, defaultdict[str, int]] = {}
        self.sums = WindowSums(defaultdict(int), defaultdict(int))
        self._current = 0

    def follow(
        self, before: _PairState, kind: str, at: int, video_id: str, changes: dict[tuple[int, str], int]
    ) -> _PairState:
        """Return the state of a pair after an event, and add what it changes by slice and video."""
        last, state = before
        if at <= last - self.apart_us:
            return before  # too late to tell whether its window has the pair already
        if at >= last + self.apart_us:
            last, state = at, 0
        after = _after(state, kind)
        if after == state:
            return before
        counted, counts = _counts(state), _counts(after)
        if counts and not counted and kind != "unhide":
            last = at
        if counts != counted:
            place = last // self.slice_us, video_id
            changes[place] = changes.get(place, 0) + counts - counted
        return last, after

    def add(self, changes: Mapping[tuple[int, str], int]) -> None:
        """Add changes of counts by slice and video."""
        recent, before = self.sums
        for (number, video_id), change in changes.items():
            if number < self._current - SLICES * (BASELINE + 1):
                continue
            counts = self._slices.get(number)
            if counts is None:
                counts = self._slices[number] = defaultdict(int)
            counts[video_id] += change
            sums = recent if number >= self._current - SLICES else before
            sums[video_id] += change
            if not sums[video_id]:
                del sums[video_id]

    def advance(self, now: int) -> None:
        """Slide the window to a time, µs since 1970."""
        before, current = self._current, max(self._current, now // self.slice_us)
        if current == before:
            return
        self._current = current
        for number in [one for one in self._slices if one < current - SLICES]:
            counts, is_over = self._slices[number], number < current - SLICES * (BASELINE + 1)
            if number >= before - SLICES:
                _add(self.sums.recent, counts, -1)
                if not is_over:
                    _add(self.sums.before, counts, 1)
            elif is_over:
                _add(self.sums.before, counts, -1)
            if is_over:
                del self._slices[number]


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
