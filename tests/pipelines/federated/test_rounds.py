"""Rounds of federated fits with clients in this process: who is in a sum, and what the coordinator sees."""

import logging
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.federated.logs import IDS, VIDEOS, settings, sources, task, write_logs
from vrec.core.errors import ConfigError, FederatedError, SourceError
from vrec.core.tables import StorageFolder
from vrec.pipelines.federated.client import FederatedClient, SumTerms
from vrec.pipelines.federated.pool import LocalPool
from vrec.pipelines.federated.rounds import FederatedRun
from vrec.pipelines.federated.run import describe_rounds, federate
from vrec.pipelines.federated.sources import PrivateSource
from vrec.pipelines.federated.tables import client_tables, named_clients
from vrec.pipelines.inputs import InputPaths
from vrec.privacy.ledger import PrivacyLedger
from vrec.privacy.secure_sum.fixed_point import FixedPoint
from vrec.retrieval.federated.private import PrivateSums
from vrec.training.federated.layout import ArrayLayout

SETTINGS = settings()
PLAIN = settings("federated.secure=false")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_logs(tmp_path_factory.mktemp("logs"))


def run(paths, config=SETTINGS, kind="als", lost=lambda name, step: None, **more):
    pool = LocalPool(sources(paths, config, kind), lost)
    return FederatedRun(task(config, kind), pool, config.federated, **more).run()


@pytest.mark.parametrize("kind", ["als", "ease"])
def test_masked_sums_give_what_plain_sums_give(paths, kind):
    masked, plain = run(paths, kind=kind), run(paths, PLAIN, kind)
    assert set(masked.state) == set(plain.state)
    for name in masked.state:
        assert masked.state[name] == pytest.approx(plain.state[name], abs=1e-5)
    assert masked.rounds[-1].clients == tuple(sorted(paths))


def test_a_sum_over_those_who_stay_equals_a_fit_without_the_others(paths):
    left = run(
        paths, kind="ease", lost=lambda name, step: "away" if (name, step) == ("shop3", "mask") else None
    )
    without = run({name: path for name, path in paths.items() if name != "shop3"}, kind="ease")
    assert (left.state["gram"] == without.state["gram"]).all()
    assert left.rounds[0].left_out == {"shop3": "away"}
    assert "shop3" not in left.rounds[0].clients


@pytest.mark.parametrize("step", ["advertise", "share", "mask", "reveal"])
def test_a_client_may_leave_at_any_step(paths, step):
    done = run(paths, lost=lambda name, at: "away" if name == "shop0" and at == step else None)
    inside = step == "reveal"
    assert all(("shop0" in one.clients) == inside for one in done.rounds)
    assert all((one.left_out == {}) == inside for one in done.rounds)


def test_too_few_clients_end_the_fit_after_its_retries_and_it_continues_later(paths, tmp_path, caplog):
    folder, calls = StorageFolder(str(tmp_path)), []

    def lost(name, step):
        calls.append((name, step))
        late = sum(one == ("shop0", "advertise") for one in calls) > 2
        return "cannot be reached" if late and name != "shop1" else None

    with pytest.raises(FederatedError, match=r"round 3: .*\(shop0: cannot be reached; shop2") as caught:
        run(paths, lost=lost, folder=folder, key="k")
    assert "threshold" in caught.value.fix or "add clients" in caught.value.fix
    resumed = run(paths, folder=folder, key="k")
    assert resumed.resumed_from == 2
    whole = run(paths)
    assert (resumed.state["factors"] == whole.state["factors"]).all(), "to the bit"
    assert run(paths, folder=folder, key="other").resumed_from == 0, "a checkpoint of other settings is none"
    assert "had other clients or settings" in caplog.text


class RecordedTask:
    """A coordinator's task that keeps the state of each round."""

    def __init__(self, task):
        self.task, self.rounds, self.states = task, task.rounds, []
        self.start, self.shapes = task.start, task.shapes

    def step(self, state, sums, number):
        self.states.append(state)
        return self.task.step(state, sums, number)


