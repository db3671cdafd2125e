"""Debts of callers in CPU time, which a budget pays back as time passes."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

MAX_CALLERS = 20_000
"""Callers that are remembered at most; those without a debt are forgotten first."""
SMOOTHING = 0.2
"""Weight of the latest request in a caller's usual cost."""


@dataclass(slots=True)
class _Account:
    debt_ms: float = 0.0
    at: float = 0.0
    usual_ms: float = 0.0
    """Usual cost of a request."""


@dataclass(frozen=True, slots=True)
class CpuRate:
    """Budget of a caller."""

    ms_per_second: float
    burst_ms: float
    """Debt above which lists give way; above twice as much requests are refused."""


class CpuLedger:
    """Debts of callers.

    A request's cost is known at its end. So that many cannot begin before the first ends, each is charged its
    caller's usual cost at its beginning, and the difference at its end.
    """

    def __init__(self, rate: CpuRate, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the budget of every caller, and a clock in seconds."""
        self._rate, self._clock, self._accounts = rate, clock, dict[str, _Account]()

    def begin(self, caller: str) -> float:
        """Charge a request that begins its usual cost, and return that cost."""
        account = self._current(caller)
        account.debt_ms += account.usual_ms
        return account.usual_ms

    def end(self, caller: str, charged_ms: float, spent_ms: float) -> None:
        """Charge a request that has ended what it spent instead of what it was charged."""
        account = self._current(caller)
        account.debt_ms = max(0.0, account.debt_ms + spent_ms - charged_ms)
        account.usual_ms += SMOOTHING * (spent_ms - account.usual_ms)

    def is_short(self, caller: str) -> bool:
        """Return whether a caller's lists have to give way."""
        return self._debt(caller) > self._rate.burst_ms

    def wait_s(self, caller: str) -> int | None:
        """Return the seconds for which a caller is refused; None if it is not."""
        debt = self._debt(caller)
        if debt <= 2 * self._rate.burst_ms:
            return None
        return max(1, math.ceil((debt - 2 * self._rate.burst_ms) / self._rate.ms_per_second))

    def _debt(self, caller: str) -> float:
        """Return a caller's debt now, without remembering one that has none."""
        account = self._accounts.get(caller)
        return 0.0 if account is None else self._paid(account).debt_ms

    def _current(self, caller: str) -> _Account:
        if caller not in self._accounts and len(self._accounts) >= MAX_CALLERS:
            self._forget()
        return self._paid(self._accounts.setdefault(caller, _Account(at=self._clock())))

    def _paid(self, account: _Account) -> _Account:
        now = self._clock()
        account.debt_ms = max(0.0, account.debt_ms - (now - account.at) * self._rate.ms_per_second)
        account.at = now
        return account

    def _forget(self) -> None:
        """Forget callers without a debt; if all have one, the half with the smaller debts."""
        owing = {name: one for name, one in self._accounts.items() if self._paid(one).debt_ms > 0}
        if len(owing) > MAX_CALLERS // 2:
            largest = sorted(owing, key=lambda name: owing[name].debt_ms)[-(MAX_CALLERS // 2) :]
            owing = {name: owing[name] for name in largest}
        self._accounts = owing
