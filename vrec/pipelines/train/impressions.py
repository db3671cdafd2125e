"""Ranking examples from logged impressions, on Ray: replay by shards of videos, then by shards of users.

`build_examples` reads in the order of its stages: split → replay counts of videos → fit the feature space →
replay requests of users as examples → merge.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import ray

from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.compute import pc
from vrec.core.errors import RankError
from vrec.core.schema import EVENTS, conform
from vrec.core.types import CatalogContent
from vrec.events.polars_tables import to_polars
from vrec.profiles.update import video_metadata
from vrec.ranking.features.arrays import (
    CatalogFeatureArrays,
    ImpressionLabels,
    RankerPredictions,
    RankingFeatures,
    concatenate_features,
)
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
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
_NO_INDICES, _NO_NUMBERS = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
EMPTY_CATALOG = CatalogFeatureArrays(_NO_INDICES, _NO_INDICES, _NO_NUMBERS, _NO_NUMBERS)
"""Placeholder for the catalog's arrays while features travel: they are the same for all shards."""

_Fitted = tuple[FeatureSpace, CatalogFeatures, RateBaselineRanker]


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionExamples:
    """Impressions of one split of the log, N rows."""

    features: RankingFeatures
    labels: ImpressionLabels
    video_ids: pa.Array
    """(N,) video ids."""
    rates: RankerPredictions
    """(N,) predictions of the smoothed-rate baseline."""


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionDataset:
    """Ranking examples of a log."""

    space: FeatureSpace
    catalog: CatalogFeatures
    split: LogSplit
    train: ImpressionExamples
    validation: ImpressionExamples
    test: ImpressionExamples
    cold: npt.NDArray[np.bool_]
    """(N,) for each test impression, whether its video has no training impression."""


@dataclass(frozen=True, slots=True)
class _Log:
    """Input of all tasks."""

    events: pa.Table
    content: CatalogContent
    facts: VideoFactsById
    config: TrainRankerConfig
    split: LogSplit

    def share(self, owner: str, shard: int, shards: int, until: int | None = None) -> pa.Table:
        """Return the events of one shard of users or videos, whose column is `owner`.

        `until` is an exclusive bound in microseconds of Unix time.
        """
        included = pl.col(owner).hash(seed=0) % shards == shard
        if until is not None:
            included &= pl.col("at").dt.epoch("us") < until
        mask = to_polars(self.events.select([owner, "at"])).select(included).to_series()
        return self.events.filter(pa.array(mask.to_numpy()))


def build_examples(events: pa.Table, content: CatalogContent, config: TrainRankerConfig) -> ImpressionDataset:
    """Build ranking examples from EVENTS, each with features as of just before its impression.

    Runs as tasks on the cluster that this process is connected to. Vocabularies, priors and scales are fitted
    on the training split, and the labels of training and validation use nothing from the test period.

    Raises:
        RankError: there is nothing to learn or test on.
        SchemaError, EventsError: the events are not valid.
    """
    events, count, split = _split_impressions(events, config)
    log = ray.put(_Log(events, content, video_metadata(content), config, split))
    shards = config.shards or max(1, int(ray.cluster_resources().get("CPU", 1.0)))
    counts = [_video_counts.remote(log, shard, shards) for shard in range(shards)]
    fitted = _fit_space.remote(log, max(1, round(count / SAMPLE)), *counts)
    pending = [_examples.remote(log, fitted, shard, shards, *counts) for shard in range(shards)]
    space, catalog, _ = ray.get(fitted)
    # Transposed from the splits of each shard to the shards of each split.
    by_split = zip(*ray.get(pending), strict=True)
    train, validation, test = (_merge_shards(list(examples), catalog) for examples in by_split)
    known = pc.is_in(test.video_ids, value_set=pc.unique(train.video_ids))
    return ImpressionDataset(space, catalog, split, train, validation, test, ~np.asarray(known))


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
    labels = build_labels(events, content.videos, config.labels, split.test_from - 1)
    training = labels.take(np.flatnonzero(split.split_of(labels.at) == 0))
    heads, left_out = select_heads(config.heads, training)
    check_trainable(heads, training, "training")
    return config.model_copy(update={"heads": heads}), left_out


