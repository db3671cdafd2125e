"""State of shoppers and videos that the guard of events keeps."""

import math
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from zlib import crc32

P = TypeVar("P")

HOUR_US, MINUTE_US, DAY_US = 3_600_000_000, 60_000_000, 86_400_000_000
FAST_US, SLOW_US = 10 * MINUTE_US, DAY_US
"""Half-lives of what is now and of what is usual."""
NEWCOMER, REGULAR, CUSTOMER = 0, 1, 2
"""Ranks of shoppers, of whom each vouches for those below."""
GROWTH = 0.5
"""Part of those of a rank on days before as many of whom may come again, besides the free ones."""
_DAY_APART_US = 20 * HOUR_US
_MASK_BITS = 63
_LEAST_STEP_US = 1_000_000
"""Time after which a video's rates decay."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Newcomers that the shop expects at a video, as of an advertisement."""

    since: int
    """Beginning, µs since 1970."""
    until: int
    """End, µs since 1970."""
    newcomers: int
    """Number of those who count without anybody to vouch for them."""


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
class GuardedShopper:
    """One shopper."""

    first: int
    """Time that the log had reached at the first event."""
    day_at: int
    """The same when the last of `days` began."""
    videos: int = 0
    """Bits of the hashes of chosen videos."""
    days: int = 1
    """Days with events."""
    bought: int = 0
    """Purchases that were not refunded."""
    bought_last: str | None = None
    """Video of the last purchase that vouched for it."""
    held: str | None = None
    """Video of the last choice that was held back."""

    def see(self, now: int) -> None:
        """Take note of an event at a time that the log has reached."""
        if now - self.day_at >= _DAY_APART_US:
            self.days += 1
            self.day_at = now


@dataclass(slots=True)
class Crowd(Generic[P]):
    """Shoppers of one rank who choose a video."""

    tokens: float
    counted: float = 0.0
    """Their choices that were counted, with the slow half-life."""
    held: dict[int, tuple[P, dict[str, float]]] = field(default_factory=dict)
    """First choice of each pair that is held back, and the counts of all its events, the oldest first."""

    def give(self, tokens: float, most: float) -> None:
        """Add tokens, of which there are `most` at most."""
        self.tokens = min(self.tokens + tokens, most)

    def move(self, passed: int, free: float) -> None:
        """Let time pass, µs: tokens come by the day, and those beyond the usual ones go."""
        days = passed / SLOW_US
        # At a constant rate the decayed count is what comes in 1 / ln 2 half-lives.
        per_day = free + GROWTH * self.counted * math.log(2)
        self.counted *= 2.0**-days
        most = free + per_day / 4
        if self.tokens < most:
            self.tokens = min(self.tokens + days * per_day, most)
        else:
            self.tokens = most + (self.tokens - most) * 2.0 ** (-passed / (6 * FAST_US))


@dataclass(slots=True)
class GuardedVideo(Generic[P]):
    """One video."""

    at: int
    """Time up to which its rates have decayed."""
    bit: int
    """Bit of its hash in what shoppers have chosen."""
    crowds: tuple[Crowd[P], Crowd[P]]
    """Newcomers and regulars."""
    fast: float = 0.0
    """Choices by customers, with the fast half-life; the next with the slow one."""
    slow: float = 0.0
    buyers: float = 0.0
    """Shoppers who bought it, with the slow half-life."""
    last_rank: int = NEWCOMER
    """Rank of the shopper whose choice was held back last."""

    def move(self, now: int, free: float) -> None:
        """Move to a time."""
        passed = now - self.at
        if passed < _LEAST_STEP_US:
            return
        self.at = now
        self.fast *= 2.0 ** (-passed / FAST_US)
        decay = 2.0 ** (-passed / SLOW_US)
        self.slow *= decay
        self.buyers *= decay
        for crowd in self.crowds:
            crowd.move(passed, free)


def video_bit(video_id: str) -> int:
    """Return the bit that stands for a video."""
    return 1 << crc32(video_id.encode(errors="surrogatepass")) % _MASK_BITS
