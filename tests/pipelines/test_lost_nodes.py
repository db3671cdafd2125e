"""A node is killed while it works: the outcome of a command is that of an undisturbed run."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tests.pipelines.shop import ShopOnDisk, write_shop
from vrec.config.load import load_settings
from vrec.core.types import CatalogContent
from vrec.encoders.config import EmbedConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.pipelines.cluster import ClusterError
from vrec.pipelines.embed.run import embed
from vrec.pipelines.evaluate.run import evaluate
from vrec.pipelines.features.run import extract_features
from vrec.pipelines.fit.run import fit, recommend_all
from vrec.pipelines.train.data_parallel import train_in_process, train_network
from vrec.pipelines.train.encoder import train_encoder
from vrec.pipelines.train.impressions import build_examples
from vrec.pipelines.train.ranker import RankerTrainingTask
from vrec.pipelines.tune.run import tune
from vrec.pipelines.tune.search import OptunaSuggester
from vrec.pipelines.tune.space import read_search_space
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.retrieval.registry import build_recommender

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = load_settings(
    overrides=[
        "fit.shard_users=10",
        "fit.local_interactions=0",
        "retrieval.als.iterations=400",
        "retrieval.als.factors=64",
        "evaluate.models=[als]",
        "train.ranker.shards=2",
        "train.ranker.network={kind: din, width: 4, hidden: [8], attention: [4]}",
        "train.ranker.features={history: 5, min_count: 2}",
        "train.ranker.training={epochs: 6, patience: 6, batch_size: 8}",
        "train.ranker.heads.heads=[click]",
    ]
)


ONE_BY_ONE = EmbedConfig.model_validate(
    {"sample": {"frames": 2}, "encoders": {"audio": None}, "batch_size": 1}
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> ShopOnDisk:
    return write_shop(tmp_path_factory.mktemp("shop"))


@ray.remote(num_cpus=2)
class Holder:
    """Takes the CPUs of the head, so that all work is on the nodes that may be killed."""

    def ready(self) -> bool:
        return True


class Nodes:
    """Two nodes beside the head, of which one is killed as soon as it works."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.killed = cluster, False
        self.nodes: list[Any] = []

    def start(self) -> None:
        """Bring the nodes up to two again."""
        self.killed = False
        self.nodes += [self.cluster.add_node(num_cpus=1) for _ in range(2 - len(self.nodes))]

    @contextmanager
    def kill_one_that_works(self, named: str) -> Iterator[None]:
        """Kill the first node that has a busy worker whose title has `named` in it, while the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._kill, args=(named, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert self.killed, f"no node has worked on {named}"

    def _kill(self, named: str, ended: threading.Event) -> None:
        raylets = {node: psutil.Process(node.all_processes["raylet"][0].process.pid) for node in self.nodes}
        while not ended.is_set():
            for node, raylet in raylets.items():
                if any(named in title for title in _titles(raylet)):
                    self.killed = True
                    self.nodes.remove(node)
                    self.cluster.remove_node(node, allow_graceful=False)
                    return
            time.sleep(0.01)

    def kill_one(self) -> None:
        """Kill a node now, without a word to the others."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def close(self) -> None:
        for node in self.nodes:
            self.cluster.remove_node(node, allow_graceful=False)


def _titles(raylet: psutil.Process) -> Iterator[str]:
    for process in raylet.children(recursive=True):
        try:
            yield " ".join(process.cmdline())
        except psutil.Error:
            continue


@pytest.fixture(scope="module")
def workers(ray_cluster, local_ray) -> Iterator[Nodes]:
    head = ray.get_runtime_context().get_node_id()
    holder: Any = Holder.options(  # type: ignore[attr-defined]
        scheduling_strategy=NodeAffinitySchedulingStrategy(head, soft=False)
    ).remote()
    ray.get(holder.ready.remote())
    found = Nodes(ray_cluster)
    yield found
    ray.kill(holder)
    found.close()


