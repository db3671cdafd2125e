"""Logged impressions as examples, on Ray: the log replayed by shards of videos, then by shards of users."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import ray

from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.compute import pc
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
from vrec.ranking.rate_baseline import RateBaselineConfig, RateBaselineRanker
from vrec.ranking.replay import VideoFactsById, impressions, replay_requests, replay_video_counts

BLOCK = 4096
"""Requests that are made into features at once."""
SAMPLE = 100_000
"""Impressions, about, that the numbers of the feature space are learned from."""
_NO_PLACES, _NO_NUMBERS = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
EMPTY_CATALOG = CatalogFeatureArrays(_NO_PLACES, _NO_PLACES, _NO_NUMBERS, _NO_NUMBERS)
"""Stands for the catalogue while features travel: all shards have the same."""

_Made = tuple[FeatureSpace, CatalogFeatures, RateBaselineRanker]


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionExamples:
    """The impressions of one part of the log, N rows."""

    features: RankingFeatures
    labels: ImpressionLabels
    video_ids: pa.Array
    """(N,) the video of each."""
    rates: RankerPredictions
    """What counts alone say of each."""


@dataclass(frozen=True, eq=False, slots=True)
class ImpressionDataset:
    """A log as examples."""

    space: FeatureSpace
    catalogue: CatalogFeatures
    split: LogSplit
    train: ImpressionExamples
    validation: ImpressionExamples
    test: ImpressionExamples
    cold: npt.NDArray[np.bool_]
    """(N,) of the test part's impressions, whether the video had none in the training part."""


@dataclass(frozen=True, slots=True)
class _Log:
    """What all tasks are given."""

    events: pa.Table
    content: CatalogContent
    facts: VideoFactsById
    config: TrainRankerConfig
    parts: LogSplit

    def share(self, owner: str, shard: int, shards: int, until: int | None = None) -> pa.Table:
        """All events of some users or some videos, `owner` being their column, up to before `until`."""
        kept = pl.col(owner).hash(seed=0) % shards == shard
        if until is not None:
            kept &= pl.col("at").dt.epoch("us") < until
        mask = to_polars(self.events.select([owner, "at"])).select(kept).to_series()
        return self.events.filter(pa.array(mask.to_numpy()))


def build_examples(events: pa.Table, content: CatalogContent, config: TrainRankerConfig) -> ImpressionDataset:
    """The impressions of EVENTS as examples, each as things stood just before it.

    Runs as tasks on the cluster that this process is connected to. What is learned of the log (vocabularies,
    priors, scales) is of the training part, and the labels of training and validation know nothing of the
    time that is tested on. Raises RankError where there is nothing to learn or test on, SchemaError or
    EventsError for events that cannot be.
    """
    events = conform(events, EVENTS, stage="train")
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    parts = split_log(np.asarray(shown.column("at").cast(pa.int64())), config.split)
    log = ray.put(_Log(events, content, video_metadata(content), config, parts))
    shards = config.shards or max(1, int(ray.cluster_resources().get("CPU", 1.0)))
    states = [_states.remote(log, shard, shards) for shard in range(shards)]
    made = _fit_space.remote(log, max(1, round(len(shown) / SAMPLE)), *states)
    pending = [_examples.remote(log, made, shard, shards, *states) for shard in range(shards)]
    space, catalogue, _ = ray.get(made)
    # Transposed: of each shard its three parts, of each part its shards.
    found = zip(*ray.get(pending), strict=True)
    train, validation, test = (_merge_shards(list(some), catalogue) for some in found)
    known = pc.is_in(test.video_ids, value_set=pc.unique(train.video_ids))
    return ImpressionDataset(space, catalogue, parts, train, validation, test, ~np.asarray(known))


@ray.remote(num_cpus=1)
def _states(log: _Log, shard: int, shards: int) -> pa.Table:
    return replay_video_counts(log.share("video_id", shard, shards), log.facts, log.config.profiles)


@ray.remote(num_cpus=1)
def _fit_space(log: _Log, some: int, *states: pa.Table) -> _Made:
    """What is learned of the training part, its numbers from one in `some` of the users."""
    until, config = log.parts.validation_from, log.config.model
    sample = log.share("user_id", 0, some, until)
    requests = list(replay_requests(sample, pa.concat_tables(states), log.facts, log.config.profiles))
    train = log.share("user_id", 0, 1, until)
    space = fit_space(train, requests, log.content, config.features)
    labels = build_labels(sample, log.content.videos, config.labels, until - 1)
    rates = RateBaselineRanker.fit(RateBaselineConfig(labels=config.labels), requests, labels, log.content)
    return space, CatalogFeatures.from_content(log.content, space), rates


@ray.remote(num_cpus=1)
def _examples(log: _Log, made: _Made, shard: int, shards: int, *states: pa.Table) -> list[ImpressionExamples]:
    """The examples of some users in each of the three parts of the log."""
    space, catalogue, ranker = made
    events = log.share("user_id", shard, shards)
    builder = FeatureBuilder(space, catalogue)
    requests = list(replay_requests(events, pa.concat_tables(states), log.facts, log.config.profiles))
    blocks = [builder.build(requests[i : i + BLOCK]) for i in range(0, max(1, len(requests)), BLOCK)]
    features = replace(concatenate_features(blocks), catalog=EMPTY_CATALOG)
    rates = ranker.predict_requests(requests)
    video_ids = impressions(events).column("video_id").combine_chunks()
    # What is learned may know only what had happened when the part that is tested on began.
    before, end = log.parts.test_from - 1, int(pc.max(log.events.column("at").cast(pa.int64())).as_py())
    config = log.config.model.labels
    labels = {until: build_labels(events, log.content.videos, config, until) for until in (before, end)}
    part = log.parts.split_of(labels[end].at)
    found: list[ImpressionExamples] = []
    for number, until in enumerate((before, before, end)):
        rows = np.flatnonzero(part == number)
        found.append(
            ImpressionExamples(
                features.take(rows),
                labels[until].take(rows),
                video_ids.take(pa.array(rows)),
                rates.take(rows),
            )
        )
    return found


def _merge_shards(shards: list[ImpressionExamples], catalogue: CatalogFeatures) -> ImpressionExamples:
    features = concatenate_features([shard.features for shard in shards])
    names = ImpressionLabels.__dataclass_fields__
    labels = ImpressionLabels(*(np.concatenate([getattr(s.labels, name) for s in shards]) for name in names))
    names = RankerPredictions.__dataclass_fields__
    rates = RankerPredictions(*(np.concatenate([getattr(s.rates, name) for s in shards]) for name in names))
    video_ids = pa.concat_arrays([shard.video_ids for shard in shards])
    return ImpressionExamples(replace(features, catalog=catalogue.arrays), labels, video_ids, rates)
