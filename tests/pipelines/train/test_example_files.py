"""Examples in files: those in memory, whatever the shards of the events; and a ranker trained on them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.pipelines.shop import RANKER_OVERRIDES, ShopOnDisk
from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.tables import MANIFEST
from vrec.core.types import CatalogContent
from vrec.events.consents import CONSENTS, ShopperConsents
from vrec.events.shards.manifest import open_shards
from vrec.events.shards.weigh import WeighJob
from vrec.pipelines.inputs import InputPaths
from vrec.pipelines.shards.run import shard_events
from vrec.pipelines.task_runner import LocalTasks
from vrec.pipelines.train.data_parallel import CHECKPOINTS
from vrec.pipelines.train.event_shards import part_shards, read_shards
from vrec.pipelines.train.example_files import EXAMPLES, SPLITS, ExampleFiles, write_examples
from vrec.pipelines.train.impressions import ImpressionDataset, place_of, replay_parts
from vrec.pipelines.train.ranker import train_ranker
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.training import RankerTrainer

MOST = 1500
"""Impressions of a part; the shop has a few parts of them."""
SETTINGS = load_settings(
    overrides=[*RANKER_OVERRIDES, "events.shards.local_events=0", f"train.ranker.local_examples={MOST}"]
)


def with_shards(shop: ShopOnDisk, folder: Path, count: int) -> InputPaths:
    """The shop's tables with the events in so many shards."""
    settings = load_settings(overrides=[f"events.shards.count={count}"])
    shard_events([shop.where.events], str(folder), settings.events)
    return InputPaths(str(folder), videos=shop.where.videos)


def examples_of(
    shop: ShopOnDisk, folder: Path, count: int, most: int = MOST, settings: Settings = SETTINGS
) -> tuple[ExampleFiles, ImpressionDataset]:
    """Examples of the shop's shards, in files and in memory."""
    paths, tasks = with_shards(shop, folder / "shards", count), LocalTasks()
    table = open_shards(paths.events)
    assert table is not None
    config = settings.events
    consents = ShopperConsents(CONSENTS.arrow().empty_table(), default=True)
    content = CatalogContent(shop.simulation.videos)
    job = WeighJob(paths.events, config.interest, config.of)
    read = read_shards(table, job, content.videos, consents, tasks)
    parted, _, _ = part_shards(read, content, settings.train.ranker, tasks)
    files = write_examples(parted, str(folder / "out"), most, tasks)
    return files, replay_parts(parted.parts, parted.log, tasks)


def test_files_are_the_same_of_one_shard_and_of_many(shop, tmp_path):
    one, _ = examples_of(shop, tmp_path / "one", 1)
    many, _ = examples_of(shop, tmp_path / "many", 16)
    assert one.splits == many.splits
    assert len(one.splits["train"]) > 1
    manifest = json.loads((tmp_path / "one" / "out" / EXAMPLES / MANIFEST).read_text())
    assert [file["name"] for file in manifest["files"]["test"]] == [f.name for f in one.splits["test"]]


@pytest.mark.parametrize("most", [MOST, 10**6])
def test_files_hold_the_examples_of_memory_by_shopper(shop, tmp_path, most):
    files, held = examples_of(shop, tmp_path, 4, most)
    for split in SPLITS:
        whole, places = (
            getattr(held, split),
            -(-sum(map(len, (held.train.labels, held.validation.labels, held.test.labels))) // most),
        )
        parts = list(files.parts(split, held.space, held.catalog).tables())
        assert len(parts) == places
        place = place_of(whole.labels.user, places)
        for number, part in enumerate(parts):
            rows = np.flatnonzero(place == number)
            expected = {
                "features": whole.features.take(rows),
                "labels": whole.labels.take(rows),
                "rates": whole.rates.take(rows),
            }
            assert np.array_equal(part.cold, whole.cold[rows])
            for name, other in expected.items():
                mine = getattr(part, name)
                for field in set(other.__dataclass_fields__) - {"catalog", "shape"}:
                    assert np.array_equal(getattr(mine, field), getattr(other, field), equal_nan=True), field


@pytest.fixture(scope="module")
def alone(shop, tmp_path_factory) -> dict[str, np.ndarray]:
    """Weights that a trainer without Ray learns from the files."""
    files, held = examples_of(shop, tmp_path_factory.mktemp("alone"), 1)
    train, valid = (files.parts(split, held.space, held.catalog) for split in ("train", "validation"))
    config = SETTINGS.train.ranker.model
    network, head = build_untrained(config, held.space.shape, held.train.labels)
    trainer = RankerTrainer(network, config.heads, head, train=train, valid=valid, config=config.training)
    return {name: tensor.numpy().copy() for name, tensor in trainer.run().state_dict().items()}


def same_weights(folder: Path, expected: dict[str, np.ndarray]) -> bool:
    found = {
        name: tensor.numpy() for name, tensor in NetworkRanker.load(str(folder)).network.state_dict().items()
    }
    return found.keys() == expected.keys() and all(np.array_equal(found[n], expected[n]) for n in expected)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_shards_train_the_ranker_that_files_of_one_shard_train_without_ray(shop, alone, local_ray, tmp_path):
    paths, out = with_shards(shop, tmp_path / "shards", 4), tmp_path / "out"
    done = train_ranker(paths, str(out), SETTINGS)
    assert same_weights(out, alone)
    assert done["test"]["ranker"] == NetworkRanker.load(str(out)).metrics
    assert sum(done["impressions"].values()) > MOST
    assert not (out / EXAMPLES).exists()
    assert not (out / CHECKPOINTS).exists()
