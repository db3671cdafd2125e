"""Judgement of events as they come: who alone pushes a video, and do others vouch for them?

A click farm is hundreds of accounts that are new, or that were given a history in advance. Newcomers are no
sin: a sale or a link brings more of them than a farm. What a farm cannot have at the price of clicks is paid
for: purchases, and shoppers who have bought. So shoppers have three ranks, newcomers, regulars and customers,
and each rank vouches for those below it. Each video has a bucket of tokens for newcomers and one for
regulars. A first choice of the video takes a token of its bucket. Where there is none the choice is held
back: it is not counted until tokens come, and then the oldest are counted first. Tokens come

- with time, as many as came before, and a few,
- with each shopper of a higher rank who chooses the video, as many as there are such shoppers to one of
  these, with a margin, and more while customers are unusually many,
- with each purchase by a further shopper, as many as the shop's choices per purchase,
- and by announcement of the shop, for the newcomers that it expects.

So a farm gets the few, and what an honest crowd is held back for comes back with the first buyers. All is
O(1) per event and depends on the events in their order alone, so that the same log gives the same result in
every process. Ages are by the latest time that the log has reached, as the times of events are the sender's.
"""

import math
from collections.abc import Iterator, Mapping, Set
from typing import Generic, TypeVar

from vrec.robustness.behavior.config import StreamGuardConfig
from vrec.robustness.behavior.recent import RecentItems
from vrec.robustness.behavior.stream_state import (
    CUSTOMER,
    DAY_US,
    FAST_US,
    MINUTE_US,
    NEWCOMER,
    REGULAR,
    SLOW_US,
    Announcement,
    Crowd,
    GuardedShopper,
    GuardedVideo,
    GuardFigures,
    video_bit,
)

P = TypeVar("P")

HISTORY_VIDEOS, LONG_HISTORY_VIDEOS = 3, 8
"""Different videos of a shopper with a history, and of one whose history is one however short."""
LOYAL_DAYS = 4
"""Days with choices of a shopper who stands for a customer in a shop without purchases."""
RISE_SIGMAS = 3.0
"""Standard deviations of a Poisson variable above which customers are unusually many."""
LEAST_ESTABLISHED = 100.0
"""Choices by regulars and customers, decayed, below which nothing is held back, as in a new shop all are
newcomers; and those by customers below which regulars count as customers."""
LEAST_PURCHASES = 50.0
"""Purchases, decayed, from which customers are those who have bought."""
LARGEST_RATIO = 20.0
"""Largest number of shoppers per shopper of a higher rank that is taken for the shop's usual one."""
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


