"""Popular searches: how many different shoppers sent each text.

The store keeps a text and a keyed hash of who sent it, with the number of a period: a day, or less where an
erasure ends it. When a period is over, its key is gone, and nobody can tell any more whose hash it was. So a
shopper counts once per text and period.
"""

import hmac
import time
import unicodedata
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from secrets import token_bytes
from typing import NamedTuple

import msgpack

from vrec.core.state_protocols import RecordLog
from vrec.serving.trends.windows import WINDOW_US, TrendWindow

SEARCHES_LOG = "searches"
"""Log of the store with what was searched."""
PERIODS_LOG = "search-periods"
"""Log of the store whose only record is the key of the present period."""
MAX_SEARCH_CHARS = 80
"""Longest text that is counted: longer ones are rarely sent twice."""
HASH_BYTES, KEY_BYTES = 8, 32
FORMAT = 1
"""First value of each record; others are left out."""


class SearchSent(NamedTuple):
    """Search of a shopper."""

    text: str
    """Normalized text."""
    shopper: bytes
    """Keyed hash of the shopper."""
    period: int
    """Number of the period, in which one shopper has one hash."""
    at: int
    """µs since 1970."""


class PopularSearch(NamedTuple):
    """Text that many shoppers search."""

    text: str
    shoppers: int
    """Shoppers who sent it in the window, counted once per period."""


def normalize_search(text: str) -> str | None:
    """Return the text as it is counted, in lower case with single spaces; None if it is long or empty."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return words if 0 < len(words) <= MAX_SEARCH_CHARS else None


def hash_shopper(key: bytes, user_key: str) -> bytes:
    """Return the hash of a shopper under the key of a period."""
    return hmac.digest(key, user_key.encode(errors="surrogatepass"), "sha256")[:HASH_BYTES]


def utc_day(at: int) -> int:
    """Return the number of the UTC day of a time in µs since 1970."""
    return datetime.fromtimestamp(at / 1e6, UTC).toordinal()


def new_period(day: int) -> bytes:
    """Return the record of PERIODS_LOG that begins a period on a day."""
    packed = msgpack.packb((day, token_bytes(KEY_BYTES)))
    assert packed is not None  # it is None for streaming packers only
    return packed


def end_search_period(store: RecordLog) -> None:
    """Begin a new period, so that no hash of before can be told to be a shopper's; raises StoreError."""
    store.append_record(PERIODS_LOG, new_period(utc_day(time.time_ns() // 1000)), most=1)


def pack_searches(searches: Iterable[SearchSent]) -> bytes:
    """Return searches as a record of SEARCHES_LOG."""
    packed = msgpack.packb((FORMAT, [tuple(one) for one in searches]))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_searches(record: bytes) -> list[SearchSent]:
    """Return the searches of a record; none of a record of another format."""
    form, searches = msgpack.unpackb(record)
    return [SearchSent(*one) for one in searches] if form == FORMAT else []


class SearchCounts:
    """Shoppers of the last searches, by text and period."""

    def __init__(self, most: int) -> None:
        """Build the counts without searches; they hold at most `most`, the last ones."""
        self._most = most
        self._last: OrderedDict[tuple[str, int, bytes], int] = OrderedDict()

    def add(self, searches: Iterable[SearchSent]) -> None:
        """Count searches; of a text by one shopper in one period, the last counts."""
        for one in searches:
            key = one.text, one.period, one.shopper
            self._last[key] = max(one.at, self._last.get(key, one.at))
            self._last.move_to_end(key)
            if len(self._last) > self._most:
                self._last.popitem(last=False)

    def popular(self, window: TrendWindow, at: int, min_shoppers: int) -> list[PopularSearch]:
        """Return the texts of a window up to `at` (µs since 1970), of most shoppers first, ties by text.

        A text is among them if at least `min_shoppers` sent it in one period: these are different persons.
        """
        since = at - WINDOW_US[window]
        shoppers: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        for (text, period, _), last in self._last.items():
            if last > since:
                shoppers[text][period] += 1
        found = [
            PopularSearch(text, sum(counts.values()))
            for text, counts in shoppers.items()
            if max(counts.values()) >= min_shoppers
        ]
        return sorted(found, key=lambda one: (-one.shoppers, one.text))
