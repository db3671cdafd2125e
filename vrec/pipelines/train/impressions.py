"""Logged impressions as examples, on Ray: the log replayed by shards of videos, then by shards of users."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import ray

from vrec.config.settings import TrainConfig
from vrec.core.compute import pc
from vrec.core.protocols import Content
from vrec.core.schema import EVENTS, conform
from vrec.events.polars_tables import to_frame
from vrec.profiles.update import facts_of
from vrec.ranking.features.arrays import CatalogueArrays, Features, Labels, Predictions, concatenated
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import Catalogue
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.labels import TimeParts, labels_of, time_parts
from vrec.ranking.rate_baseline import RatesConfig, RatesRanker
from vrec.ranking.replay import Facts, impressions, replay, video_states

BLOCK = 4096
"""Requests that are made into features at once."""
SAMPLE = 100_000
"""Impressions, about, that the numbers of the feature space are learned from."""
_NO_PLACES, _NO_NUMBERS = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)
NOTHING = CatalogueArrays(_NO_PLACES, _NO_PLACES, _NO_NUMBERS, _NO_NUMBERS)
"""Stands for the catalogue while features travel: all shards have the same."""

_Made = tuple[FeatureSpace, Catalogue, RatesRanker]


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """The impressions of one part of the log, N rows."""

    features: Features
    labels: Labels
    video_ids: pa.Array
    """(N,) the video of each."""
    rates: Predictions
    """What counts alone say of each."""


@dataclass(frozen=True, eq=False, slots=True)
class Impressions:
    """A log as examples."""

    space: FeatureSpace
    catalogue: Catalogue
    parts: TimeParts
    train: Examples
    validation: Examples
    test: Examples
    cold: npt.NDArray[np.bool_]
    """(N,) of the test part's impressions, whether the video had none in the training part."""


@dataclass(frozen=True, slots=True)
class _Log:
    """What all tasks are given."""

    events: pa.Table
    content: Content
    facts: Facts
    config: TrainConfig
    parts: TimeParts

    def share(self, owner: str, shard: int, shards: int, until: int | None = None) -> pa.Table:
        """All events of some users or some videos, `owner` being their column, up to before `until`."""
        kept = pl.col(owner).hash(seed=0) % shards == shard
        if until is not None:
            kept &= pl.col("at").dt.epoch("us") < until
        mask = to_frame(self.events.select([owner, "at"])).select(kept).to_series()
        return self.events.filter(pa.array(mask.to_numpy()))


def make_examples(events: pa.Table, content: Content, config: TrainConfig) -> Impressions:
    """The impressions of EVENTS as examples, each as things stood just before it.

    Runs as tasks on the cluster that this process is connected to. What is learned of the log (vocabularies,
    priors, scales) is of the training part, and the labels of training and validation know nothing of the
    time that is tested on. Raises RankError where there is nothing to learn or test on, SchemaError or
    EventsError for events that cannot be.
    """
    events = conform(events, EVENTS, stage="train")
    shown = events.filter(pc.equal(events.column("kind"), "impression"))
    parts = time_parts(np.asarray(shown.column("at").cast(pa.int64())), config.parts)
    log = ray.put(_Log(events, content, facts_of(content), config, parts))
    shards = config.shards or max(1, int(ray.cluster_resources().get("CPU", 1.0)))
    states = [_states.remote(log, shard, shards) for shard in range(shards)]
    made = _fit_space.remote(log, max(1, round(len(shown) / SAMPLE)), *states)
    pending = [_examples.remote(log, made, shard, shards, *states) for shard in range(shards)]
    space, catalogue, _ = ray.get(made)
    # Transposed: of each shard its three parts, of each part its shards.
    found = zip(*ray.get(pending), strict=True)
    train, validation, test = (_together(list(some), catalogue) for some in found)
    known = pc.is_in(test.video_ids, value_set=pc.unique(train.video_ids))
    return Impressions(space, catalogue, parts, train, validation, test, ~np.asarray(known))


@ray.remote(num_cpus=1)
def _states(log: _Log, shard: int, shards: int) -> pa.Table:
    return video_states(log.share("video_id", shard, shards), log.facts, log.config.profiles)


@ray.remote(num_cpus=1)
def _fit_space(log: _Log, some: int, *states: pa.Table) -> _Made:
    """What is learned of the training part, its numbers from one in `some` of the users."""
    until, config = log.parts.validation_from, log.config.ranker
    sample = log.share("user_id", 0, some, until)
    requests = list(replay(sample, pa.concat_tables(states), log.facts, log.config.profiles))
    train = log.share("user_id", 0, 1, until)
    space = fit_space(train, requests, log.content, config.features)
    labels = labels_of(sample, log.content.videos, config.labels, until - 1)
    rates = RatesRanker.fit(RatesConfig(labels=config.labels), requests, labels, log.content)
    return space, Catalogue.of(log.content, space), rates


@ray.remote(num_cpus=1)
def _examples(log: _Log, made: _Made, shard: int, shards: int, *states: pa.Table) -> list[Examples]:
    """The examples of some users in each of the three parts of the log."""
    space, catalogue, ranker = made
    events = log.share("user_id", shard, shards)
    builder = FeatureBuilder(space, catalogue)
    requests = list(replay(events, pa.concat_tables(states), log.facts, log.config.profiles))
    blocks = [builder.build(requests[i : i + BLOCK]) for i in range(0, max(1, len(requests)), BLOCK)]
    features = replace(concatenated(blocks), catalogue=NOTHING)
    rates = ranker.predict_requests(requests)
    video_ids = impressions(events).column("video_id").combine_chunks()
    # What is learned may know only what had happened when the part that is tested on began.
    before, end = log.parts.test_from - 1, int(pc.max(log.events.column("at").cast(pa.int64())).as_py())
    config = log.config.ranker.labels
    labels = {until: labels_of(events, log.content.videos, config, until) for until in (before, end)}
    part = log.parts.part(labels[end].at)
    found: list[Examples] = []
    for number, until in enumerate((before, before, end)):
        rows = np.flatnonzero(part == number)
        found.append(
            Examples(
                features.take(rows),
                labels[until].take(rows),
                video_ids.take(pa.array(rows)),
                rates.take(rows),
            )
        )
    return found


def _together(shards: list[Examples], catalogue: Catalogue) -> Examples:
    features = concatenated([shard.features for shard in shards])
    names = Labels.__dataclass_fields__
    labels = Labels(*(np.concatenate([getattr(s.labels, name) for s in shards]) for name in names))
    names = Predictions.__dataclass_fields__
    rates = Predictions(*(np.concatenate([getattr(s.rates, name) for s in shards]) for name in names))
    video_ids = pa.concat_arrays([shard.video_ids for shard in shards])
    return Examples(replace(features, catalogue=catalogue.arrays), labels, video_ids, rates)
