"""Rate limits of callers."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from vrec.config.serve import SecurityConfig, TenantLimits
from vrec.serving.http.errors import HttpProblem

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths without rate limit, which load balancers request."""


CLEARED_EVERY_S = 1.0
"""Seconds between two clearings of a storage."""
_CLEARER = ThreadPoolExecutor(1, "clear-rate-limits")
"""Thread of all storages' clearings: to start one blocks the event loop until it runs."""


class RateLimitStorage(MemoryStorage):
    """In-memory storage of `limits` that clears expired entries once a second.

    Its parent starts a thread for nearly every request to do so. The limits do not depend on the clearing.
    """

    next_clearing = 0.0
    """Time of the monotonic clock before which it is not cleared."""

    def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802  the parent calls this name
        now = time.monotonic()
        if now >= self.next_clearing:
            self.next_clearing = now + CLEARED_EVERY_S
            _CLEARER.submit(self.timer.function)


class RateLimiter:
    """Rate limit per caller: a moving window as long as a burst takes at the average rate."""

    def __init__(self, config: SecurityConfig | TenantLimits) -> None:
        seconds = max(1, math.ceil(config.burst / config.requests_per_second))
        amount = max(1, math.floor(config.requests_per_second * seconds))
        self._limit = RateLimitItemPerSecond(amount, seconds)
        self._window = MovingWindowRateLimiter(RateLimitStorage())
        self._description = f"{amount} requests in {seconds} s"

    def count(self, caller: str) -> None:
        """Count a request; raise HttpProblem, without counting it, if it exceeds the limit."""
        if self._window.hit(self._limit, caller):
            return
        stats = self._window.get_window_stats(self._limit, caller)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        detail = f"more than {self._description}: send the request again in {wait} s, and events in batches"
        raise HttpProblem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})
