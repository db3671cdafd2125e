"""Metrics of the service, which Ray exports to Prometheus from each process.

Ray prefixes every name with `ray_`, appends `_total` to a counter's, and adds the tag `WorkerId` of the
process; vrec adds the tags `node`, the name of the deployment, and `tenant`, empty for the default one.
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
from vrec.serving.health.hours import ModelHealth
from vrec.serving.messages import ListResult
from vrec.serving.tenants.context import current_tenant

LATENCY = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bucket bounds of a histogram of latencies, in seconds."""
NODE = "node"
"""Tag with the name of the deployment."""
TENANT = "tenant"
"""Tag with the tenant that a value is of. There are no more of them than the service's settings declare."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """Definition of a metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Bucket bounds of a histogram, ascending."""

    @property
    def exported(self) -> tuple[str, ...]:
        """Names of the series that Prometheus sees."""
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
        return tuple(f"ray_{self.name}{suffix}" for suffix in suffixes[self.kind])


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
    "Candidates that were found for a recommendation",
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
STORE_UP = MetricSpec("vrec_store_up", "gauge", "1 if the store of profiles took a write just now, 0 if not")
LOG_ENTRIES = MetricSpec(
    "vrec_log_entries", "gauge", "Number of the newest entry of the log of events, one more with every event"
)
STORE_BYTES = MetricSpec(
    "vrec_store_bytes",
    "gauge",
    "Bytes of the store of profiles, on the disk or in Redis: `used`, and `free` before it refuses writes",
    ("of",),
)
REFUSED = MetricSpec(
    "vrec_bundle_refused", "gauge", "1 where the bundle asked for last is not the one served"
)
CHANGES = MetricSpec("vrec_catalogue_changes", "counter", "Changes of the catalog: put, removed", ("change",))
UPLOADS = MetricSpec(
    "vrec_uploads", "counter", "Videos embedded, and those that were not by error", ("outcome",)
)

STREAM_WINDOWS = MetricSpec(
    "vrec_stream_windows",
    "counter",
    "Windows of live streams: embedded, unchanged, failed by error, and those whose follower died",
    ("outcome",),
)
GUARD_EVENTS = MetricSpec(
    "vrec_guard_events",
    "counter",
    "Choices that do not count in trends and ranking: held, released, repeated, quarantined",
    ("outcome",),
)
GUARD_HELD = MetricSpec("vrec_guard_held", "gauge", "Choices by newcomers that are held back now")
CREATOR_PLACES = MetricSpec(
    "vrec_creator_places", "counter", "Places in lists of creators, by whether the creator is new", ("new",)
)
CREATOR_GINI = MetricSpec(
    "vrec_creator_gini", "gauge", "Gini coefficient of these places over all creators, 0 if they are even"
)

ASSISTANT = MetricSpec(
    "vrec_assistant_seconds",
    "histogram",
    "Seconds until the assistant's answer was durable, by its kind; `again` for a message sent again",
    ("kind",),
    LATENCY,
)
ASSISTANT_CALLS = MetricSpec(
    "vrec_assistant_calls",
    "counter",
    "Questions to the shop's orders tool (`orders`) and the language model (`parse`, `phrase`), by outcome: "
    "`used`, `refused` because of what it says, or `failed`",
    ("task", "outcome"),
)

CPU = MetricSpec(
    "vrec_cpu_seconds",
    "counter",
    "Seconds of CPU time of requests by route, in HTTP and, for lists, in ranking",
    ("route",),
)
SHED = MetricSpec(
    "vrec_shed",
    "counter",
    "Requests that gave way: lists of popular videos (`popular`) and refusals (`refused`), because of the "
    "CPU time of their caller (`budget`) or of all that run (`load`)",
    ("action", "cause"),
)
MODEL_FIGURE = MetricSpec(
    "vrec_model_figure",
    "gauge",
    "Figures of the model in the last hour that was compared: click_gauc, click_ece, coverage and clicks",
    ("figure",),
)
MODEL_EVIDENCE = MetricSpec(
    "vrec_model_evidence", "gauge", "Share of the evidence that raises an alarm about the model", ("alarm",)
)
MODEL_ALARM = MetricSpec(
    "vrec_model_alarm", "gauge", "1 while an alarm about the model is raised", ("alarm",)
)

METRICS = (
    *(HTTP, STAGE, CANDIDATES, ANSWERS, DEGRADED, EVENTS, APPLY, LAG, REFUSED, CHANGES, UPLOADS),
    STREAM_WINDOWS,
    *(STORE_UP, LOG_ENTRIES, STORE_BYTES),
    *(CREATOR_PLACES, CREATOR_GINI),
    *(GUARD_EVENTS, GUARD_HELD),
    *(ASSISTANT, ASSISTANT_CALLS),
    *(CPU, SHED),
    *(MODEL_FIGURE, MODEL_EVIDENCE, MODEL_ALARM),
)
SERVE_NAMES = (
    "ray_serve_num_http_requests_total",
    "ray_serve_deployment_replica_healthy",
    "ray_serve_deployment_queued_queries",
)
"""Metrics of Ray Serve itself that `deploy/grafana.json` shows."""
NODE_NAMES = (
    "ray_node_disk_utilization_percentage",
    "ray_node_disk_free",
    "ray_node_mem_used",
    "ray_node_mem_total",
)
"""Metrics of Ray about its nodes that `/metrics` has, too: room on the disk of its files, and memory."""
GAUGE_REPEAT_S = 5.0
"""Seconds after which gauges are recorded again: Ray drops one that has not been recorded for a while."""
MAX_SURFACES = 20
"""Maximum number of surfaces with series of their own: callers name them, and each name is another series."""


class SurfaceLabels:
    """Labels of surfaces: the first ones seen by name, all others as "other"."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name(self, surface: str) -> str:
        """Return the label of a surface."""
        if surface in self._known:
            return surface
        if len(self._known) >= MAX_SURFACES:
            return "other"
        self._known.add(surface)
        return surface