def test_nothing_that_the_coordinator_gets_holds_a_true_contribution(paths, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    got, recorded, clients = [], RecordedTask(task(SETTINGS)), sources(paths, SETTINGS)
    FederatedRun(
        recorded,
        LocalPool(clients, lambda name, step: "away" if (name, step) == ("shop4", "reveal") else None),
        SETTINGS.federated,
        folder=StorageFolder(str(tmp_path)),
        key="k",
        record=lambda step, name, message: got.append((step, name, message)),
    ).run()
    assert {step for step, _, _ in got} == {"keys", "shares", "vector", "reveal"}
    text = repr(got) + caplog.text
    seen = text.encode() + b"".join(m.tobytes() for _, _, m in got if isinstance(m, np.ndarray))
    seen += b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    number, layout = recorded.rounds, ArrayLayout(recorded.shapes(recorded.rounds))
    terms = SumTerms(number, layout, FixedPoint(SETTINGS.federated.fraction_bits, 5))
    for name, source in clients.items():
        truth = FederatedClient(name, source).contribute(recorded.states[number - 1], terms)
        for form in (terms.codec.encode(truth), truth, truth.astype(np.float32)):
            found = [
                start
                for start in range(0, len(form) - 2, 2)
                if form[start : start + 2].all() and form[start : start + 2].tobytes() in seen
            ]
            assert not found, name
        assert not any(f"{value:.5g}" in text for value in truth if value % 1)
        users = pq.read_table(paths[name]).column("user_id").to_pylist()
        assert not any(user.encode() in seen for user in users)


def test_without_masks_the_search_finds_the_contributions(paths):
    got = []
    run(paths, PLAIN, "ease", record=lambda step, name, message: got.append(message))
    layout = ArrayLayout(task(PLAIN, "ease").shapes(1))
    source = sources(paths, PLAIN, "ease")["shop0"]
    truth = FederatedClient("shop0", source).contribute({}, SumTerms(1, layout, FixedPoint(24, 5)))
    assert any(truth.tobytes() == message.tobytes() for message in got)


class Broken:
    """A client's shard that contributes numbers that are not finite, or arrays of another shape."""

    def __init__(self, source, change):
        self.source, self.change = source, change

    def load(self):
        shard = self.source.load()
        change = self.change

        class Shard:
            def contribute(self, state, number):
                return {name: change(array) for name, array in shard.contribute(state, number).items()}

        return Shard()


@pytest.mark.parametrize("config", [SETTINGS, PLAIN], ids=["masked", "plain"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda array: array * np.nan, "not finite"),
        (lambda array: array[..., :-1], "arrays of another shape: counts"),
        (lambda array: array + 1e30, "not finite"),
    ],
)
def test_a_client_with_bad_numbers_is_left_out_with_its_name_and_the_reason(paths, config, change, said):
    clients = sources(paths, config, "ease")
    pool = LocalPool(clients | {"shop2": Broken(clients["shop2"], change)})
    done = FederatedRun(task(config, "ease"), pool, config.federated).run()
    assert said in done.rounds[0].left_out["shop2"]
    assert done.rounds[0].clients == ("shop0", "shop1", "shop3", "shop4")
    assert describe_rounds(done, config)["left_out"]["shop2"]["rounds"] == 1


def test_reasons_have_no_rows_of_a_client(paths, tmp_path):
    bad = tmp_path / "shop0.csv"
    bad.write_text("user_id,video_id,at\nalice@example.com,v01,someday\n")
    absent = tmp_path / "absent.csv"
    done = run(paths | {"shop0": str(bad), "shop1": str(absent)}, kind="ease")
    assert set(done.rounds[0].left_out) == {"shop0", "shop1"}
    shown = str(describe_rounds(done, SETTINGS)) + str(done)
    assert "alice" not in shown
    assert "someday" not in shown


def test_refusals_are_named_in_the_error_and_the_log(paths, tmp_path, caplog):
    few = dict(list(paths.items())[:3]) | {"shop2": str(tmp_path / "absent.csv")}
    with pytest.raises(FederatedError, match=r"2 of 3 clients can be used.*shop2: .*absent"):
        run(few, kind="ease")
    assert "shop2 is left out" in caplog.text


def test_clients_are_named_by_the_option_or_their_files():
    assert named_clients(["a=x/e.csv", "logs/b.parquet"]) == {"a": "x/e.csv", "b": "logs/b.parquet"}
    with pytest.raises(ConfigError, match="two clients have the name b"):
        named_clients(["b=1.csv", "logs/b.csv"])
    with pytest.raises(ConfigError, match="want NAME=PATH"):
        named_clients(["=1.csv"])


def test_tables_of_clients_are_named_or_for_all_and_none_lacks_consents():
    clients, shared = {"a": "a.csv", "b": "s3://b/e.csv?x=1"}, InputPaths("", videos="V")
    tables = client_tables(clients, shared, consent=["a=c.csv", "all.csv"], links=["b=l.csv"])
    at = os.getcwd()
    assert tables == {
        "a": InputPaths(f"{at}/a.csv", videos=f"{at}/V", consent=f"{at}/c.csv"),
        "b": InputPaths(clients["b"], videos=f"{at}/V", consent=f"{at}/all.csv", links=f"{at}/l.csv"),
    }
    for given, said in (
        ("a=c.csv", "the client b has none"),
        ("c=c.csv", "there is no client c"),
        ("a=", "no path"),
    ):
        with pytest.raises(ConfigError, match=said):
            client_tables(clients, shared, consent=[given])
    with pytest.raises(ConfigError, match="two tables of a"):
        client_tables(clients, shared, links=["a=1.csv", "a=2.csv"])


