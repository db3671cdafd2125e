"""Judgement of events as they come: do newcomers alone push a video, or do others vouch for them?

A click farm is hundreds of accounts that are new, or have no purpose but one video. Newcomers are no sin: a
sale or a link brings more of them than a farm. What a farm cannot buy at the price of a click are shoppers
with a history who choose the video too, unusually many at once, and purchases. Each video has a bucket of
tokens. A newcomer's first choice of it takes a token. Where there is none the choice is held back: it is not
counted until tokens come, and then the oldest are counted first. Tokens come

- with time, as many as newcomers came before, and a few,
- with each shopper with a history who chooses the video, as many as there are newcomers to such a shopper,
- with each of these beyond what is usual for the video, and with each purchase: many.

So a farm gets the few, and what an honest crowd is held back for comes back with the first buyers. All is
O(1) per event and depends on the events alone, so that the same log gives the same result in every process.
"""

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from zlib import crc32

from vrec.robustness.behavior.config import StreamGuardConfig
from vrec.robustness.behavior.recent import RecentItems

P = TypeVar("P")

MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
FAST_US, SLOW_US = 10 * MINUTE_US, DAY_US
"""Half-lives of what is now and of what is usual."""
HISTORY_VIDEOS, LONG_HISTORY_VIDEOS = 3, 8
"""Different videos of a shopper with a history, and of one whose history is one however short."""
MASK_BITS = 63
RISE_SIGMAS = 3.0
"""Standard deviations of a Poisson variable above which shoppers with a history are unusually many."""
LEAST_ESTABLISHED = 100.0
"""Choices by shoppers with a history, decayed, below which nothing is held back: in a new shop all are
newcomers."""
LARGEST_RATIO = 20.0
"""Largest number of newcomers per shopper with a history that is taken for the shop's usual one."""
GROWTH = 1.5
"""Factor by which newcomers may outnumber those of the days before."""
MOST_TOKENS = 5_000.0
MOST_HELD_PER_VIDEO, MOST_HELD = 5_000, 100_000
"""Held choices that can still be counted later; beyond them the oldest of the video never are."""
MOST_DISCOUNTS = 50_000
"""Videos with events that do not count; beyond them the ones held back first count again."""
_PASSED, _HELD, _BARRED = 0, 1, 2
_STATE_BITS, _TIMES_BITS = 2, 22
_ONE_MORE = 1 << _STATE_BITS
_STATE, _TIMES = (1 << _STATE_BITS) - 1, (1 << _TIMES_BITS) - 1
"""Parts of what is remembered of a pair of a shopper and a video: its state, how many choices of the day
there were, and the day above them."""
LEAST_STEP_US = 1_000_000
"""Time after which a video's rates decay."""


@dataclass(slots=True)
class GuardFigures:
    """Numbers of what became of events."""

    held: int = 0
    """First choices of a video that were held back."""
    released: int = 0
    """Those of them that were counted later."""
    repeated: int = 0
    """Choices beyond what counts of one shopper and video in a day."""
    quarantined: int = 0
    """Choices of shoppers in quarantine."""


@dataclass(slots=True)
class _Shopper:
    first: int
    videos: int = 0
    """Bits of the hashes of chosen videos."""
    bought: bool = False


@dataclass(slots=True)
class _Video(Generic[P]):
    at: int
    tokens: float
    bit: int
    """Bit of its hash in what shoppers have chosen."""
    fast: float = 0.0
    """Choices by shoppers with a history, with the fast half-life; the next with the slow one."""
    slow: float = 0.0
    newcomers: float = 0.0
    """Choices by newcomers that were counted, with the slow half-life."""
    held: dict[int, tuple[P, dict[str, float]]] = field(default_factory=dict)
    """First choice of each pair that is held, and the counts of all its events, the oldest first."""