def _split_impressions(events: pa.Table, config: TrainRankerConfig) -> tuple[pa.Table, int, LogSplit]:
    """Return checked EVENTS, the number of impressions, and their split; raises RankError for too few."""
    events = conform(events, EVENTS, stage="train")
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    if not shown.num_rows:
        raise RankError(
            f"train: none of {events.num_rows:,} events is an impression, and a ranker learns from what was "
            "shown and not clicked",
            fix="log impressions as events of that kind; until then serve the lists of `vrec recommend`",
        )
    return events, shown.num_rows, split_log(np.asarray(shown.column("at").cast(pa.int64())), config.split)


@ray.remote(num_cpus=1)
def _video_counts(log: _Log, shard: int, shards: int) -> pa.Table:
    return replay_video_counts(log.share("video_id", shard, shards), log.facts, log.config.profiles)


@ray.remote(num_cpus=1)
def _fit_space(log: _Log, shards: int, *counts: pa.Table) -> _Fitted:
    """Fit on the training split; scales and rates on the users of one in `shards` shards."""
    until, config = log.split.validation_from, log.config.model
    sample = log.share("user_id", 0, shards, until)
    requests = list(replay_requests(sample, pa.concat_tables(counts), log.facts, log.config.profiles))
    train = log.share("user_id", 0, 1, until)
    space = fit_space(train, requests, log.content, config.features)
    labels = build_labels(sample, log.content.videos, config.labels, until - 1)
    rates = RateBaselineRanker.fit(RateBaselineConfig(labels=config.labels), requests, labels, log.content)
    return space, CatalogFeatures.from_content(log.content, space), rates


@ray.remote(num_cpus=1)
def _examples(
    log: _Log, fitted: _Fitted, shard: int, shards: int, *counts: pa.Table
) -> list[ImpressionExamples]:
    """Return the examples of one shard of users in each of the three splits."""
    space, catalog, baseline = fitted
    events = log.share("user_id", shard, shards)
    builder = FeatureBuilder(space, catalog)
    requests = list(replay_requests(events, pa.concat_tables(counts), log.facts, log.config.profiles))
    blocks = [builder.build(requests[i : i + BLOCK]) for i in range(0, max(1, len(requests)), BLOCK)]
    features = replace(concatenate_features(blocks), catalog=EMPTY_CATALOG)
    rates = baseline.predict_requests(requests)
    video_ids = impressions(events).column("video_id").combine_chunks()
    # Labels of training and validation know only what happened before the test period, in microseconds.
    before, end = log.split.test_from - 1, int(pc.max(log.events.column("at").cast(pa.int64())).as_py())
    config = log.config.model.labels
    labels = {until: build_labels(events, log.content.videos, config, until) for until in (before, end)}
    split = log.split.split_of(labels[end].at)
    examples: list[ImpressionExamples] = []
    for number, until in enumerate((before, before, end)):
        rows = np.flatnonzero(split == number)
        examples.append(
            ImpressionExamples(
                features.take(rows),
                labels[until].take(rows),
                video_ids.take(pa.array(rows)),
                rates.take(rows),
            )
        )
    return examples


def _merge_shards(shards: list[ImpressionExamples], catalog: CatalogFeatures) -> ImpressionExamples:
    features = concatenate_features([shard.features for shard in shards])
    names = ImpressionLabels.__dataclass_fields__
    labels = ImpressionLabels(*(np.concatenate([getattr(s.labels, name) for s in shards]) for name in names))
    names = RankerPredictions.__dataclass_fields__
    rates = RankerPredictions(*(np.concatenate([getattr(s.rates, name) for s in shards]) for name in names))
    video_ids = pa.concat_arrays([shard.video_ids for shard in shards])
    return ImpressionExamples(replace(features, catalog=catalog.arrays), labels, video_ids, rates)
