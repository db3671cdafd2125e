"""What the service tells Prometheus, through Ray: each process has its own figures, and Ray exports them.

Ray puts `ray_` before every name and `_total` behind a counter's. What tells processes apart in it is Ray's
`WorkerId`; ours is `node`, the name of the deployment.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, Protocol

import pyarrow as pa
import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.util import metrics

from vrec.core.compute import pc
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.serving.messages import ListResult

LATENCY = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: bounds of a histogram's buckets."""
NODE = "node"
"""The tag with the name of the deployment."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One of the figures."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram's buckets, ascending."""

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that Prometheus sees."""
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
        return tuple(f"ray_{self.name}{ending}" for ending in endings[self.kind])


HTTP = MetricSpec(
    "vrec_http_seconds", "histogram", "Seconds of requests by route and status", ("route", "status"), LATENCY
)
STAGE = MetricSpec(
    "vrec_stage_seconds",
    "histogram",
    "Seconds of a recommendation by stage; `call` is all of what HTTP waits for",
    ("stage",),
    LATENCY,
)
CANDIDATES = MetricSpec(
    "vrec_candidates",
    "histogram",
    "Candidates that were ranked for a recommendation",
    bounds=(0.5, 10.0, 30.0, 100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 5000.0),
)
ANSWERS = MetricSpec("vrec_answers", "counter", "Recommendations by arm and surface", ("arm", "surface"))
DEGRADED = MetricSpec("vrec_degraded", "counter", "Recommendations that lack something, by what", ("cause",))
EVENTS = MetricSpec(
    "vrec_events", "counter", "Events by what became of them: new, repeated, refused, failed", ("outcome",)
)
APPLY = MetricSpec("vrec_apply_seconds", "histogram", "Seconds until events were durable", bounds=LATENCY)
LAG = MetricSpec(
    "vrec_event_lag_seconds",
    "histogram",
    "Seconds between an event and its arrival, of the oldest of those kept together",
    bounds=(0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0),
)
REFUSED = MetricSpec(
    "vrec_bundle_refused", "gauge", "1 where the bundle asked for last is not the one served"
)
CHANGES = MetricSpec(
    "vrec_catalogue_changes", "counter", "Changes of the catalogue: put, removed", ("change",)
)
UPLOADS = MetricSpec(
    "vrec_uploads", "counter", "Videos embedded, and those that were not by error", ("outcome",)
)

METRICS = (HTTP, STAGE, CANDIDATES, ANSWERS, DEGRADED, EVENTS, APPLY, LAG, REFUSED, CHANGES, UPLOADS)
SERVE_NAMES = (
    "ray_serve_num_http_requests_total",
    "ray_serve_deployment_replica_healthy",
    "ray_serve_deployment_queued_queries",
)
"""What Ray Serve exports by itself and `deploy/grafana.json` shows."""
GAUGE_REPEAT_S = 5.0
"""Seconds after which gauges are told again: Ray drops one that has not been told for a while."""
MAX_SURFACES = 20
"""Surfaces that are told apart: callers name them, and every name is another series to keep."""


class SurfaceLabels:
    """The surfaces seen first by their names, all others as "other"."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name(self, surface: str) -> str:
        """What figures call the surface."""
        if surface in self._known:
            return surface
        if len(self._known) >= MAX_SURFACES:
            return "other"
        self._known.add(surface)
        return surface


class MetricsRecorder(Protocol):
    """What takes figures."""

    def record(self, figure: MetricSpec, value: float = 1.0, **tags: str) -> None:
        """Adds to a counter, sets a gauge, or puts one observation in a histogram."""
        ...


class RayMetricsRecorder:
    """Gives figures to Ray, about 3 µs each."""

    def __init__(self) -> None:
        try:
            node = serve.get_replica_context().deployment
        except RayServeException:
            node = ""
        self._defaults = {NODE: node}
        self._takers: dict[str, Callable[..., None]] = {}
        self._gauges: dict[tuple[str, ...], Callable[[], None]] = {}

    def record(self, figure: MetricSpec, value: float = 1.0, **tags: str) -> None:
        """See Meter."""
        take = self._takers.get(figure.name) or self._taker(figure)
        take(value, tags)
        if figure.kind == "gauge":
            if not self._gauges:
                threading.Thread(target=self._repeat, name="vrec-gauges", daemon=True).start()
            self._gauges[figure.name, *tags.values()] = partial(take, value, tags)

    def _repeat(self) -> None:
        while True:
            time.sleep(GAUGE_REPEAT_S)
            for take in list(self._gauges.values()):
                take()

    def _taker(self, figure: MetricSpec) -> Callable[..., None]:
        tags = (NODE, *figure.tags)
        take: Callable[..., None]
        match figure.kind:
            case "counter":
                made: Any = metrics.Counter(figure.name, figure.about, tags)
                take = made.inc
            case "gauge":
                made = metrics.Gauge(figure.name, figure.about, tags)
                take = made.set
            case "histogram":
                made = metrics.Histogram(figure.name, figure.about, list(figure.bounds), tags)
                take = made.observe
        made.set_default_tags(self._defaults)
        self._takers[figure.name] = take
        return take


class InMemoryMetricsRecorder:
    """Keeps figures in this process, where there is no Ray to export them."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()
        """By a figure's name and tags, in the figure's order: the sum of a counter or histogram, and the
        last value of a gauge."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        """How often each was told."""

    def record(self, figure: MetricSpec, value: float = 1.0, **tags: str) -> None:
        """See Meter."""
        key = (figure.name, *(tags[tag] for tag in figure.tags))
        self.counts[key] += 1
        self.sums[key] = value if figure.kind == "gauge" else self.sums[key] + value  # type: ignore[assignment]


@cache
def metrics_recorder() -> MetricsRecorder:
    """The meter of this process: Ray's where it is part of a cluster when first asked."""
    return RayMetricsRecorder() if ray.is_initialized() else InMemoryMetricsRecorder()


def record_recommendation(
    to: MetricsRecorder, answer: ListResult, arm: str, surface: str, call_s: float | None
) -> None:
    """Tells of one recommendation, which HTTP waited for `call_s` seconds; None where it asked nobody."""
    if call_s is not None:
        for stage, spent_ms in answer.spent_ms.items():
            to.record(STAGE, spent_ms / 1e3, stage=stage)
        to.record(STAGE, call_s, stage="call")
        to.record(CANDIDATES, answer.candidates)
    to.record(ANSWERS, arm=arm, surface=surface)
    for cause in answer.degraded:
        to.record(DEGRADED, cause=cause)


def record_events(
    to: MetricsRecorder,
    events: pa.Table,
    results: Sequence[ApplyResult | VrecError],
    sizes: Sequence[int],
    seconds: float,
) -> None:
    """Tells what became of EVENTS of several calls that were kept together in `seconds`."""
    counts = {"new": 0, "repeated": 0, "refused": 0}
    for result, size in zip(results, sizes, strict=True):
        if isinstance(result, VrecError):
            counts["refused"] += size
        else:
            counts["new"] += result.new
            counts["repeated"] += result.repeated
    for outcome, count in counts.items():
        if count:
            to.record(EVENTS, count, outcome=outcome)
    to.record(APPLY, seconds)
    if events.num_rows:
        oldest = pc.min(events.column("at").cast(pa.int64())).as_py()
        to.record(LAG, max(0.0, time.time() - oldest / 1e6))