class MetricsRecorder(Protocol):
    """Recorder of metrics."""

    def record(self, metric: MetricSpec, value: float = 1.0, **tags: str) -> None:
        """Add to a counter, set a gauge, or add an observation to a histogram."""
        ...


class RayMetricsRecorder:
    """Recorder that passes metrics to Ray, in about 3 µs each."""

    def __init__(self) -> None:
        try:
            node = serve.get_replica_context().deployment
        except RayServeException:
            node = ""
        self._defaults = {NODE: node}
        self._setters: dict[str, Callable[..., None]] = {}
        self._gauges: dict[tuple[str, ...], Callable[[], None]] = {}

    def record(self, metric: MetricSpec, value: float = 1.0, **tags: str) -> None:
        """See MetricsRecorder."""
        set_value = self._setters.get(metric.name) or self._setter(metric)
        tags[TENANT] = current_tenant()
        set_value(value, tags)
        if metric.kind == "gauge":
            if not self._gauges:
                threading.Thread(target=self._repeat, name="vrec-gauges", daemon=True).start()
            self._gauges[metric.name, *tags.values()] = partial(set_value, value, tags)

    def _repeat(self) -> None:
        while True:
            time.sleep(GAUGE_REPEAT_S)
            for set_again in list(self._gauges.values()):
                set_again()

    def _setter(self, metric: MetricSpec) -> Callable[..., None]:
        tags = (NODE, TENANT, *metric.tags)
        set_value: Callable[..., None]
        match metric.kind:
            case "counter":
                recorded: Any = metrics.Counter(metric.name, metric.about, tags)
                set_value = recorded.inc
            case "gauge":
                recorded = metrics.Gauge(metric.name, metric.about, tags)
                set_value = recorded.set
            case "histogram":
                recorded = metrics.Histogram(metric.name, metric.about, list(metric.bounds), tags)
                set_value = recorded.observe
        recorded.set_default_tags(self._defaults)
        self._setters[metric.name] = set_value
        return set_value


class InMemoryMetricsRecorder:
    """Recorder that keeps metrics in this process, where there is no Ray to export them."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, ...]] = Counter()
        """Sum of a counter or histogram, or last value of a gauge, by the metric's name, its tag values in
        the order of its tags, and the tenant if it is not the default one."""
        self.counts: Counter[tuple[str, ...]] = Counter()
        """Number of recorded values, by the same keys."""

    def record(self, metric: MetricSpec, value: float = 1.0, **tags: str) -> None:
        """See MetricsRecorder."""
        tenant = current_tenant()
        key = (metric.name, *(tags[tag] for tag in metric.tags), *((f"tenant={tenant}",) if tenant else ()))
        self.counts[key] += 1
        self.sums[key] = value if metric.kind == "gauge" else self.sums[key] + value  # type: ignore[assignment]


@cache
def metrics_recorder() -> MetricsRecorder:
    """Return the recorder of this process: Ray's if the process is part of a cluster at the first call."""
    return RayMetricsRecorder() if ray.is_initialized() else InMemoryMetricsRecorder()


def record_recommendation(
    recorder: MetricsRecorder, answer: ListResult, arm: str, surface: str, call_s: float | None
) -> None:
    """Record one recommendation; `call_s` is the wait of HTTP in seconds, None without a call to ranking."""
    if call_s is not None:
        for stage, spent_ms in answer.spent_ms.items():
            recorder.record(STAGE, spent_ms / 1e3, stage=stage)
        recorder.record(STAGE, call_s, stage="call")
        recorder.record(CANDIDATES, answer.candidates)
    recorder.record(ANSWERS, arm=arm, surface=surface)
    for cause in answer.degraded:
        recorder.record(DEGRADED, cause=cause)


def record_model_health(recorder: MetricsRecorder, health: ModelHealth) -> None:
    """Record the health of the model as of the last hour that was compared."""
    for figure, value in {**(health.metrics or {}), **(health.counts or {})}.items():
        recorder.record(MODEL_FIGURE, value, figure=figure)
    for alarm in health.alarms:
        recorder.record(MODEL_EVIDENCE, alarm.evidence, alarm=alarm.kind)
        recorder.record(MODEL_ALARM, float(alarm.since is not None), alarm=alarm.kind)


def record_events(
    recorder: MetricsRecorder,
    events: pa.Table,
    results: Sequence[ApplyResult | VrecError],
    sizes: Sequence[int],
    seconds: float,
) -> None:
    """Record the results of several calls whose EVENTS were stored together in `seconds`."""
    counts = {"new": 0, "repeated": 0, "refused": 0, "no_consent": 0}
    for result, size in zip(results, sizes, strict=True):
        if isinstance(result, VrecError):
            counts["refused"] += size
        else:
            counts["new"] += result.new
            counts["repeated"] += result.repeated
            counts["no_consent"] += result.refused
    for outcome, count in counts.items():
        if count:
            recorder.record(EVENTS, count, outcome=outcome)
    recorder.record(APPLY, seconds)
    if events.num_rows:
        oldest = pc.min(events.column("at").cast(pa.int64())).as_py()
        recorder.record(LAG, max(0.0, time.time() - oldest / 1e6))
