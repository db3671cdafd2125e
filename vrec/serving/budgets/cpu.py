"""CPU time of a request: of its own steps in the event loop, and of what other processes did for it."""

import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

T = TypeVar("T")


class CpuMeter:
    """Sum of CPU milliseconds."""

    __slots__ = ("ms",)

    def __init__(self) -> None:
        self.ms = 0.0


_METER: ContextVar[CpuMeter | None] = ContextVar("cpu-meter", default=None)


def charge_cpu(milliseconds: float) -> None:
    """Add what another process spent on the present request."""
    if (meter := _METER.get()) is not None:
        meter.ms += milliseconds


class Metered:
    """Awaitable of a coroutine whose steps are measured.

    While it waits, other requests have the event loop, so that neither the clock nor the CPU time of the
    process says what it took. Tasks that it starts and threads that it waits for are not measured.
    """

    def __init__(
        self, work: Coroutine[Any, Any, T], meter: CpuMeter, clock: Callable[[], float] = time.thread_time
    ) -> None:
        """Take the coroutine, the meter that gets its time, and the clock of the thread in seconds."""
        self._work, self._meter, self._clock = work, meter, clock

    def __await__(self) -> Generator[Any, Any, T]:
        """Run the coroutine step by step."""
        send: Callable[..., Any] = self._work.send
        argument: Any = None
        token = _METER.set(self._meter)
        try:
            while True:
                begun = self._clock()
                try:
                    wanted = send(argument)
                except StopIteration as done:
                    return done.value
                finally:
                    self._meter.ms += (self._clock() - begun) * 1e3
                try:
                    send, argument = self._work.send, (yield wanted)
                except BaseException as error:  # cancellation too, which the coroutine may want to handle
                    send, argument = self._work.throw, error
        finally:
            self._work.close()
            _METER.reset(token)


class _CpuResult(Protocol):
    @property
    def cpu_ms(self) -> float: ...


R = TypeVar("R", bound=_CpuResult)
P = ParamSpec("P")


def measures_cpu(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return a method whose result says its CPU time, in `cpu_ms`.

    It stays 0 where the call is a step of a request that is measured in the same process.
    """

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _METER.get() is not None:
            return await method(*args, **kwargs)
        meter = CpuMeter()
        result = await Metered(method(*args, **kwargs), meter)
        return cast("R", replace(cast("Any", result), cpu_ms=meter.ms))

    return call
