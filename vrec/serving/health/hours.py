"""Comparison of an hour's sampled lists with the log, and the records of the hours."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.types import LogChanges
from vrec.evaluation.health.alarms import AlarmState, HealthAlarms, HealthMemory
from vrec.evaluation.health.config import ModelHealthConfig
from vrec.evaluation.health.hours import HourFigures, ServedImpressions, measure_hour
from vrec.evaluation.sequential import RatioSums, UserLimits
from vrec.ranking.config import LabelsConfig
from vrec.ranking.labels import build_labels
from vrec.ranking.replay import impressions
from vrec.serving.health.lists import FORMAT, ServedList

HOURS_LOG = "model-hours"
"""Log of the store with the figures of hours; each record has what the alarms remember."""
MAX_HOURS_RECORDS = 720
HOUR_US = 3_600_000_000
MAX_IMPRESSIONS = 200_000
"""Events of sampled lists that are looked at per hour, at most."""
Follow = Callable[[int, int], LogChanges]
"""Function from a cursor of the log and a limit to the next changes."""

_IDS = ("request_id", "video_id")


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """Health of the model as of the last hour that was compared."""

    hour: int | None = None
    """Hours since 1970; None before the first one."""
    bundle: str = ""
    metrics: Mapping[str, float] | None = None
    """As in `HourFigures`."""
    counts: Mapping[str, int] | None = None
    alarms: Sequence[AlarmState] = ()
    reference_hours: int = 0
    """Hours of the reference; 0 while there are too few."""


def health_of(alarms: HealthAlarms) -> ModelHealth:
    """Return the health as alarms have it."""
    if not alarms.hours:
        return ModelHealth()
    last = alarms.hours[-1]
    return ModelHealth(
        last.hour,
        last.bundle,
        last.metrics,
        last.counts,
        tuple(alarms.states()),
        alarms.memory.reference_hours,
    )


def impressions_of(
    lists: Mapping[str, ServedList], events: pa.Table, end: int
) -> tuple[ServedImpressions, str]:
    """Return the impressions of lists that the log has, with their clicks, and the bundle of most lists.

    Args:
        lists: The lists by request id.
        events: EVENTS with these request ids.
        end: Time in µs up to which clicks count.
    """
    shown = impressions(events)
    labels = build_labels(events, None, LabelsConfig(), end)
    order = np.argsort(labels.at, kind="stable")
    requests, names = (shown.column(name).take(pa.array(order)).to_pylist() for name in _IDS)
    numbers, videos = {name: n for n, name in enumerate(lists)}, dict[str, int]()
    places, rows, clicks = dict[tuple[int, int], int](), list[tuple[int, int, int]](), list[float]()
    p_clicks = list[float]()
    for row, request_id, video_id in zip(order.tolist(), requests, names, strict=True):
        p_click = lists[request_id].p_click.get(video_id)
        if p_click is None:
            continue
        place = numbers[request_id], videos.setdefault(video_id, len(videos))
        at = places.setdefault(place, len(rows))
        if at == len(rows):
            rows.append((row, *place))
            p_clicks.append(p_click)
            clicks.append(0.0)
        # A place that was seen twice counts once, and is clicked if it was either time.
        clicks[at] = max(clicks[at], float(labels.click[row]))
    row, number, video = np.array(rows, np.int64).reshape(-1, 3).T
    users = np.unique(labels.user[row], return_inverse=True)[1].reshape(-1)
    served = ServedImpressions(users, number, video, np.array(p_clicks), np.array(clicks))
    bundles = Counter(one.bundle for one in lists.values())
    return served, bundles.most_common(1)[0][0] if bundles else ""


def events_of_lists(follow: Follow, cursor: int, lists: Mapping[str, ServedList], limit: int) -> pa.Table:
    """Return the EVENTS after a cursor that belong to lists, MAX_IMPRESSIONS at most."""
    wanted, found, rows = pa.array(list(lists), pa.string()), list[pa.Table](), 0
    while True:
        changes: LogChanges = follow(cursor, limit)
        kept = changes.events.filter(pc.is_in(changes.events.column("request_id"), value_set=wanted))
        found.append(kept)
        rows, cursor = rows + kept.num_rows, changes.cursor
        if changes.complete or rows >= MAX_IMPRESSIONS:
            return pa.concat_tables(found).slice(0, MAX_IMPRESSIONS)


def compare_hour(
    hour: int, lists: Mapping[str, ServedList], events: pa.Table, videos: int, end: int
) -> HourFigures | None:
    """Return the figures of an hour; None if the log has no impression of its lists.

    Args:
        hour: Hours since 1970.
        lists: Sampled lists of the hour by request id.
        events: EVENTS of these lists.
        videos: Number of videos in the catalog.
        end: Time in µs up to which clicks count.
    """
    if not events.num_rows:
        return None
    rows, bundle = impressions_of(lists, events, end)
    return measure_hour(rows, hour, bundle, videos) if len(rows) else None


def pack_hour(figures: HourFigures, memory: HealthMemory) -> bytes:
    """Return the figures of an hour, and what the alarms remember after it, as a record."""
    wealth = {name: one.tolist() for name, one in memory.wealth.items()}
    packed = msgpack.packb((FORMAT, asdict(figures), {**asdict(memory), "wealth": wealth}))
    assert packed is not None  # it is None for streaming packers only
    return packed


def alarms_of(records: Sequence[bytes], config: ModelHealthConfig) -> HealthAlarms:
    """Return the alarms as the last of the records left them, the oldest record first."""
    hours = [(one[1], one[2]) for record in records if (one := msgpack.unpackb(record))[0] == FORMAT]
    memory = HealthMemory()
    if hours:
        last = hours[-1][1]
        wealth = {name: np.array(one) for name, one in last["wealth"].items()}
        memory = HealthMemory(**{**last, "reference": _sums(last["reference"]), "wealth": wealth})
    alarms = HealthAlarms(config, memory)
    alarms.hours.extend(HourFigures(**{**one, "sums": _sums(one["sums"])}) for one, _ in hours)
    return alarms


def _sums(plain: Mapping[str, Any]) -> dict[str, RatioSums]:
    return {
        measure: RatioSums(**{**one, "limits": UserLimits(**one["limits"])}) for measure, one in plain.items()
    }
