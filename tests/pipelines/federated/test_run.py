"""`vrec federate` from paths to a model's folder, with clients in this process."""

import json

import pytest

from tests.pipelines.federated.logs import settings, write_logs
from tests.pipelines.federated.test_ranker import TRAINING, shops  # noqa: F401
from vrec.core.artifact import read_artifact
from vrec.core.errors import PrivacyError
from vrec.pipelines.federated import run as module
from vrec.pipelines.federated.pool import LocalPool
from vrec.pipelines.federated.rounds import FederatedRun
from vrec.pipelines.federated.run import federate
from vrec.pipelines.fit.private import privacy_report
from vrec.pipelines.inputs import InputPaths
from vrec.ranking.registry import load_ranker
from vrec.retrieval.registry import load_recommender


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    def run(task, sources, config, *, folder, key, address):
        assert address is None
        return FederatedRun(task, LocalPool(sources), config.federated, folder=folder, key=key).run()

    monkeypatch.setattr(module, "run_on_cluster", run)


def test_a_private_model_says_what_was_promised_and_where_the_ledgers_are(tmp_path):
    paths, out = write_logs(tmp_path / "logs"), str(tmp_path / "model")
    inputs = InputPaths("", videos=str(tmp_path / "logs" / "VIDEOS.parquet"))
    done = federate(paths, inputs, out, settings("privacy.epsilon=2"), model="item_knn")
    assert done["rounds"] == 2
    promise = read_artifact(out).metrics["privacy"]
    assert (promise["epsilon"], promise["unit"]) == (2, "one shopper added or removed")
    assert len(promise["mechanisms"]) == 2
    assert load_recommender(out).released_counts is not None
    ledger = f"{paths['shop0']}.privacy.jsonl"
    assert privacy_report(ledger, [])["spent"] == pytest.approx(2)
    with pytest.raises(PrivacyError, match="one per client, beside its events"):
        privacy_report(ledger, [out])


def test_a_ranker_s_folder_says_who_took_part(shops, tmp_path):  # noqa: F811
    logs, start = shops
    out = tmp_path / "ranker"
    done = federate(logs, InputPaths(""), str(out), settings(*TRAINING), model="ranker", start=start)
    assert done["took_part"] == sorted(logs)
    assert json.loads((out / "federated.json").read_text())["rounds"] == 4
    assert set(load_ranker(str(out)).metrics) == {"validation_loss"}
    assert not (out / "federated").exists()
