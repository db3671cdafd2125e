"""Division of a run among workers: actors and their resources by settings and cluster, sizes of batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.encoders.config import EmbedConfig
from vrec.pipelines.cluster import ClusterResources
from vrec.pipelines.embed.layout import WorkerLayout, batch_sizes, worker_count, worker_layout


def cluster(cpus: float, gpus: float = 0.0) -> ClusterResources:
    return ClusterResources(nodes=1, cpus=cpus, gpus=gpus, ray_version="0")


@pytest.mark.parametrize(
    ("cpus", "settings", "expected"),
    [
        (8, {}, 8),
        (8, {"cpus_per_worker": 3}, 2),
        (8, {"cpus_per_worker": 0.5}, 16),
        (0.5, {}, 1),
        (8, {"workers": 3}, 3),
        (8, {"workers": 12}, 12),
    ],
)
def test_as_many_workers_as_settings_or_the_clusters_cpus_allow(cpus, settings, expected):
    assert worker_count(EmbedConfig(**settings), cluster(cpus)) == expected


@pytest.mark.parametrize("layout", ["auto", "fused"])
def test_without_gpus_each_worker_decodes_and_encodes(layout):
    config = EmbedConfig(layout=layout)
    assert worker_layout(config, cluster(4), 99) == WorkerLayout(split=False, decoders=4)
    assert worker_layout(config, cluster(4), 3) == WorkerLayout(split=False, decoders=3)


def test_a_fused_layout_that_is_set_stays_fused_on_gpus():
    assert worker_layout(EmbedConfig(layout="fused"), cluster(4, 2), 99) == WorkerLayout(False, 4)


@pytest.mark.parametrize("layout", ["auto", "split"])
def test_gpus_are_shared_by_encoders_and_cpus_are_for_decoders(layout):
    config = EmbedConfig(layout=layout, gpus_per_worker=0.25)
    assert worker_layout(config, cluster(6, 2), 99) == WorkerLayout(True, 6, 8, 0.25)
    assert worker_layout(config, cluster(6, 2), 2).decoders == 2
    whole = EmbedConfig(layout=layout, gpus_per_worker=4)
    assert worker_layout(whole, cluster(6, 2), 99).encoders == 1


def test_a_split_layout_without_gpus_leaves_a_workers_cpus_to_the_encoder():
    config = EmbedConfig(layout="split", cpus_per_worker=2)
    assert worker_layout(config, cluster(8), 99) == WorkerLayout(True, 3, 1)
    assert worker_layout(config, cluster(2), 99) == WorkerLayout(True, 1, 1)


@given(st.integers(1, 5000), st.integers(1, 64), st.integers(1, 64))
def test_batches_cover_the_catalog_and_shrink_towards_its_end(videos, workers, most):
    sizes = batch_sizes(videos, workers, most)
    assert sum(sizes) == videos
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= most
    assert sizes[-1] <= 2 or videos // (workers * 4) >= most


def test_a_batch_is_a_quarter_of_a_workers_share_of_the_rest():
    # 64 videos, 2 workers: 64 // 8 = 8, 56 // 8 = 7, 49 // 8 = 6, …
    assert batch_sizes(64, 2, 32) == [8, 7, 6, 5, 4, 4, 3, 3, 3, *[2] * 10, 1]
    assert batch_sizes(64, 2, 3)[:3] == [3, 3, 3]
    assert batch_sizes(1, 8, 32) == [1]
    assert batch_sizes(0, 8, 32) == []
