"""End of a ranker's training: calibrated, tested on the latest impressions, and written to its folder."""

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.evaluation.ranking.run import (
    RankerComparison,
    RankerEvaluation,
    RankerMetricsConfig,
    compare_rankers,
    evaluate_ranker,
)
from vrec.pipelines.train.data_parallel import TrainingResult
from vrec.ranking.example_parts import ExampleParts, concatenate_labels
from vrec.ranking.example_tables import ExampleTable
from vrec.ranking.features.arrays import concatenate_predictions
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.network_ranker import NetworkRanker, build_network
from vrec.ranking.networks.watch_heads import WatchHead
from vrec.ranking.registry import LOG_END, TEST_REPORT
from vrec.ranking.training import heads_without_validation

_log = logging.getLogger(__name__)

METRICS_CONFIG = RankerMetricsConfig()


@dataclass(frozen=True, slots=True)
class RankerOrder:
    """Ranker to be trained, beside its examples."""

    out: str
    config: TrainRankerConfig
    """With the heads that the log can teach."""
    left_out: dict[str, str]
    """Reasons of the heads that are left out."""
    name: str
    """Name of the run, which decides its checkpoints."""
    report: dict[str, Any]
    """Entries of the report about the inputs."""
    log_end: int | None
    """Time of the last event, µs since 1970."""


@dataclass(frozen=True, slots=True)
class RankerTestResult:
    """Evaluations of a ranker and of the smoothed-rate baseline on the same impressions."""

    ranker: RankerEvaluation
    rates: RankerEvaluation


def finish_ranker(
    order: RankerOrder,
    described: tuple[FeatureSpace, CatalogContent],
    trained: tuple[TrainingResult, WatchHead | None],
    *,
    splits: tuple[ExampleParts, ExampleParts],
    test: Iterable[ExampleTable],
) -> dict[str, Any]:
    """Calibrate and test a trained network, save the ranker and its test, and return a summary.

    Args:
        order: The ranker.
        described: Feature space of the examples; VIDEOS and EMBEDDINGS of the catalog.
        trained: Outcome of the training; watch head, None without one.
        splits: Training and validation impressions.
        test: Test impressions, part by part.
    """
    config, (space, content), (result, head), (train, valid) = order.config.model, described, trained, splits
    network = build_network(config, space.shape, head)
    network.load_state_dict({n: torch.from_numpy(np.array(array)) for n, array in result.weights.items()})
    ranker = NetworkRanker.from_training(config, space, content, network, head, train=train, valid=valid)
    parts = [
        (ranker.predict(part.features, at_logged_positions=True), part.rates, part.labels, part.cold)
        for part in test
    ]
    predictions = concatenate_predictions([one[0] for one in parts])
    rates = concatenate_predictions([one[1] for one in parts])
    labels, cold = concatenate_labels([one[2] for one in parts]), np.concatenate([one[3] for one in parts])
    tested = RankerTestResult(
        ranker=evaluate_ranker(predictions, labels, cold, METRICS_CONFIG),
        rates=evaluate_ranker(rates, labels, cold, METRICS_CONFIG),
    )
    compared = compare_rankers(predictions.p_click, rates.p_click, labels.click, labels.user, METRICS_CONFIG)
    unjudged = heads_without_validation(config.heads, valid.outcomes)
    ranker.metrics = tested.ranker.overall.metrics
    ranker.save(order.out)
    report = {**asdict(tested), "against_rates": asdict(compared), "unjudged": unjudged}
    folder = StorageFolder(order.out)
    folder.write_json(TEST_REPORT, report | order.report | {LOG_END: order.log_end})
    sizes = {"train": sum(train.sizes), "validation": sum(valid.sizes), "test": len(labels)}
    summary = {"model": ranker.name, "impressions": sizes, "cold": int(cold.sum())}
    summary |= _training_summary(result) | _test_summary(tested, compared)
    return summary | {"heads_left_out": order.left_out, "unjudged": unjudged, **order.report}


def _training_summary(trained: TrainingResult) -> dict[str, Any]:
    return {
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "resumed_from": trained.resumed_from,
        "workers": trained.workers,
        "examples_per_s": round(trained.examples_per_s),
    }


def _test_summary(tested: RankerTestResult, compared: RankerComparison) -> dict[str, Any]:
    return {
        "test": {
            name: evaluation.overall.metrics
            for name, evaluation in (("ranker", tested.ranker), ("rates", tested.rates))
        },
        "left_out": tested.ranker.overall.left_out,
        "click_auc_above_rates": asdict(compared.auc),
    }