@pytest.fixture
def nodes(workers) -> Nodes:
    workers.start()
    return workers


def interactions(shop: ShopOnDisk) -> pa.Table:
    interest = SETTINGS.events.interest
    return aggregate_interactions(
        weigh_events(shop.simulation.events, interest, shop.simulation.videos), interest
    )


def test_a_lost_node_costs_a_fit_and_its_lists_nothing(shop, nodes, tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    with nodes.kill_one_that_works("_fit"):
        fit(shop.where, str(model), SETTINGS, model="als")
    nodes.start()
    with nodes.kill_one_that_works("_write"):
        done = recommend_all(str(model), str(out), SETTINGS, k=20)
    alone = build_recommender("als", SETTINGS.retrieval).fit(interactions(shop))
    found = pa.concat_tables([pq.read_table(out / name) for name in done["files"]])
    assert found.to_pylist() == alone.recommend(alone.users.ids.to_pylist(), 20).to_pylist()


def test_a_lost_node_costs_a_comparison_nothing(shop, nodes, tmp_path):
    with nodes.kill_one_that_works("_fit"):
        found = evaluate(shop.where, str(tmp_path / "disturbed"), SETTINGS)
    assert found["evaluation"] == evaluate(shop.where, str(tmp_path / "undisturbed"), SETTINGS)["evaluation"]


def test_lost_nodes_cost_a_training_and_its_examples_nothing(shop, nodes, tmp_path):
    content = CatalogContent(shop.simulation.videos)
    config = SETTINGS.train.ranker
    with nodes.kill_one_that_works("_examples"):
        found = build_examples(shop.simulation.events, content, config)
    expected = build_examples(shop.simulation.events, content, config)
    for part in ("train", "validation", "test"):
        one, other = (getattr(built, part) for built in (found, expected))
        assert one.video_ids.equals(other.video_ids)
        assert np.array_equal(one.features.candidate, other.features.candidate)
        assert np.array_equal(one.labels.click, other.labels.click)
    nodes.start()
    splits = ((part.features, part.labels) for part in (expected.train, expected.validation))
    task = RankerTrainingTask(config, *splits)
    with nodes.kill_one_that_works("RayTrainWorker"):
        trained = train_network(task, "run", str(tmp_path))
    alone = train_in_process(task, "run", str(tmp_path))
    assert (trained.epochs, trained.best_epoch) == (alone.epochs, alone.best_epoch)
    for name, weights in alone.weights.items():
        assert np.array_equal(trained.weights[name], weights), name


def test_a_training_whose_machine_stays_away_ends_by_name_and_continues_with_fewer_workers(
    shop, nodes, tmp_path, caplog
):
    settings = load_settings(
        overrides=[
            "train.ranker.workers=2",
            "train.ranker.wait_s=9",
            "train.ranker.training={epochs: 300, patience: 300, batch_size: 8}",
        ]
    )
    config = settings.train.ranker.model_copy(
        update={"network": SETTINGS.train.ranker.network, "features": SETTINGS.train.ranker.features}
    )
    found = build_examples(shop.simulation.events, CatalogContent(shop.simulation.videos), config)
    splits = tuple((part.features, part.labels) for part in (found.train, found.validation))
    ended = threading.Event()
    thread = threading.Thread(target=kill_after_epochs, args=(nodes, tmp_path, ended))
    thread.start()
    with pytest.raises(ClusterError) as raised:
        train_network(RankerTrainingTask(config, *splits), "run", str(tmp_path))
    ended.set()
    thread.join()
    assert "found no room in 9 s: 2 CPU needed by 2 workers, 3 in the cluster, " in str(raised.value)
    assert "set `workers` lower" in raised.value.fix
    alone = config.model_copy(
        update={"workers": 1, "training": config.training.model_copy(update={"epochs": 2})}
    )
    continued = train_network(RankerTrainingTask(alone, *splits), "run", str(tmp_path))
    assert continued.workers == 1
    assert continued.resumed_from >= 1


def kill_after_epochs(nodes: Nodes, out: Path, ended: threading.Event) -> None:
    # Ray notes a checkpoint in this file once every worker has reported its epoch.
    noted = out / "checkpoints" / "run" / "checkpoint_manager_snapshot.json"
    while not ended.is_set() and not (noted.exists() and "checkpoint_2" in noted.read_text()):
        time.sleep(0.05)
    nodes.kill_one()


@pytest.mark.parametrize("layout", ["fused", "split"])
def test_a_node_lost_in_the_middle_costs_an_embedding_no_video(clips, nodes, layout, tmp_path):
    config, seen = ONE_BY_ONE.model_copy(update={"layout": layout}), []

    def kill_after_two(summary):
        seen.append(summary["part"])
        if len(seen) == 2:
            nodes.kill_one()

    # As many workers as the cluster has CPUs: after the loss there is no room for all of them.
    found = embed(str(clips), str(tmp_path / "out"), config, on_batch=kill_after_two)
    assert (found["counts"]["embedded"], found["counts"]["failed"]) == (9, 3)
    assert sorted(set(seen)) == sorted(seen)


def test_lost_nodes_cost_an_encoder_and_its_features_nothing(clips, nodes, tmp_path):
    quick = [
        "train.encoder.learned={kind: gru, dim: 8, hidden: 4}",
        "train.encoder.training.epochs=4",
        "train.encoder.features.views=1",
        "embed.sample.frames=4",
        "embed.encoders.audio=null",
        "embed.batch_size=1",
    ]
    on_ray, here = (load_settings(overrides=[*quick, f"train.encoder.alone_below={n}"]) for n in (0, 10**6))
    features = str(tmp_path / "features")
    with nodes.kill_one_that_works("FusedEmbedder"):
        found = extract_features(str(clips), features, on_ray)
    assert (len(found.features), found.failures.num_rows) == (9, 3)
    nodes.start()
    with nodes.kill_one_that_works("RayTrainWorker"):
        disturbed = train_encoder(None, None, features, str(tmp_path / "disturbed"), on_ray)
    alone = train_encoder(None, None, features, str(tmp_path / "alone"), here)
    # The name has the digest of the weights.
    assert [disturbed[key] for key in ("model", "epochs")] == [alone[key] for key in ("model", "epochs")]


def make_trial() -> Callable[..., Iterator[float]]:
    """The nearer to 150 factors the better; slow, so that a node is lost within it."""

    def trial(aim: int, settings: Any) -> Iterator[float]:
        import time

        for epoch in range(1, 4):
            time.sleep(0.4)
            yield -abs(settings.retrieval.als.factors - aim) / 100 - 1 / epoch

    return trial


def test_a_lost_node_costs_a_sweep_no_trial(nodes, tmp_path):
    space, out = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text("retrieval.als.factors: {int: [1, 200]}")
    target = TuneTarget(
        kind="cf", model="als", metric="closeness", tunable=("retrieval.als",), reports_epochs=True,
        read=lambda: TuneData("made up", "one", lambda: 150), run_trial=make_trial(), command="vrec fit",
    )  # fmt: skip
    settings = load_settings(overrides=["tune.trials=4", "tune.early_stop=false"])
    with nodes.kill_one_that_works("ImplicitFunc"):
        done = tune(target, space, str(out), settings)
    assert not done["failed"]
    suggester = OptunaSuggester(read_search_space(space, settings, target.tunable), settings, [])
    expected = [suggester.suggest(str(number))["changes"] for number in range(4)]
    for number, path in enumerate(sorted((out / "trials").iterdir())):
        row = json.loads(path.read_text())
        aim = expected[number].get("retrieval.als.factors", settings.retrieval.als.factors)
        assert (row["number"], row["changes"], row["state"]) == (number, expected[number], "done")
        assert row["values"] == pytest.approx([-abs(aim - 150) / 100 - 1 / epoch for epoch in (1, 2, 3)])
    assert number == 3