class StreamGuard(Generic[P]):
    """Decision for each event whether it counts now, later or not at all.

    `P` is whatever the caller wants back of a choice when it is counted after all.
    """

    def __init__(self, config: StreamGuardConfig, quarantined: Set[str] = frozenset()) -> None:
        """Build it without events.

        Args:
            config: Settings.
            quarantined: Shoppers of whom only purchases count.
        """
        self._config, self._quarantined = config, quarantined
        self._history_us = round(config.history_minutes * MINUTE_US)
        self._shoppers: RecentItems[str, _Shopper] = RecentItems(config.most_shoppers)
        self._videos: RecentItems[str, _Video[P]] = RecentItems(config.most_shoppers)
        self._pairs: RecentItems[int, int] = RecentItems(config.most_shoppers)
        self._most_times = config.most_repeats << _STATE_BITS
        self._discounts: dict[str, dict[str, float]] = {}
        self._released: list[P] = []
        self._now, self._decayed_at, self._held = 0, 0, 0
        self._established, self._newcomers = 0.0, 0.0
        self.figures = GuardFigures()
        """Numbers of events by what became of them so far."""

    @property
    def held(self) -> int:
        """Number of choices that are held back now."""
        return self._held

    @property
    def remembered(self) -> tuple[int, int, int]:
        """Numbers of shoppers, videos and pairs that are remembered."""
        return len(self._shoppers), len(self._videos), len(self._pairs)

    def discount(self, video_id: str) -> dict[str, float]:
        """Return the part of a video's counts that does not count, by key; empty for most videos."""
        return self._discounts.get(video_id, {})

    def purchase(self, user_id: str, video_id: str, at: int) -> None:
        """Take note of a purchase, which always counts, and vouches for its shopper and its video."""
        if at > self._now:
            self._move(at)
        self._shopper(user_id, at).bought = True
        if self._config.on and user_id not in self._quarantined:
            video = self._video(video_id)
            video.tokens = min(video.tokens + self._config.per_purchase, MOST_TOKENS)
            self._release(video_id, video)

    def admit(self, key: int, user_id: str, video_id: str, at: int) -> bool:
        """Return whether a choice of a video counts now; if not, `hold` it.

        Args:
            key: Hash of the pair of shopper and video, 64 bits.
            user_id: Shopper.
            video_id: Video that the shopper clicked, watched, liked or put into the cart.
            at: Time, µs since 1970.
        """
        if at > self._now:
            self._move(at)
        day, pair = at // DAY_US, self._pairs.get(key)
        if pair is not None and pair >> _TIMES_BITS == day:
            if pair & _STATE != _PASSED:
                return False
            if pair & _TIMES >= self._most_times:
                self.figures.repeated += 1
                return False
            self._pairs.put(key, pair + _ONE_MORE)
            return True
        state = self._judge(user_id, video_id, at)
        self._pairs.put(key, day << _TIMES_BITS | _ONE_MORE | state)
        return state == _PASSED

    def hold(self, key: int, video_id: str, payload: P, counts: dict[str, float]) -> None:
        """Keep what `admit` has just not let through.

        Args:
            key: Hash of the pair of shopper and video, as for `admit`.
            video_id: Video.
            payload: Returned by `take_released` if the choice is counted after all.
            counts: What the event adds to the counts of the video, by key; purchases never do.
        """
        pair, video = self._pairs.get(key), self._video(video_id)
        self._discount(video_id, counts, 1.0)
        if pair is None or pair & _STATE != _HELD:
            return
        before = video.held.get(key)
        if before is not None:
            for name, amount in counts.items():
                before[1][name] = before[1].get(name, 0.0) + amount
            return
        video.held[key] = payload, counts
        self._held += 1
        if len(video.held) > MOST_HELD_PER_VIDEO or self._held > MOST_HELD:
            del video.held[next(iter(video.held))]
            self._held -= 1

    def take_released(self) -> Iterator[P]:
        """Yield the choices that have been held back and count now, each once."""
        released, self._released = self._released, []
        yield from released

    def _judge(self, user_id: str, video_id: str, at: int) -> int:
        """Return the state of a shopper's first choice of a video on a day."""
        if user_id in self._quarantined:
            self.figures.quarantined += 1
            return _BARRED
        if not self._config.on:
            return _PASSED
        shopper = self._shopper(user_id, at)
        known = shopper.videos.bit_count()
        has_history = (
            shopper.bought
            or known >= LONG_HISTORY_VIDEOS
            or (known >= HISTORY_VIDEOS and at - shopper.first >= self._history_us)
        )
        video = self._video(video_id)
        shopper.videos |= video.bit
        if has_history:
            self._vouch(video_id, video)
            return _PASSED
        if self._established < LEAST_ESTABLISHED or video.tokens >= 1:
            video.tokens = max(video.tokens - 1, 0.0)
            video.newcomers += 1
            self._newcomers += 1
            return _PASSED
        self.figures.held += 1
        return _HELD

    def _vouch(self, video_id: str, video: _Video[P]) -> None:
        """Add the tokens of one shopper with a history."""
        usual = video.slow * FAST_US / SLOW_US
        video.fast += 1
        video.slow += 1
        ratio = min((self._newcomers + 1) / (self._established + 1), LARGEST_RATIO)
        self._established += 1
        more = ratio
        if video.fast > usual + RISE_SIGMAS * math.sqrt(usual + 1):
            more += self._config.per_rise
        video.tokens = min(video.tokens + more, MOST_TOKENS)
        self._release(video_id, video)

    def _release(self, video_id: str, video: _Video[P]) -> None:
        """Count the oldest choices that are held back, one for each token."""
        while video.held and video.tokens >= 1:
            key = next(iter(video.held))
            payload, counts = video.held.pop(key)
            pair = self._pairs.get(key)
            if pair is not None:
                self._pairs.put(key, pair & ~_STATE | _PASSED)
            video.tokens -= 1
            video.newcomers += 1
            self._newcomers += 1
            self._held -= 1
            self.figures.released += 1
            self._discount(video_id, counts, -1.0)
            self._released.append(payload)

    def _discount(self, video_id: str, counts: dict[str, float], sign: float) -> None:
        found = self._discounts.get(video_id)
        if found is None:
            found = self._discounts[video_id] = {}
            if len(self._discounts) > MOST_DISCOUNTS:
                del self._discounts[next(iter(self._discounts))]
        for name, amount in counts.items():
            found[name] = max(found.get(name, 0.0) + sign * amount, 0.0)
        if sign < 0 and not any(found.values()):
            self._discounts.pop(video_id, None)

    def _shopper(self, user_id: str, at: int) -> _Shopper:
        found = self._shoppers.get(user_id)
        if found is None:
            found = _Shopper(at)
            self._shoppers.put(user_id, found)
        elif at < found.first:
            found.first = at
        return found

    def _video(self, video_id: str) -> _Video[P]:
        """Return a video as of now."""
        found = self._videos.get(video_id)
        if found is None:
            bit = 1 << crc32(video_id.encode(errors="surrogatepass")) % MASK_BITS
            found = _Video(self._now, self._config.free_newcomers, bit)
            self._videos.put(video_id, found)
            return found
        passed = self._now - found.at
        if passed >= LEAST_STEP_US:
            found.at = self._now
            found.fast *= 2.0 ** (-passed / FAST_US)
            days = passed / SLOW_US
            slow = 2.0**-days
            found.slow *= slow
            # At a constant rate the decayed count is what comes in 1 / ln 2 half-lives.
            per_day = self._config.free_newcomers + GROWTH * found.newcomers * math.log(2)
            found.newcomers *= slow
            most = self._config.free_newcomers + per_day / 4
            if found.tokens < most:
                found.tokens = min(found.tokens + days * per_day, most)
            else:
                found.tokens = most + (found.tokens - most) * 2.0 ** (-passed / (6 * FAST_US))
        return found

    def _move(self, at: int) -> None:
        """Move the clock of the guard to the time of an event, which is later."""
        self._now = at
        passed = at - self._decayed_at
        if passed > MINUTE_US:
            decay = 2.0 ** (-passed / (7 * SLOW_US)) if self._decayed_at else 1.0
            self._established *= decay
            self._newcomers *= decay
            self._decayed_at = at
