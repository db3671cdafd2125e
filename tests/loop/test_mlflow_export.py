"""What MLflow gets of a run; with MLflow itself where it is installed."""

import json
import sys
from pathlib import Path

import pytest

from vrec.config.loop import MlflowConfig
from vrec.core.errors import ConfigError
from vrec.loop.mlflow_export import check_mlflow, export_run, run_metrics

RECORD = {
    "run": "20260101T000000Z",
    "outcome": "promoted",
    "bundle": "20260101T000000Z-abcdef",
    "settings": {"models": "item_knn", "level": 0.95},
    "tests": {
        "test item_knn": {
            "verdict": "better",
            "gain": {"difference": 0.1, "low": None, "shoppers": 12},
            "guards": [{"name": "new videos", "challenger": 0.2, "in_service": 0.1}],
        },
        "confirm": {"verdict": "too few", "reasons": []},
    },
}


def test_numbers_of_tests_have_names_that_mlflow_takes():
    assert run_metrics(RECORD) == {
        "test.item_knn.gain.difference": 0.1,
        "test.item_knn.gain.shoppers": 12.0,
        "test.item_knn.new_videos.challenger": 0.2,
        "test.item_knn.new_videos.in_service": 0.1,
    }


def test_nothing_is_exported_by_default_and_a_missing_package_is_said_first(monkeypatch):
    assert export_run(RECORD, MlflowConfig()) is None
    monkeypatch.setitem(sys.modules, "mlflow", None)
    check_mlflow(MlflowConfig())
    with pytest.raises(ConfigError, match="mlflow is not installed"):
        check_mlflow(MlflowConfig(uri="http://mlflow:5000"))


def test_a_run_is_in_mlflow_once(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    config = MlflowConfig(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment="shop")
    number = export_run(RECORD, config)
    assert export_run(RECORD, config) == number
    client = mlflow.MlflowClient(tracking_uri=config.uri)
    found = client.get_run(number)
    assert found.data.metrics == run_metrics(RECORD)
    assert found.data.params == {"models": "item_knn", "level": "0.95"}
    assert found.data.tags["vrec.bundle"] == RECORD["bundle"]
    assert found.info.status == "FINISHED"
    path = mlflow.artifacts.download_artifacts(
        run_id=number, artifact_path="run.json", tracking_uri=config.uri
    )
    assert json.loads(Path(path).read_text()) == RECORD
