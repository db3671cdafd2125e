"""What settings are chosen by: the later part of the training part, and how much of it a model foretells."""

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.errors import EvaluationError
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import ACCURACY
from vrec.evaluation.offline.results import EvaluationConfig
from vrec.events.split import InteractionSplit, split_interactions
from vrec.pipelines.inputs import InputData
from vrec.retrieval.registry import RetrievalConfig, build_recommender


def test_split(material: InputData, settings: Settings) -> InteractionSplit:
    """The interactions as `evaluate.split` says: what may be learned from, and what is tested on.

    Raises EvaluationError where a part is empty, or where there are no times to cut at.
    """
    config = settings.evaluate.split
    if config.kind == "time" and not material.has_clock:
        raise EvaluationError(
            f"{material.name} tells the order of a user's events, not their times: it has no cut in time",
            fix="split it with evaluate.split.kind=last",
        )
    return split_interactions(material.interactions, config)


def validation_split(train: pa.Table, settings: Settings) -> InteractionSplit:
    """The same kind of split once more, of the part that may be learned from.

    What is best at finding its test from its train is likely to be so one step later. Raises EvaluationError.
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
    """The mean over validation users of the headline metric of a model that was fitted on `train`.

    Both tables are INTERACTIONS, `train` gathered. Raises FitError or ConfigError.
    """
    fitted = build_recommender(model, config).fit(train, content)
    k = metrics.headline_k
    videos = {*fitted.videos.ids.to_pylist(), *validation.column("video_id").to_pylist()}
    truth = GroundTruth(train, validation, videos)
    found = fitted.recommend(truth.users.ids.to_pylist(), k)
    hits = truth.hits(truth.index_lists(found, model))
    judged = truth.score_lists(hits, k, truth.population())
    return float(ACCURACY[metrics.headline_metric](judged, k).mean())
