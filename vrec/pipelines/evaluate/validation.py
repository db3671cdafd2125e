"""Splits of the interactions, and the score on the validation split by which settings are chosen."""

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.errors import EvaluationError
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import ACCURACY
from vrec.events.split import InteractionSplit, split_interactions
from vrec.pipelines.inputs import InputData
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender


def train_test_split(inputs: InputData, settings: Settings) -> InteractionSplit:
    """Split the interactions into train and test according to `evaluate.split`.

    Raises EvaluationError where either is empty, or where a split by time lacks real times.
    """
    config = settings.evaluate.split
    if config.kind == "time" and not inputs.has_clock:
        raise EvaluationError(
            f"{inputs.name} has the order of a user's events, not their times: there is no time to cut at",
            fix="set evaluate.split.kind=last",
        )
    return split_interactions(inputs.interactions, config)


def validation_split(train: pa.Table, settings: Settings) -> InteractionSplit:
    """Split the training split once more in the same way, into train and validation (its `test`).

    Settings that are best here are likely to be best one step later. A fixed `test_from` does not apply: the
    cut is at `test_share` instead. Raises EvaluationError.
    """
    config = settings.evaluate.split
    if config.kind == "time":
        config = config.model_copy(update={"test_from": None})
    return split_interactions(train, config)


def validation_score(
    model: str,
    config: RetrievalConfig,
    train: pa.Table,
    validation: pa.Table,
    *,
    content: CatalogContent | None,
    metrics: EvaluationConfig,
) -> float:
    """Fit a model on `train` and return its headline metric on `validation`, the mean over users.

    Both tables are INTERACTIONS, `train` aggregated. Raises FitError or ConfigError.
    """
    fitted = build_recommender(model, config).fit(train, content)
    k = metrics.headline_k
    videos = {*fitted.videos.ids.to_pylist(), *validation.column("video_id").to_pylist()}
    truth = GroundTruth(train, validation, videos)
    recommendations = fitted.recommend(truth.users.ids.to_pylist(), k)
    hits = truth.hits(truth.index_lists(recommendations, model))
    scored = truth.score_lists(hits, k, truth.population())
    return float(ACCURACY[metrics.headline_metric](scored, k).mean())
