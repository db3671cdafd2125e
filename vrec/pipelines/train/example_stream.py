"""Training on example files by Ray Train's dataset shards, with the next parts read meanwhile."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray.data
import ray.train

from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.tables import StorageFolder
from vrec.pipelines.quiet_data import quiet_ray_data
from vrec.pipelines.train.example_files import FileParts
from vrec.ranking.example_tables import regroup_tables
from vrec.ranking.network_ranker import build_network
from vrec.ranking.networks.watch_heads import WatchHead
from vrec.ranking.training import RankerTrainer
from vrec.training.epochs import TrainingWorker
from vrec.training.workers import WorkersConfig

PREFETCH = 2
"""Parts that are read ahead."""


class StreamedParts(FileParts):
    """Parts that come from the dataset shard of a worker of Ray Train."""

    __slots__ = ()

    def arrow_tables(self) -> Iterator[pa.Table]:
        """Yield the table of each part."""
        shard = ray.train.get_dataset_shard(self.split)
        assert shard is not None
        # Ray takes None for whole blocks, and its types do not know it.
        whole: Any = None
        batches: Any = shard.iter_batches(batch_size=whole, batch_format="pyarrow", prefetch_batches=PREFETCH)
        return regroup_tables(batches, [file.requests for file in self.files])


@dataclass(frozen=True, slots=True)
class StreamedRankerTask:
    """Training of a ranking network on example files; implements `TrainingTask`."""

    config: TrainRankerConfig
    head: WatchHead | None
    train: FileParts
    valid: FileParts

    @property
    def workers_config(self) -> WorkersConfig:
        """Number and resources of the workers."""
        return self.config

    @property
    def datasets(self) -> Mapping[str, ray.data.Dataset]:
        """The parts of both splits, from the first to the last."""
        return {parts.split: _dataset(parts) for parts in (self.train, self.valid)}

    def trainer(self, worker: TrainingWorker) -> RankerTrainer:
        """Return the trainer of one worker; raises RankError for impressions that are not sufficient."""
        config = self.config.model
        network = build_network(config, self.train.shape, self.head)
        splits = {"train": _streamed(self.train), "valid": _streamed(self.valid)}
        return RankerTrainer(
            network, config.heads, self.head, **splits, config=config.training, worker=worker
        )


def _streamed(parts: FileParts) -> StreamedParts:
    return StreamedParts(parts.uri, parts.split, parts.files, parts.catalog, parts.shape)


def _dataset(parts: FileParts) -> ray.data.Dataset:
    """Return a dataset whose blocks are the files in their order.

    Reading takes no CPU of its own: training may have them all, and would wait for ever for what waits for
    one. `ray.data.read_parquet` lists the files by tasks that do.
    """
    names = [{"name": file.name} for file in parts.files]

    def read(row: pa.Table) -> pa.Table:
        return StorageFolder(parts.uri).read_parquet(row.column("name")[0].as_py())

    quiet_ray_data()
    return ray.data.from_items(names, override_num_blocks=len(names)).map_batches(
        read,
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=0,
        compute=ray.data.TaskPoolStrategy(size=PREFETCH),
    )
