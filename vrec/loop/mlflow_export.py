"""Export of a run to MLflow, for those who use it; the package is no dependency of vrec."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vrec.bundle.summary import flat_figures
from vrec.config.loop import MlflowConfig
from vrec.core.errors import ConfigError


def check_mlflow(config: MlflowConfig) -> None:
    """Raise ConfigError if runs are to be exported and MLflow is not installed."""
    if config.uri is not None:
        _mlflow()


def export_run(record: Mapping[str, Any], config: MlflowConfig) -> str | None:
    """Export the record of a run, and return its id in MLflow; None where nothing is exported.

    A run of the loop is a run of MLflow: the bundle and the outcome are tags, the settings that decide are
    parameters, numbers of the tests are metrics, and the record is the artifact `run.json`. A run that was
    exported before, as before a kill, is found by its tag and not exported again.

    Args:
        record: Record in `history/`.
        config: Settings with a `uri`.

    Raises:
        ConfigError: MLflow is not installed.
    """
    if config.uri is None:
        return None
    mlflow = _mlflow()
    client = mlflow.MlflowClient(tracking_uri=config.uri)
    experiment = client.get_experiment_by_name(config.experiment)
    number = client.create_experiment(config.experiment) if experiment is None else experiment.experiment_id
    same = client.search_runs([number], f"tags.`vrec.run` = '{record['run']}'", max_results=1)
    if same and same[0].info.status == "FINISHED":
        return same[0].info.run_id
    tags = {"vrec.run": record["run"], "vrec.outcome": record["outcome"]}
    tags["vrec.bundle"] = record["bundle"] or ""
    made = same[0].info.run_id if same else client.create_run(number, tags=tags).info.run_id
    for name, value in record["settings"].items():
        client.log_param(made, name, value)
    for name, value in run_metrics(record).items():
        client.log_metric(made, name, value)
    with tempfile.TemporaryDirectory(prefix="vrec-mlflow-") as place:
        path = Path(place) / "run.json"
        path.write_text(json.dumps(record, indent=2, ensure_ascii=False))
        client.log_artifact(made, str(path))
    client.set_terminated(made, "FINISHED")
    return made


def run_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record's tests by names that MLflow takes, such as `test.gain.difference`."""
    found: dict[str, float] = {}
    for name, test in record["tests"].items():
        place = name.replace(" ", ".")
        for path, value in flat_figures({"gain": test.get("gain", {})}, f"{place}."):
            if not isinstance(value, str):
                found[path] = float(value)
        for guard in test.get("guards", ()):
            for side in ("challenger", "in_service"):
                found[f"{place}.{guard['name'].replace(' ', '_')}.{side}"] = float(guard[side])
    return found


def _mlflow() -> Any:
    try:
        import mlflow  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(
            "loop.mlflow.uri is set, and the package mlflow is not installed",
            fix="install mlflow or mlflow-skinny beside vrec, or set loop.mlflow.uri=null",
        ) from None
    return mlflow
