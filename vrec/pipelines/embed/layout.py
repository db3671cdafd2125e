"""Division of an embedding run among workers: actors, their resources, and the sizes of batches."""

from dataclasses import dataclass

from vrec.encoders.config import EmbedConfig
from vrec.pipelines.cluster import ClusterResources


@dataclass(frozen=True, slots=True)
class WorkerLayout:
    """Actors of an embedding run.

    Ray reserves no CPUs for encoders: if a node is lost, decoders may hold all that are left, and would wait
    for ever for an encoder that waits for one of theirs.
    """

    split: bool
    """Whether decoding and encoding have actors of their own."""
    decoders: int
    """Actors that decode; in the fused layout they encode as well."""
    encoders: int = 0
    """Actors that only encode, 0 in the fused layout."""
    encoder_gpus: float = 0.0
    """GPUs that Ray reserves for each of these."""


def worker_count(config: EmbedConfig, cluster: ClusterResources) -> int:
    """Return the number of workers that the settings ask for, else as many as the cluster's CPUs hold."""
    return config.workers or max(1, int(cluster.cpus // config.cpus_per_worker))


def worker_layout(config: EmbedConfig, cluster: ClusterResources, batches: int) -> WorkerLayout:
    """Return the actors for a number of batches: never more decoders than batches."""
    workers = min(worker_count(config, cluster), batches)
    on_gpu = cluster.gpus > 0
    if config.layout == "fused" or (config.layout == "auto" and not on_gpu):
        return WorkerLayout(split=False, decoders=workers)
    if on_gpu:
        encoders = max(1, int(cluster.gpus / config.gpus_per_worker))
        return WorkerLayout(True, workers, encoders, encoder_gpus=config.gpus_per_worker)
    # Without a GPU an encoder takes the CPU of one decoder.
    return WorkerLayout(True, max(1, workers - 1), 1)


def batch_sizes(videos: int, workers: int, most: int) -> list[int]:
    """Return the number of videos in each batch: at most `most`, and fewer towards the end, down to two.

    A batch is a quarter of a worker's share of the remaining videos (guided self-scheduling,
    Polychronopoulos and Kuck 1987), so that no worker sits idle while another finishes a long one.
    """
    sizes: list[int] = []
    while videos:
        sizes.append(min(videos, most, max(2, videos // (workers * 4))))
        videos -= sizes[-1]
    return sizes
