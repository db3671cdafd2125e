"""Attribution of events to the impressions that they follow, for the figures of A/B tests."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Outcome = Literal["click", "watch", "purchase"]
MAX_TRACKED_VIDEOS = 200_000
"""Maximum number of pairs of a shopper and a video whose impressions are remembered, about 100 MB; the pair
that was shown longest ago is forgotten first, and later events of it count for nothing."""
MAX_IMPRESSIONS_PER_VIDEO = 20
"""Maximum number of impressions remembered of one video to one shopper."""

MAX_PURCHASES_PER_IMPRESSION = 20
"""Maximum number of purchases remembered of one impression, for their refunds."""


class OutcomeCredit(NamedTuple):
    """Credit of an outcome to an impression."""

    amount: float
    """Amount that counts; 0 without an impression, or if it has all that it can have."""
    shown_at: int
    """Time of the impression, µs since 1970."""


class TakenPurchase(NamedTuple):
    """Purchase that was credited and no longer counts."""

    at: int
    """Time of the purchase, µs since 1970."""
    shown_at: int
    """Time of the impression, µs since 1970."""
    money: float


@dataclass(slots=True)
class TrackedImpression:
    """Impression of a video to a shopper, and what was credited to it."""

    at: int
    """µs since 1970."""
    request_id: str | None
    credited: dict[Outcome, float] = field(default_factory=dict)
    paid: float = 0.0
    """Value of the purchase that was credited."""
    purchases: list[int] = field(default_factory=list)
    """Times of its purchases that are not refunded, µs since 1970, the credited one first; at most
    MAX_PURCHASES_PER_IMPRESSION."""


class ImpressionTracker:
    """Impressions of the last two windows of `window_us` by shopper and video.

    An outcome belongs to an impression of the same shopper, video and request, at most the window before it
    and not after it; one without a request belongs to the last such impression of the video. What an
    impression can be credited with is limited, so that no number of events moves a figure by more.
    """

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._shown: OrderedDict[tuple[str, str], list[TrackedImpression]] = OrderedDict()

    def show(self, user_id: str, video_id: str, request_id: str | None, at: int) -> bool:
        """Remember an impression; return False if it is one of the same request again."""
        key = (user_id, video_id)
        shown = self._shown.get(key, [])
        repeated = any(one.request_id == request_id and abs(one.at - at) <= self._window_us for one in shown)
        if request_id is not None and repeated:
            return False
        shown = [*shown, TrackedImpression(at, request_id)]
        # An outcome may be late by a window, and then belong to an impression of a window before it.
        newest = max(one.at for one in shown)
        kept = [one for one in shown if newest - one.at <= 2 * self._window_us]
        self._shown[key] = kept[-MAX_IMPRESSIONS_PER_VIDEO:]
        self._shown.move_to_end(key)
        if len(self._shown) > MAX_TRACKED_VIDEOS:
            self._shown.popitem(last=False)
        return True

    def credit(
        self,
        user_id: str,
        video_id: str,
        request_id: str | None,
        at: int,
        *,
        outcome: Outcome,
        amount: float,
        limit: float,
        money: float = 0.0,
    ) -> OutcomeCredit:
        """Credit an outcome to its impression.

        Args:
            user_id: Shopper of the event.
            video_id: Video of the event.
            request_id: Request of the event; None for the last impression of the video.
            at: Time of the event, µs since 1970.
            outcome: Kind of the outcome.
            amount: What the event adds: 1, or seconds watched.
            limit: Maximum that one impression is credited with.
            money: Value of a purchase.

        Returns:
            The impression and at most `amount`.
        """
        matching = [
            one
            for one in self._shown.get((user_id, video_id), ())
            if request_id in (None, one.request_id) and 0 <= at - one.at <= self._window_us
        ]
        if not matching:
            return OutcomeCredit(0.0, at)
        impression = max(reversed(matching), key=lambda one: one.at)
        before = impression.credited.get(outcome, 0.0)
        counted = max(0.0, min(amount, limit - before))
        impression.credited[outcome] = before + counted
        if outcome == "purchase" and len(impression.purchases) < MAX_PURCHASES_PER_IMPRESSION:
            impression.purchases.append(at)
            impression.paid = impression.paid if len(impression.purchases) > 1 else money
        return OutcomeCredit(counted, impression.at)

    def refund(self, user_id: str, video_id: str, request_id: str | None, at: int) -> TakenPurchase | None:
        """Take back the last purchase of a shopper's impressions that is not later than a refund.

        Args:
            user_id: Shopper of the refund.
            video_id: Video of the refund.
            request_id: Request of the purchase; None for any.
            at: Time of the refund, µs since 1970.

        Returns:
            The purchase that no longer counts; None if there is none: nothing was bought, the
            impression has another purchase, or is no longer remembered.
        """
        bought = [
            (moment, one)
            for one in self._shown.get((user_id, video_id), ())
            for moment in one.purchases
            if request_id in (None, one.request_id) and moment <= at
        ]
        if not bought:
            return None
        moment, impression = max(bought, key=lambda pair: pair[0])
        credited_at = impression.purchases[0]
        impression.purchases.remove(moment)
        if impression.purchases:
            return None
        del impression.credited["purchase"]
        return TakenPurchase(credited_at, impression.at, impression.paid)