def test_a_fit_that_cannot_begin_is_refused_before_it_does(paths, tmp_path):
    inputs = InputPaths("", videos=str(tmp_path / "V.parquet"))
    pq.write_table(pa.table({"video_id": VIDEOS}), inputs.videos)

    def refused(said, clients=paths, *, error=ConfigError, config=SETTINGS, **more):
        with pytest.raises(error, match=said):
            federate(clients, inputs, str(tmp_path / "m"), config, **{"model": "als"} | more)

    refused("1 client is too few", clients={"shop0": paths["shop0"]}, error=FederatedError)
    refused("only with differential privacy", model="item_knn")
    refused("--start is for the model ranker", start="x")
    refused("events.of creator has no federated form", config=settings("events.of=creator"))
    pq.write_table(pa.table({"video_id": pa.array([], pa.string())}), inputs.videos)
    refused("the catalog has no videos", error=SourceError)
    assert not (tmp_path / "m").exists()


def test_a_fit_without_a_shared_catalog_or_with_a_decay_is_refused(paths, tmp_path):
    out = str(tmp_path / "model")
    with pytest.raises(ConfigError, match="needs the catalog"):
        federate(paths, InputPaths(""), out, SETTINGS, model="als")
    fading = settings("events.interest.half_life_days=9")
    with pytest.raises(ConfigError, match="half_life_days"):
        federate(paths, InputPaths("", videos="V"), out, fading, model="als")
    assert not (tmp_path / "model").exists()


def private_sources(paths, config):
    return {name: PrivateSource(InputPaths(path), config, "ease", IDS.ids) for name, path in paths.items()}


def test_a_private_fit_is_charged_to_each_client_and_released_once(tmp_path):
    paths = write_logs(tmp_path, clients=4)
    config = settings("privacy.epsilon=2", "privacy.budget=2.5", "federated.retries=0")
    task = PrivateSums("ease", config.retrieval, config.privacy, IDS)
    done = FederatedRun(task, LocalPool(private_sources(paths, config)), config.federated).run()
    assert done.rounds[-1].clients == tuple(sorted(paths))
    for path in paths.values():
        state = PrivacyLedger(f"{path}.privacy.jsonl").read()
        assert [entry.model for entry in state.entries] == ["ease"]
        assert state.spent() == pytest.approx(2, rel=1e-6)
    # A second run would spend more than the budget.
    with pytest.raises(FederatedError, match=r"shop0: .*with this fit ε would be 2\.\d+"):
        FederatedRun(task, LocalPool(private_sources(paths, config)), config.federated).run()


def test_a_private_fit_that_cannot_begin_is_charged_to_nobody(tmp_path):
    paths = write_logs(tmp_path, clients=3)
    config = settings("privacy.epsilon=2")
    task = PrivateSums("ease", config.retrieval, config.privacy, IDS)
    some = private_sources(paths | {"shop2": str(tmp_path / "absent.csv")}, config)
    with pytest.raises(FederatedError, match="2 of 3 clients can be used"):
        FederatedRun(task, LocalPool(some), config.federated).run()
    assert not list(tmp_path.glob("*.privacy.jsonl"))


def test_a_sum_that_may_be_known_is_not_released_again_with_other_noise(tmp_path):
    paths = write_logs(tmp_path, clients=4)
    config = settings("privacy.epsilon=2", "federated.retries=1")
    task = PrivateSums("ease", config.retrieval, config.privacy, IDS)
    pool = LocalPool(private_sources(paths, config))
    call = pool.call

    def forgetful(step, arguments, deadline_s):
        answers, refusals = call(step, arguments, deadline_s)
        return ({}, refusals) if step == "reveal" else (answers, refusals)

    pool.call = forgetful
    with pytest.raises(FederatedError, match="its noised sums of round 1 may be known already"):
        FederatedRun(task, pool, config.federated).run()


def test_the_ranker_and_few_bits_have_no_private_form(paths, tmp_path):
    private = settings("privacy.epsilon=2")
    with pytest.raises(ConfigError, match="a federated ranker has no private form"):
        federate(paths, InputPaths(""), str(tmp_path / "r"), private, model="ranker", start="x")
    with pytest.raises(ConfigError, match="starts from another"):
        federate(paths, InputPaths(""), str(tmp_path / "r"), SETTINGS, model="ranker")
