"""Splits of the interactions, and the score on the validation split by which settings are chosen."""

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.errors import EvaluationError
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import ACCURACY
from vrec.events.config import RandomSplitConfig
from vrec.events.split import InteractionSplit, given_split, split_interactions
from vrec.pipelines.inputs import InputData
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender


def train_test_split(inputs: InputData, settings: Settings) -> InteractionSplit:
    """Split the interactions into train and test according to `evaluate.split`.

    Raises EvaluationError where either is empty, where a split by time lacks real times or a split at the end
    of histories their order, or where a given split lacks its test.
    """
    config = settings.evaluate.split
    if config.kind == "given":
        if inputs.test is None:
            raise EvaluationError(
                "evaluate.split.kind is given, and there is no test split", fix="give its file as --test"
            )
        return given_split(inputs.interactions, inputs.test)
    if config.kind == "time" and not inputs.has_clock:
        has = "the order of a user's events, not their times" if inputs.has_order else "no times"
        raise EvaluationError(
            f"{inputs.name} has {has}: there is no time to cut at",
            fix=f"set evaluate.split.kind={'last' if inputs.has_order else 'random'}",
        )
    if config.kind == "last" and not inputs.has_order:
        raise EvaluationError(
            f"{inputs.name} has no times: no video of a user is the last",
            fix="set evaluate.split.kind=random",
        )
    return split_interactions(inputs.interactions, config)


def validation_split(
    train: pa.Table, settings: Settings, inputs: InputData | None = None
) -> InteractionSplit:
    """Split the training split once more in the same way, into train and validation (its `test`).

    Settings that are best here are likely to be best one step later. A fixed `test_from` does not apply: the
    cut is at `test_share` instead. A given split has its validation in `inputs`; without one, a random fifth
    of each user's videos takes its place. Raises EvaluationError.
    """
    config = settings.evaluate.split
    if config.kind == "given":
        if inputs is not None and inputs.validation is not None:
            return given_split(train, inputs.validation)
        config = RandomSplitConfig()
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
