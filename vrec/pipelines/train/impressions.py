"""Ranking examples from logged impressions, on Ray: replay by shards of videos, then by shards of users.

`build_examples` reads in the order of its stages: split → replay counts of videos → fit the feature space →
replay requests of users as examples → merge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EVENTS, conform
from vrec.core.types import CatalogContent
from vrec.events.shards.hashing import shard_of
from vrec.events.shards.stages import split_table
from vrec.pipelines.ray_tasks import RayTasks
from vrec.pipelines.task_runner import Payload, TaskCall, TaskRunner, event_memory
from vrec.profiles.update import video_metadata
from vrec.ranking.example_parts import Outcomes, concatenate_labels
from vrec.ranking.features.arrays import (
    CatalogFeatureArrays,
    ImpressionLabels,
    RankerPredictions,
    RankingFeatures,
    concatenate_features,
    concatenate_predictions,
)
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import ShownCounts, fit_space
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.labels import LogSplit, build_labels, split_log
from vrec.ranking.networks.config import TaskName
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.replay import VideoFactsById, impressions, replay_requests, replay_video_counts
from vrec.ranking.training import check_trainable, select_heads

BLOCK = 4096
"""Requests whose features are built at once."""
SAMPLE = 100_000
"""Approximate number of impressions that the scales of the feature space are fitted on."""
REPLAY_FACTOR = 4
"""Memory of an event that is replayed, as a multiple of one that is read."""
_NO_INDICES, _NO_NUMBERS = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
EMPTY_CATALOG = CatalogFeatureArrays(_NO_INDICES, _NO_INDICES, _NO_NUMBERS, _NO_NUMBERS)
"""Placeholder for the catalog's arrays while features travel: they are the same for all shards."""

Fitted = tuple[FeatureSpace, CatalogFeatures, RateBaselineRanker, pa.Array]
"""Feature space, features of the catalog, the smoothed-rate baseline, and ids of videos shown in training."""


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionExamples:
    """Impressions of one split of the log, N rows."""

    features: RankingFeatures
    labels: ImpressionLabels
    video_ids: pa.Array
    """(N,) video ids."""
    rates: RankerPredictions
    """(N,) predictions of the smoothed-rate baseline."""
    cold: npt.NDArray[np.bool_]
    """(N,) whether the video has no training impression."""


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionDataset:
    """Ranking examples of a log."""

    space: FeatureSpace
    catalog: CatalogFeatures
    split: LogSplit
    train: ImpressionExamples
    validation: ImpressionExamples
    test: ImpressionExamples

    @property
    def cold(self) -> npt.NDArray[np.bool_]:
        """(N,) for each test impression, whether its video has no training impression."""
        return self.test.cold


@dataclass(frozen=True, slots=True)
class ReplayedLog:
    """Settings of a replay and the content of the catalog, the same for all tasks."""

    content: CatalogContent
    facts: VideoFactsById
    config: TrainRankerConfig
    split: LogSplit
    end: int
    """Time of the last event, µs since 1970."""
    sample: int
    """Scales and rates are fitted on the users of one in so many shards."""


@dataclass(frozen=True, slots=True)
class PartedLog:
    """Log whose events are in parts, by `shard_of` their users."""

    parts: Sequence[tuple[int, Payload]]
    """Number of events, and EVENTS."""
    log: ReplayedLog
    impressions: int


def build_examples(events: pa.Table, content: CatalogContent, config: TrainRankerConfig) -> ImpressionDataset:
    """Build ranking examples from EVENTS, each with features as of just before its impression.

    Runs as tasks on the cluster that this process is connected to. Vocabularies, priors and scales are fitted
    on the training split, and the labels of training and validation use nothing from the test period. The
    number of shards has no effect.

    Raises:
        RankError: there is nothing to learn or test on.
        SchemaError, EventsError: the events are not valid.
    """
    tasks = RayTasks()
    parted = part_events(events, content, config, tasks)
    return replay_parts(parted.parts, parted.log, tasks)


def part_events(
    events: pa.Table, content: CatalogContent, config: TrainRankerConfig, tasks: TaskRunner
) -> PartedLog:
    """Return EVENTS of this process in parts for tasks on the cluster; raises like `build_examples`."""
    events, count, split = _split_impressions(events, config)
    end = int(pc.max(events.column("at").cast(pa.int64())).as_py())
    shards = config.shards or max(1, int(ray.cluster_resources().get("CPU", 1.0)))
    parts = split_table(events, shard_of(events.column("user_id"), shards), shards)
    return PartedLog(
        [(part.num_rows, tasks.share(part)) for part in parts],
        replayed_log(content, config, split, end, count),
        count,
    )


def replayed_log(
    content: CatalogContent, config: TrainRankerConfig, split: LogSplit, end: int, count: int
) -> ReplayedLog:
    """Return the settings of a replay of so many impressions, of which the last event is at `end`."""
    sample = max(1, round(count / SAMPLE))
    return ReplayedLog(content, video_metadata(content), config, split, end, sample)