class StreamGuard(Generic[P]):
    """Decision for each event whether it counts now, later or not at all.

    `P` is whatever the caller wants back of a choice when it is counted after all.
    """

    def __init__(
        self,
        config: StreamGuardConfig,
        quarantined: Set[str] = frozenset(),
        announced: Mapping[str, Announcement] | None = None,
    ) -> None:
        """Build it without events.

        Args:
            config: Settings.
            quarantined: Shoppers of whom only purchases count.
            announced: Newcomers that the shop expects, by video.
        """
        self._config, self._quarantined = config, quarantined
        self._announced = {name: [one, one.newcomers] for name, one in (announced or {}).items()}
        self._history_us = round(config.history_minutes * MINUTE_US)
        self._shoppers: RecentItems[str, GuardedShopper] = RecentItems(config.most_shoppers)
        self._videos: RecentItems[str, GuardedVideo[P]] = RecentItems(config.most_shoppers)
        self._pairs: RecentItems[int, int] = RecentItems(config.most_shoppers)
        self._most_times = config.most_repeats << _STATE_BITS
        self._discounts: dict[str, dict[str, float]] = {}
        self._released: list[P] = []
        self._now, self._decayed_at, self._held = 0, 0, 0
        self._choices = [0.0, 0.0, 0.0]
        """First choices that were counted by rank, decayed."""
        self._purchases = 0.0
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

    def purchase(self, user_id: str, video_id: str, at: int, *, vouches: bool = True) -> None:
        """Take note of a purchase, which always counts.

        Args:
            user_id: Shopper.
            video_id: Video that was bought.
            at: Time, µs since 1970.
            vouches: Whether it vouches for its shopper and its video; not if anybody could have said so.
        """
        if at > self._now:
            self._move(at)
        if not vouches or not self._config.on or user_id in self._quarantined:
            return
        shopper = self._shopper(user_id)
        shopper.bought += 1
        self._purchases += 1
        if shopper.bought_last == video_id:
            return
        shopper.bought_last = video_id
        # A buyer of another video vouches for the crowd that he or she came with.
        for name in {video_id, shopper.held or video_id}:
            video = self._video(name)
            video.buyers += 1
            self._vouch(name, video, self._per_purchase(video))

    def refund(self, user_id: str, video_id: str, at: int, *, vouches: bool = True) -> None:
        """Take back what a purchase vouched for, as far as it has not been used.

        Args:
            user_id: Shopper.
            video_id: Video that was bought.
            at: Time, µs since 1970.
            vouches: Whether the purchase did.
        """
        if at > self._now:
            self._move(at)
        shopper = self._shoppers.get(user_id)
        if not vouches or shopper is None or not shopper.bought:
            return
        shopper.bought -= 1
        self._purchases = max(self._purchases - 1, 0.0)
        if shopper.bought_last == video_id:
            shopper.bought_last, video = None, self._video(video_id)
            self._vouch(video_id, video, -self._per_purchase(video))
            video.buyers = max(video.buyers - 1, 0.0)

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
        day, pair = self._now // DAY_US, self._pairs.get(key)
        if pair is not None and pair >> _TIMES_BITS == day:
            if pair & _STATE != _PASSED:
                return False
            if pair & _TIMES >= self._most_times:
                self.figures.repeated += 1
                return False
            self._pairs.put(key, pair + _ONE_MORE)
            return True
        state = self._judge(user_id, video_id)
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
        for crowd in video.crowds:
            before = crowd.held.get(key)
            if before is not None:
                for name, amount in counts.items():
                    before[1][name] = before[1].get(name, 0.0) + amount
                return
        crowd = video.crowds[video.last_rank]
        crowd.held[key] = payload, counts
        self._held += 1
        if len(crowd.held) > MOST_HELD_PER_VIDEO or self._held > MOST_HELD:
            del crowd.held[next(iter(crowd.held))]
            self._held -= 1

    def take_released(self) -> Iterator[P]:
        """Yield the choices that have been held back and count now, each once."""
        released, self._released = self._released, []
        yield from released

    def _judge(self, user_id: str, video_id: str) -> int:
        """Return the state of a shopper's first choice of a video on a day."""
        if user_id in self._quarantined:
            self.figures.quarantined += 1
            return _BARRED
        if not self._config.on:
            return _PASSED
        shopper, video = self._shopper(user_id), self._video(video_id)
        rank = self._rank(shopper)
        shopper.videos |= video.bit
        counted = self._choices
        if rank == CUSTOMER or counted[REGULAR] + counted[CUSTOMER] < LEAST_ESTABLISHED:
            self._count(rank, video)
        elif rank == REGULAR and counted[CUSTOMER] < LEAST_ESTABLISHED:
            self._count(rank, video, is_top=True)
        elif rank == NEWCOMER and self._is_announced(video_id):
            return _PASSED
        elif video.crowds[rank].tokens >= 1:
            video.crowds[rank].tokens -= 1
            self._count(rank, video)
        else:
            video.last_rank, shopper.held = rank, video_id
            self.figures.held += 1
            return _HELD
        self._release(video_id, video)
        return _PASSED

    def _rank(self, shopper: GuardedShopper) -> int:
        known = shopper.videos.bit_count()
        if shopper.bought:
            return CUSTOMER
        if known >= LONG_HISTORY_VIDEOS:
            is_loyal = shopper.days >= LOYAL_DAYS and self._purchases < LEAST_PURCHASES
            return CUSTOMER if is_loyal else REGULAR
        if known >= HISTORY_VIDEOS and self._now - shopper.first >= self._history_us:
            return REGULAR
        return NEWCOMER

    def _is_announced(self, video_id: str) -> bool:
        """Return whether the shop expects one more newcomer to a video, who is then taken off."""
        found = self._announced.get(video_id)
        if found is None or found[1] < 1 or not found[0].since <= self._now <= found[0].until:
            return False
        found[1] -= 1
        return True

    def _count(self, rank: int, video: GuardedVideo[P], *, is_top: bool = False) -> None:
        """Count a first choice, and add the tokens by which it vouches for those of lower ranks."""
        counted = self._choices
        counted[rank] += 1
        if rank < CUSTOMER:
            video.crowds[rank].counted += 1
        if rank == NEWCOMER:
            return
        more = 0.0
        if rank == CUSTOMER or is_top:
            usual = video.slow * FAST_US / SLOW_US
            video.fast += 1
            video.slow += 1
            if video.fast > usual + RISE_SIGMAS * math.sqrt(usual + 1):
                more = self._config.per_rise
        above = counted[REGULAR] + counted[CUSTOMER]
        margin = self._config.margin
        video.crowds[NEWCOMER].give(margin * _ratio(counted[NEWCOMER], above) + more, MOST_TOKENS)
        if rank == CUSTOMER:
            usual_ratio = _ratio(counted[REGULAR], counted[CUSTOMER])
            video.crowds[REGULAR].give(margin * usual_ratio + more, MOST_TOKENS)

    def _vouch(self, video_id: str, video: GuardedVideo[P], tokens: float) -> None:
        for crowd in video.crowds:
            crowd.give(tokens, MOST_TOKENS)
        self._release(video_id, video)

    def _per_purchase(self, video: GuardedVideo[P]) -> float:
        """Return the choices for which the last purchase of a video vouches.

        They are the shop's own choices per purchase, and fewer for a video's first buyers, who may be the
        seller's friends.
        """
        first, most = self._config.per_purchase
        usual = self._config.margin * sum(self._choices) / (self._purchases + 1)
        return min(max(usual, first), first * video.buyers, most)

    def _release(self, video_id: str, video: GuardedVideo[P]) -> None:
        """Count the oldest choices that are held back, one for each token, the higher rank first."""
        for rank in (REGULAR, NEWCOMER):
            crowd = video.crowds[rank]
            while crowd.held and crowd.tokens >= 1:
                key = next(iter(crowd.held))
                payload, counts = crowd.held.pop(key)
                pair = self._pairs.get(key)
                if pair is not None:
                    self._pairs.put(key, pair & ~_STATE | _PASSED)
                crowd.tokens -= 1
                self._held -= 1
                self.figures.released += 1
                self._count(rank, video)
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

    def _shopper(self, user_id: str) -> GuardedShopper:
        found = self._shoppers.get(user_id)
        if found is None:
            found = GuardedShopper(self._now, self._now)
            self._shoppers.put(user_id, found)
        else:
            found.see(self._now)
        return found

    def _video(self, video_id: str) -> GuardedVideo[P]:
        """Return a video as of now."""
        found = self._videos.get(video_id)
        if found is None:
            free = self._config.free_newcomers
            found = GuardedVideo(self._now, video_bit(video_id), (Crowd(free), Crowd(free)))
            self._videos.put(video_id, found)
        else:
            found.move(self._now, self._config.free_newcomers)
        return found

    def _move(self, at: int) -> None:
        """Move the clock of the guard to the time of an event, which is later."""
        self._now = at
        passed = at - self._decayed_at
        if passed > MINUTE_US:
            decay = 2.0 ** (-passed / (7 * SLOW_US)) if self._decayed_at else 1.0
            self._choices = [decay * one for one in self._choices]
            self._purchases *= decay
            self._decayed_at = at


def _ratio(lower: float, higher: float) -> float:
    return min((lower + 1) / (higher + 1), LARGEST_RATIO)
