"""Middleware that measures the CPU time of requests, and decides which give way."""

import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from vrec.config.budgets import BudgetsConfig
from vrec.serving.budgets.bodies import BodyLimits
from vrec.serving.budgets.cpu import CpuMeter, Metered
from vrec.serving.budgets.ledger import CpuLedger, CpuRate
from vrec.serving.budgets.load import CheapReason, RunningRequests, lists_made_cheap
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.rates import OPEN_PATHS
from vrec.serving.observability.metrics import CPU, SHED, MetricsRecorder
from vrec.serving.observability.requests import route_name

EVENTS_PATH = "/v1/events"
LIST_PATHS = frozenset({"/v1/recommend", "/v1/recommend:slots"})
"""Requests whose lists can be made cheap."""
MEDIA_PREFIX = "/media/"
"""Files, whose responses last as long as a video plays: they count for the CPU time alone."""
TENANT = "tenant"
"""Caller in the ledger of a tenant, which all its requests are charged to."""
Charged = tuple[CpuLedger, str]
"""Ledger that a request is charged in, and its caller there."""


class BudgetMiddleware:
    """ASGI middleware for the budgets of callers and the load of the process.

    It comes after SecurityMiddleware, which says who calls (`caller` of the state) and turns its errors into
    responses.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: BudgetsConfig,
        recorder: Callable[[], MetricsRecorder],
        tenant_ms_per_second: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build it.

        Args:
            app: The application.
            config: Settings.
            recorder: Function that returns the recorder of metrics.
            tenant_ms_per_second: CPU time of all requests of a tenant together; None without a tenant.
            clock: Clock in seconds by which budgets pay.
        """
        self._app, self._recorder = app, recorder
        self._bodies = BodyLimits(config)
        self._running = RunningRequests(config.lists_at_once, config.requests_at_once)
        self._keys = CpuLedger(_rate(config, config.cpu_ms_per_second), clock)
        self._pages = CpuLedger(_rate(config, config.page_cpu_ms_per_second), clock)
        self._tenant = None
        if tenant_ms_per_second is not None:
            self._tenant = CpuLedger(_rate(config, tenant_ms_per_second), clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection; raises HttpProblem for one that is refused."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        caller, path = scope["state"]["caller"], scope["path"]
        ledgers = [(self._pages if scope["state"]["is_page"] else self._keys, caller)]
        if self._tenant is not None:
            ledgers.append((self._tenant, TENANT))
        is_event, is_list = scope["method"] == "POST" and path == EVENTS_PATH, path in LIST_PATHS
        if not is_event:
            self._admit(ledgers, path)
        cheap = self._cheap_reason(ledgers, caller) if is_list else None
        if cheap is not None:
            self._recorder().record(SHED, action="popular", cause=cheap)
        body = self._bodies.of(receive, caller)
        try:
            with lists_made_cheap(cheap):
                if is_event or path.startswith(MEDIA_PREFIX):
                    await self._metered(ledgers, scope, body, send)
                else:
                    with self._running.run(caller, is_list=is_list and cheap is None):
                        await self._metered(ledgers, scope, body, send)
        finally:
            body.close()

    def _admit(self, ledgers: Sequence[Charged], path: str) -> None:
        waits = [ledger.wait_s(name) for ledger, name in ledgers]
        wait = max((one for one in waits if one is not None), default=None)
        if wait is not None:
            self._recorder().record(SHED, action="refused", cause="budget")
            detail = f"the requests of this caller took too much CPU time: send it again in {wait} s"
            raise HttpProblem(429, "cpu-budget", detail, headers={"Retry-After": str(wait)})
        if self._running.is_full and not path.startswith(MEDIA_PREFIX):
            self._recorder().record(SHED, action="refused", cause="load")
            detail = "the service has too many requests at a time: send it again in 2 s"
            raise HttpProblem(503, "overloaded", detail, headers={"Retry-After": "2"})

    def _cheap_reason(self, ledgers: Sequence[Charged], caller: str) -> CheapReason | None:
        if any(ledger.is_short(name) for ledger, name in ledgers):
            return "budget"
        return "load" if self._running.gives_way(caller) else None

    async def _metered(self, ledgers: Sequence[Charged], scope: Scope, receive: Receive, send: Send) -> None:
        meter = CpuMeter()
        charged = [ledger.begin(name) for ledger, name in ledgers]
        try:
            await Metered(_call(self._app, scope, receive, send), meter)
        finally:
            for (ledger, name), before in zip(ledgers, charged, strict=True):
                ledger.end(name, before, meter.ms)
            self._recorder().record(CPU, meter.ms / 1e3, route=route_name(scope))


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Call an application, which returns any awaitable, as a coroutine."""
    await app(scope, receive, send)


def _rate(config: BudgetsConfig, ms_per_second: float) -> CpuRate:
    return CpuRate(ms_per_second, ms_per_second * config.cpu_burst_s)
