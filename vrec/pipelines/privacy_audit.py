"""`vrec privacy audit`: attacks on a recommender, with and without privacy, beside each other."""

import logging
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import ConfigError, SourceError
from vrec.core.schema import INTERACTIONS
from vrec.core.table_batches import open_table
from vrec.evaluation.attacks.attributes import attribute_inference
from vrec.evaluation.attacks.canaries import plant_canaries
from vrec.evaluation.attacks.membership import membership_inference
from vrec.evaluation.attacks.neighbor_changes import neighbor_changes
from vrec.evaluation.attacks.results import FitModel
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.fit.private import require_no_defence
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.privacy.config import AuditConfig
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix
from vrec.retrieval.private_fit import PRIVATE_KINDS, check_private_fit, fit_private
from vrec.retrieval.registry import build_recommender

_log = logging.getLogger(__name__)


def audit_privacy(
    inputs: InputPaths, settings: Settings, *, model: str, attributes: pa.Table | None = None
) -> dict[str, Any]:
    """Return what attackers of a recommender gain, without privacy and with that of the settings, if any.

    Its fits are only looked at, and not charged to the ledger: neither they nor the figures may be published.

    Args:
        inputs: Where the events are.
        settings: `privacy.epsilon` is that of each fit.
        model: Name of the recommender.
        attributes: Table with `user_id` and columns of attributes of two values each, if any.

    Raises:
        ConfigError: The model cannot be attacked in this way, or not be fitted privately with these settings.
        EvaluationError: An attribute has too few shoppers.
        EventsError, SchemaError, SourceError, FitError: The input cannot be used.
    """
    if model not in PRIVATE_KINDS:
        raise ConfigError(
            f"vrec privacy audit attacks {', '.join(PRIVATE_KINDS)}, and the model is {model}",
            fix="give one of these",
        )
    require_no_defence(settings)
    data = read_inputs(inputs, settings.events, settings.fit.modality)
    audit, privacy, config = settings.privacy.audit, settings.privacy, settings.retrieval
    interactions = _sample(aggregate_interactions(data.interactions, settings.events.interest), audit)
    ids = None if data.content is None or data.content.videos is None else data.content.videos["video_id"]
    videos = (interactions["video_id"].unique() if ids is None else ids).to_pylist()

    def ordinary(rows: pa.Table) -> MatrixRecommender:
        return build_recommender(model, config).fit(rows)

    sides: dict[str, FitModel] = {"without": ordinary}
    if privacy.epsilon is not None:
        check_private_fit(model, config, privacy, videos)
        sides["with"] = partial(_private, model, settings, videos)
    found: dict[str, Any] = {}
    for name, fit in sides.items():
        _log.info("attacking %s %s privacy", model, name)
        found[name] = _attack(fit, interactions, audit, attributes)
    return {
        "model": model,
        "epsilon": privacy.epsilon,
        "delta": privacy.delta,
        "shoppers": pc.count_distinct(interactions["user_id"]).as_py(),
        "videos": len(videos),
        "attacks": found,
    }


def _private(model: str, settings: Settings, videos: list[str], rows: pa.Table) -> MatrixRecommender:
    return fit_private(model, settings.retrieval, settings.privacy, rows, videos)


def _sample(interactions: pa.Table, audit: AuditConfig) -> pa.Table:
    """Return the rows of at most `audit.shoppers` shoppers, drawn at random."""
    users = interactions["user_id"].unique().sort()
    drawn = np.random.default_rng(audit.seed).permutation(len(users))[: audit.shoppers]
    return interactions.filter(pc.is_in(interactions["user_id"], value_set=users.take(pa.array(drawn))))


def _attack(
    fit: FitModel, interactions: pa.Table, audit: AuditConfig, attributes: pa.Table | None
) -> dict[str, Any]:
    rng = np.random.default_rng(audit.seed)
    results = membership_inference(fit, interactions, audit.models, rng)
    results.append(neighbor_changes(fit, interactions, audit.targets, rng))
    canaries = plant_canaries(fit, interactions, audit.canaries, rng)
    if attributes is not None:
        vectors, truths = profile_vectors(fit(interactions), interactions, attributes)
        results += [attribute_inference(name, vectors, truth, rng) for name, truth in truths.items()]
    return {"results": [asdict(result) for result in results], "canaries": asdict(canaries)}


def profile_vectors(
    model: MatrixRecommender, interactions: pa.Table, attributes: pa.Table
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return vectors of the shoppers with attributes, and each attribute as booleans.

    A vector is that which a profile would hold by this model: the scores of the shopper's history, reduced to
    32 dimensions.

    Args:
        model: A fitted recommender.
        interactions: INTERACTIONS.
        attributes: Table with `user_id` and columns of two values each; the last value in order is True.
    """
    rows = interactions.filter(pc.is_in(interactions["user_id"], value_set=pc.unique(attributes["user_id"])))
    rows = rows.select(INTERACTIONS.arrow().names)
    users = IdVocabulary.from_columns(rows["user_id"])
    histories = build_interaction_matrix(rows, users, model.videos)
    scores = model.score_block(histories, np.full(len(users), -1)).astype(np.float64)
    scores[~np.isfinite(scores)] = 0
    left, sizes, _ = np.linalg.svd(scores - scores.mean(axis=0), full_matrices=False)
    at = IdVocabulary(attributes["user_id"].combine_chunks()).find(users.ids)
    truths = {}
    for name in attributes.column_names:
        values = attributes[name].take(pa.array(at)).to_pylist()
        distinct = sorted({str(value) for value in values})
        if name != "user_id":
            if len(distinct) != 2:
                raise ConfigError(
                    f"the attribute {name} has {len(distinct)} values, want two", fix="give one of two values"
                )
            truths[name] = np.array([str(value) == distinct[-1] for value in values])
    return left[:, :32] * sizes[:32], truths


def read_attributes(uri: str) -> pa.Table:
    """Return the table of attributes at a path or URI.

    Raises:
        SourceError: It cannot be read, or has no column `user_id`.
    """
    batches = open_table(uri)
    table = pa.Table.from_batches(batches, batches.schema)
    if "user_id" not in table.column_names:
        raise SourceError(f"{uri}: no column user_id", fix="give --attributes a table with user_id")
    return table.set_column(
        table.column_names.index("user_id"), "user_id", table["user_id"].cast(pa.string())
    )
