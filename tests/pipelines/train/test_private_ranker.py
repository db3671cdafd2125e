"""`vrec train ranker --privacy.epsilon`, from events to a ledger, a ranker and a bundle."""

import json

import pyarrow.parquet as pq
import pytest

from tests.ranking.logs import shop
from vrec.cli.main import run
from vrec.core.errors import RankError
from vrec.pipelines.train import private_ranker
from vrec.privacy.ledger import PrivacyLedger

QUICK = ["--set", "train.ranker.private.steps=2", "--set", "train.ranker.private.sampling=1"]


@pytest.fixture
def log(tmp_path):
    events, content = shop()
    pq.write_table(events, tmp_path / "events.parquet")
    pq.write_table(content.videos, tmp_path / "videos.parquet")
    return tmp_path


def inputs(log):
    return ["--events", str(log / "events.parquet"), "--videos", str(log / "videos.parquet")]


def train(log, out, *more):
    return run(["train", "ranker", *inputs(log), "--out", str(log / out), *QUICK, *more])


def ledger(log):
    return log / "events.parquet.privacy.jsonl"


def test_a_training_is_charged_before_its_noise_and_its_ranker_reported(log, capsys):
    # What an ordinary training left there was measured without noise.
    (log / "ranker" / "checkpoints").mkdir(parents=True)
    (log / "ranker" / "test.json").write_text("{}")
    assert train(log, "ranker", "--privacy.epsilon", "2") == 0
    assert "spent on this data set by now: ε = 2 of 10" in capsys.readouterr().out
    manifest = json.loads((log / "ranker" / "manifest.json").read_text())
    promise = manifest["metrics"]["privacy"]
    assert (promise["epsilon"], promise["unit"]) == (2, "one shopper added or removed")
    assert [cost["steps"] for cost in promise["mechanisms"]] == [1, 2]
    assert set(manifest["metrics"]) == {"privacy"}
    assert not (log / "ranker" / "test.json").exists()
    fit = [*inputs(log), "--out", str(log / "model"), "--privacy.epsilon", "1"]
    assert run(["fit", "--model", "ease", *fit]) == 0
    parts = ["--ranker", str(log / "ranker"), "--recommender", str(log / "model")]
    assert run(["bundle", *inputs(log), *parts, "--out", str(log / "bundle")]) == 0
    found = json.loads((log / "bundle" / "manifest.json").read_text())["data"]["privacy"]
    assert (found["epsilon"], found["ranker"], found["not_covered"]) == (1, promise, [])
    capsys.readouterr()
    report = ["privacy", "report", "--ledger", str(ledger(log)), "--json", "--model", str(log / "bundle")]
    assert run(report) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(m["part"], m["entry"]) for m in done["models"]] == [("recommender", 2), ("ranker", 1)]
    assert done["spent"] < 3


def test_a_bundle_names_what_a_private_ranker_does_not_cover(log):
    assert train(log, "ranker", "--privacy.epsilon", "2") == 0
    parts = ["--ranker", str(log / "ranker"), "--model", "ease"]
    assert run(["bundle", *inputs(log), *parts, "--out", str(log / "bundle")]) == 0
    found = json.loads((log / "bundle" / "manifest.json").read_text())["data"]["privacy"]
    assert found["ranker"]["epsilon"] == 2
    assert found["not_covered"] == ["recommender", "creators"]


def test_a_training_that_died_has_spent_and_one_again_spends_again(log, monkeypatch):
    def die(*_args, **_kwargs):
        raise RankError("it died", fix="run it again")

    with monkeypatch.context() as patch:
        patch.setattr(private_ranker, "fit_private_ranker", die)
        assert train(log, "ranker", "--privacy.epsilon", "1") == 1
    assert len(PrivacyLedger(str(ledger(log))).read().entries) == 1
    assert train(log, "ranker", "--privacy.epsilon", "1") == 0
    assert len(PrivacyLedger(str(ledger(log))).read().entries) == 2


def test_what_cannot_be_had_is_refused_and_spends_nothing(log, capsys):
    assert train(log, "r", "--privacy.epsilon", "2", "--set", "train.ranker.heads.heads=[click,watch]") == 2
    assert "the head watch of a ranker has no private form" in capsys.readouterr().err
    events = ["--events", str(log / "events.parquet"), "--out", str(log / "r")]
    assert run(["train", "ranker", *events, "--privacy.epsilon", "2"]) == 1
    assert "a private ranker needs VIDEOS" in capsys.readouterr().err
    assert train(log, "r", "--privacy.epsilon", "0") == 2
    assert not ledger(log).exists()
    assert not (log / "r" / "manifest.json").exists()
    assert train(log, "r", "--privacy.epsilon", "2", "--set", "privacy.budget=1") == 1
    assert "the budget is 1" in capsys.readouterr().err
