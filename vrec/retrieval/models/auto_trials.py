"""Trials of recommenders, and what is known of their time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import SingleModelsConfig
from vrec.retrieval.holdout import ValidationPart
from vrec.retrieval.interaction_matrix import InteractionMatrix

EASE_KIND = "ease"


@dataclass(frozen=True)
class Trial:
    """Fitted candidate with its score."""

    kind: str
    models: SingleModelsConfig
    """Settings, of which those of `kind` apply."""
    fitted: MatrixRecommender
    score: float
    seconds: float
    """Time of the fit and of the scoring, and of the first look at an epoch of a network."""
    fit_seconds: float
    rows: int
    """Interactions that it was fitted on."""

    def refit_seconds(self, rows: int) -> float:
        """Return the expected time of a fit on more interactions."""
        return self.fit_seconds * rows / max(1, self.rows)


def expected_seconds(kind: str, part: ValidationPart) -> float:
    """Return what is known of a fit's time beforehand: that of EASE's inverse, which grows with the cube.

    The time of a small inverse on this machine is scaled up; of other kinds nothing is known, and 0 returned.
    """
    if kind != EASE_KIND:
        return 0.0
    videos = len(pc.unique(part.train.column("video_id")))
    size = min(videos, 500)
    begun = time.monotonic()
    np.linalg.inv(np.eye(size) + np.full((size, size), 0.1 / size))
    return (time.monotonic() - begun) * (videos / size) ** 3


def with_settings(models: SingleModelsConfig, kind: str, changes: Mapping[str, Any]) -> SingleModelsConfig:
    """Return the settings with some of one recommender changed; raises ValidationError for a wrong value."""
    if not changes:
        return models
    own = getattr(models, kind)
    return models.model_copy(update={kind: type(own).model_validate(own.model_dump() | dict(changes))})


def sample_users(part: ValidationPart, share: float, seed: int) -> ValidationPart:
    """Return the validation part of a random share of all users, at least one of them a validation user."""
    users = pc.unique(part.train.column("user_id"))
    users = users.take(pc.sort_indices(users))
    drawn = np.random.default_rng(seed).random(len(users)) < share
    kept = pa.chunked_array([users.filter(pa.array(drawn))])
    among = np.asarray(pc.is_in(part.users, value_set=kept.combine_chunks()))
    rows = np.flatnonzero(among) if among.any() else np.array([0])
    if not among.any():
        kept = pa.chunked_array([part.users.take(pa.array([0]))])
    train = part.train.filter(pc.is_in(part.train.column("user_id"), value_set=kept.combine_chunks()))
    return replace(part.select(rows), train=train)


def describe_histories(histories: InteractionMatrix, content: CatalogContent | None) -> dict[str, Any]:
    """Return what the choice depends on: sizes, density, length of histories, presence of content."""
    counts = np.diff(histories.weights.indptr)
    cells = max(1, histories.users * histories.videos)
    return {
        "users": histories.users,
        "videos": histories.videos,
        "interactions": int(counts.sum()),
        "density": round(float(counts.sum()) / cells, 6),
        "median_history": float(np.median(counts)),
        "has_content": content is not None and bool(content.video_id_columns),
    }
