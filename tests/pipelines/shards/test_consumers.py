"""Commands on events in shards: one shard, many and the file itself give the same, to the bit."""

import json

import numpy as np
import pytest

from tests.pipelines.shop import ShopOnDisk
from vrec.bundle.bundle import ServingBundle
from vrec.config.load import load_settings
from vrec.core.tables import MANIFEST
from vrec.events.shards.manifest import open_shards
from vrec.pipelines.bundle import BundleOrder, bundle_shards, make_bundle
from vrec.pipelines.evaluate.run import evaluate
from vrec.pipelines.evaluate.sharded import compare_shards
from vrec.pipelines.inputs import InputPaths
from vrec.pipelines.shards.run import shard_events
from vrec.pipelines.task_runner import LocalTasks

SETTINGS = load_settings(overrides=["evaluate.models=[item_knn, als]", "retrieval.als.iterations=3"])


def with_shards(shop: ShopOnDisk, folder: str, count: int) -> InputPaths:
    settings = load_settings(overrides=[f"events.shards.count={count}"])
    shard_events([shop.where.events], folder, settings.events)
    return InputPaths(folder, videos=shop.where.videos)


@pytest.mark.parametrize("count", [1, 16])
def test_a_comparison_on_shards_is_that_on_the_file(shop, tmp_path, count):
    paths = with_shards(shop, str(tmp_path / "shards"), count)
    table = open_shards(paths.events)
    assert table is not None
    report = compare_shards(LocalTasks(), table, paths, SETTINGS)
    whole = evaluate(shop.where, str(tmp_path / "whole"), SETTINGS)
    assert report.evaluation.to_json() == whole["evaluation"]
    assert [one.suggested for one in report.shoppers] == [one["suggested"] for one in whole["shoppers"]]


@pytest.mark.parametrize("count", [1, 16])
def test_a_bundle_of_shards_is_that_of_the_file(shop, tmp_path, count):
    paths = with_shards(shop, str(tmp_path / "shards"), count)
    table = open_shards(paths.events)
    assert table is not None
    order = BundleOrder(paths, str(tmp_path / "sharded"), SETTINGS, model="item_knn")
    done = bundle_shards(LocalTasks(), table, order)
    whole = make_bundle(shop.where, str(tmp_path / "whole"), SETTINGS, model="item_knn")
    assert done is not None
    mine, its = (ServingBundle.load(str(tmp_path / name)) for name in ("sharded", "whole"))
    assert mine.creators.equals(its.creators)
    assert mine.creators.num_rows > 1
    assert mine.popular == its.popular
    assert np.array_equal(mine.neighbors.indices, its.neighbors.indices)
    assert np.array_equal(mine.neighbors.scores, its.neighbors.scores)
    # The version has the digests of all files.
    assert mine.version == its.version == whole["version"]
    ends = [
        json.loads((tmp_path / name / MANIFEST).read_text())["data"]["log_end"]
        for name in ("sharded", "whole")
    ]
    assert ends[0] == ends[1]