def replay_parts(
    parts: Sequence[tuple[int, Payload]], log: ReplayedLog, tasks: TaskRunner
) -> ImpressionDataset:
    """Build ranking examples like `build_examples`, from EVENTS of other users in each part.

    Examples are in the order of `ImpressionLabels.user`, and of one user in that of `replay_requests`.

    Args:
        parts: Number of events, and EVENTS.
        log: Settings.
        tasks: Runner, which has the parts.
    """
    fitted, made = replay(parts, log, tasks)
    examples: list[list[ImpressionExamples]] = [tasks.fetch(one) for (one,) in made]
    space, catalog, *_ = tasks.fetch(fitted)
    # Transposed from the splits of each shard to the shards of each split.
    by_split = zip(*examples, strict=True)
    splits = (_with_catalog(merge_examples(list(one)), catalog) for one in by_split)
    return ImpressionDataset(space, catalog, log.split, *splits)


def replay(
    parts: Sequence[tuple[int, Payload]], log: ReplayedLog, tasks: TaskRunner, places: int = 1
) -> tuple[Payload, list[list[Payload]]]:
    """Fit the feature space, and build the examples of each part, split once more by their users.

    A task holds one part of the users, or an equal part of the videos.

    Args:
        parts: Number of events, and EVENTS.
        log: Settings.
        tasks: Runner, which has the parts.
        places: Number of places that the users of a part are split by.

    Returns:
        The feature space and what belongs to it, and for each part and place the examples of the three
        splits.
    """
    shared, count = tasks.share(log), len(parts)
    memory = [event_memory(REPLAY_FACTOR * rows) for rows, _ in parts]
    videos_memory = event_memory(REPLAY_FACTOR * -(-sum(rows for rows, _ in parts) // count))

    # Counts of videos, by parts of the videos, split by parts of the users.
    split = tasks.run(
        [
            TaskCall(_split_videos, (part, count), need, count)
            for (_, part), need in zip(parts, memory, strict=True)
        ]
    )
    by_video = [[payloads[place] for _, payloads in split] for place in range(count)]
    counted = tasks.run(
        [TaskCall(_video_counts, (shared, count, *tables), videos_memory, count) for tables in by_video]
    )
    of_users = [
        (part, *(payloads[place] for _, payloads in counted)) for place, (_, part) in enumerate(parts)
    ]

    # Fit the feature space.
    train = tasks.run(
        [
            TaskCall(_training_part, (shared, *users), need, 3)
            for users, need in zip(of_users, memory, strict=True)
        ]
    )
    flat = [payload for _, payloads in train for payload in payloads]
    fitted = tasks.run([TaskCall(_fit_space, (shared, *flat), videos_memory, 1)])[0][1][0]

    # Examples, by parts of the users.
    calls = [
        TaskCall(_examples, (shared, fitted, places, *users), need, places)
        for users, need in zip(of_users, memory, strict=True)
    ]
    return fitted, [payloads for _, payloads in tasks.run(calls)]


def choose_heads(
    events: pa.Table, content: CatalogContent, config: TrainRankerConfig
) -> tuple[TrainRankerConfig, dict[TaskName, str]]:
    """Return the config with the heads that the log can teach, and the reason of each that is left out.

    Counts labels only, so that it takes seconds where `build_examples` takes minutes.

    Raises:
        RankError: the log cannot teach clicks, or a head that the config names.
        SchemaError, EventsError: the events are not valid.
    """
    events, _, split = _split_impressions(events, config)
    return heads_of(config, training_outcomes(content.videos, config, split, events))


def heads_of(config: TrainRankerConfig, outcomes: Outcomes) -> tuple[TrainRankerConfig, dict[TaskName, str]]:
    """Return what `choose_heads` returns, from the outcomes of the training split."""
    heads, left_out = select_heads(config.heads, outcomes)
    check_trainable(heads, outcomes, "training")
    return config.model_copy(update={"heads": heads}), left_out


def training_outcomes(
    videos: pa.Table | None, config: TrainRankerConfig, split: LogSplit, events: pa.Table
) -> Outcomes:
    """Count the outcomes of the training split of EVENTS, of all or some users."""
    labels = build_labels(events, videos, config.labels, split.test_from - 1)
    return Outcomes.of(labels.take(np.flatnonzero(split.split_of(labels.at) == 0)))


def check_shown(impressions: int, events: int) -> None:
    """Raise RankError for a log without impressions."""
    if not impressions:
        raise RankError(
            f"train: none of {events:,} events is an impression, and a ranker learns from what was "
            "shown and not clicked",
            fix="log impressions as events of that kind; until then serve the lists of `vrec recommend`",
        )


def shown_times(events: pa.Table) -> npt.NDArray[np.int64]:
    """Return the times of the impressions of EVENTS, µs since 1970."""
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    return np.asarray(shown.column("at").cast(pa.int64()))


def _split_impressions(events: pa.Table, config: TrainRankerConfig) -> tuple[pa.Table, int, LogSplit]:
    """Return checked EVENTS, the number of impressions, and their split; raises RankError for too few."""
    events = conform(events, EVENTS, stage="train")
    times = shown_times(events)
    check_shown(len(times), events.num_rows)
    return events, len(times), split_log(times, config.split)


def _split_videos(events: pa.Table, count: int) -> tuple[None, *tuple[pa.Table, ...]]:
    """Return EVENTS by part of the videos."""
    return None, *split_table(events, shard_of(events.column("video_id"), count), count)


def _video_counts(log: ReplayedLog, count: int, *events: pa.Table) -> tuple[None, *tuple[pa.Table, ...]]:
    """Return VIDEO_COUNTS of the videos of EVENTS, by part of the users."""
    table = pa.concat_tables(events)
    counts = replay_video_counts(table, log.facts, log.config.profiles)
    rows = pc.index_in(counts.column("event_id"), value_set=table.column("event_id").combine_chunks())
    users = table.column("user_id").take(rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows)
    return None, *split_table(counts, shard_of(users, count), count)


def _training_part(
    log: ReplayedLog, events: pa.Table, *counts: pa.Table
) -> tuple[None, ShownCounts, pa.Table, pa.Table]:
    """Return the impressions of the training split, counted, and a sample of its users with their counts."""
    until = pc.less(events.column("at").cast(pa.int64()), log.split.validation_from)
    train = events.filter(until)
    sampled = train.filter(pa.array(shard_of(train.column("user_id"), log.sample) == 0))
    table = pa.concat_tables(counts)
    ids = sampled.column("event_id").combine_chunks()
    own = table.filter(pc.is_in(table.column("event_id"), value_set=ids))
    return None, ShownCounts.from_events(train), sampled, own


def _fit_space(log: ReplayedLog, *parts: Any) -> tuple[None, Fitted]:
    """Fit on the training split, given what `_training_part` returned of each part."""
    shown = ShownCounts.merge(parts[0::3])
    sample, counts = pa.concat_tables(parts[1::3]), pa.concat_tables(parts[2::3])
    config = log.config.model
    requests = list(replay_requests(sample, counts, log.facts, log.config.profiles))
    space = fit_space(shown, requests, log.content, config.features)
    labels = build_labels(sample, log.content.videos, config.labels, log.split.validation_from - 1)
    rates = RateBaselineRanker.fit(RateBaselineConfig(labels=config.labels), requests, labels, log.content)
    catalog = CatalogFeatures.from_content(log.content, space)
    return None, (space, catalog, rates, shown.videos["video_id"].to_arrow().cast(pa.string()))


def _examples(
    log: ReplayedLog, fitted: Fitted, places: int, events: pa.Table, *counts: pa.Table
) -> tuple[None, *tuple[list[ImpressionExamples], ...]]:
    """Return the examples of one part of the users in each of the three splits, for each place."""
    space, catalog, baseline, known = fitted
    builder = FeatureBuilder(space, catalog)
    requests = list(replay_requests(events, pa.concat_tables(counts), log.facts, log.config.profiles))
    blocks = [builder.build(requests[i : i + BLOCK]) for i in range(0, max(1, len(requests)), BLOCK)]
    features = replace(concatenate_features(blocks), catalog=EMPTY_CATALOG)
    rates = baseline.predict_requests(requests)
    video_ids = impressions(events).column("video_id").combine_chunks()
    cold = ~np.asarray(pc.is_in(video_ids, value_set=known))
    # Labels of training and validation know only what happened before the test period, in microseconds.
    before, end = log.split.test_from - 1, log.end
    config = log.config.model.labels
    labels = {until: build_labels(events, log.content.videos, config, until) for until in (before, end)}
    split, place = log.split.split_of(labels[end].at), place_of(labels[end].user, places)

    def taken(rows: npt.NDArray[np.int64], until: int) -> ImpressionExamples:
        return ImpressionExamples(
            features.take(rows),
            labels[until].take(rows),
            video_ids.take(pa.array(rows)),
            rates.take(rows),
            cold[rows],
        )

    made = [
        [
            taken(np.flatnonzero((split == number) & (place == one)), until)
            for number, until in enumerate((before, before, end))
        ]
        for one in range(places)
    ]
    return None, *made


def place_of(users: npt.NDArray[np.int64], places: int) -> npt.NDArray[np.int64]:
    """Return the (N,) places, from 0, of users by their numbers in ImpressionLabels."""
    return (users.view(np.uint64) % np.uint64(places)).astype(np.int64)


def merge_examples(parts: Sequence[ImpressionExamples]) -> ImpressionExamples:
    """Return the examples of parts with different users, in the order of the users' numbers."""
    features = concatenate_features([part.features for part in parts])
    labels = concatenate_labels([part.labels for part in parts])
    rates = concatenate_predictions([part.rates for part in parts])
    video_ids = pa.concat_arrays([part.video_ids for part in parts])
    cold = np.concatenate([part.cold for part in parts])
    order = np.argsort(labels.user, kind="stable")
    return ImpressionExamples(
        features.take(order),
        labels.take(order),
        video_ids.take(pa.array(order)),
        rates.take(order),
        cold[order],
    )


def _with_catalog(examples: ImpressionExamples, catalog: CatalogFeatures) -> ImpressionExamples:
    return replace(examples, features=replace(examples.features, catalog=catalog.arrays))
