"""Federated ranker from the logs of several shops, with clients in this process."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.federated.logs import settings
from vrec.core.compute import pc
from vrec.core.errors import FederatedError
from vrec.pipelines.federated.first_ranker import load_start
from vrec.pipelines.federated.pool import LocalPool
from vrec.pipelines.federated.rounds import FederatedRun
from vrec.pipelines.federated.sources import RankerSource
from vrec.pipelines.inputs import InputPaths
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.federated.examples import client_examples
from vrec.ranking.federated.training import RankerSums
from vrec.ranking.registry import load_ranker
from vrec.synthetic.shop.simulate import simulate
from vrec.testing.rankers import SHOP
from vrec.testing.ranking_shop import SHOP as SIMULATION
from vrec.testing.ranking_shop import network

TRAINING = ("federated.rounds=2", "train.ranker.training={batch_size: 50, learning_rate: 0.01, device: cpu}")
SETTINGS = settings(*TRAINING)


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """Logs of four shops by name, and the folder of a ranker to start from."""
    folder = tmp_path_factory.mktemp("shops")
    network(SHOP()).save(str(folder / "start"))
    events = simulate(SIMULATION).events
    users = events.column("user_id").to_pylist()
    place = {user: number % 4 for number, user in enumerate(sorted(set(users)))}
    owner = np.array([place[user] for user in users])
    logs = {}
    for one in range(4):
        path = folder / f"shop{one}.parquet"
        pq.write_table(events.filter(pa.array(owner == one)), path)
        logs[f"shop{one}"] = str(path)
    return logs, str(folder / "start")


def run(logs, start, config=SETTINGS):
    sources = {name: RankerSource(InputPaths(path), config, start) for name, path in logs.items()}
    task = RankerSums(load_start(start, config), config.federated)
    return task, FederatedRun(task, LocalPool(sources), config.federated).run()


def test_a_ranker_is_trained_by_masked_sums_and_loads(shops, tmp_path):
    task, done = run(*shops)
    assert [len(one.clients) for one in done.rounds] == [4, 4, 4, 4]
    assert done.state["best_round"] > 0, "two rounds of training lower the loss of the first ranker"
    model = task.model(done.state)
    model.save(str(tmp_path / "ranker"))
    loaded = load_ranker(str(tmp_path / "ranker"))
    requests, labels = SHOP().valid
    chances = loaded.predict(loaded.builder.build(requests), at_logged_positions=True).p_click
    assert chances.mean() == pytest.approx(labels.click.mean(), rel=0.3)


def test_masked_and_plain_sums_give_the_same_ranker(shops):
    # After one round: further ones make differences of rounding larger.
    one = (*TRAINING, "federated.rounds=1")
    masked = run(*shops, settings(*one))[1]
    plain = run(*shops, settings(*one, "federated.secure=false"))[1]
    assert masked.state["weights"] == pytest.approx(plain.state["weights"], abs=1e-6)


def test_a_median_is_not_moved_by_a_poisoned_client(shops):
    logs, start = shops
    more = ("federated.rounds=1", "federated.secure=false", "train.ranker.training={device: cpu}")

    class Poisoned:
        def load(self):
            shard = RankerSource(InputPaths(logs["shop3"]), SETTINGS, start).load()

            class Shard:
                def contribute(self, state, number):
                    sent = shard.contribute(state, number)
                    return sent | ({"update": sent["update"] * -1000} if "update" in sent else {})

            return Shard()

    task, honest = run(logs, start, settings(*more))
    config = settings(*more, "federated.aggregation=median")
    sources = {name: RankerSource(InputPaths(path), config, start) for name, path in logs.items()}
    poisoned = FederatedRun(task, LocalPool(sources | {"shop3": Poisoned()}), config.federated).run()
    moves = [np.linalg.norm(one.state["weights"] - task.start()["weights"]) for one in (honest, poisoned)]
    assert 0 < moves[1] < 3 * moves[0]


def test_a_client_s_examples_are_those_of_its_own_log(shops):
    logs, start = shops
    events = pq.read_table(logs["shop0"])
    first = load_start(start, SETTINGS)
    (train, labels), (valid, later) = client_examples(first, events, ProfilesConfig(), 0.2)
    shown = pc.sum(pc.equal(events.column("kind"), "impression")).as_py()
    assert len(train) + len(valid) == shown
    assert len(valid) == round(0.2 * shown)
    assert labels.at.max() <= later.at.min()


def test_a_log_without_impressions_is_left_out_by_name(shops, tmp_path):
    logs, start = shops
    events = pq.read_table(logs["shop0"])
    path = tmp_path / "clicks.parquet"
    pq.write_table(events.filter(pc.equal(events.column("kind"), "click")), path)
    with pytest.raises(FederatedError, match=r"2 of 3 clients.*shop0: none of \d+ events is an impression"):
        run({"shop0": str(path), "shop1": logs["shop1"], "shop2": logs["shop2"]}, start)
