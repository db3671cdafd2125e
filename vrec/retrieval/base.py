"""Base class of the recommenders: interactions to histories, and scores to RECOMMENDATIONS."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError
from vrec.core.schema import RECOMMENDATIONS
from vrec.core.types import CatalogContent, Ids, IdsByUser
from vrec.events.hiding import NO_HIDES
from vrec.retrieval.deadline import check_deadline
from vrec.retrieval.interaction_matrix import (
    IdVocabulary,
    InteractionMatrix,
    Matrix,
    build_interaction_matrix,
    check_interactions,
    csr_arrays,
    exclusion_matrix,
    restore_csr,
)
from vrec.retrieval.shopper_weights import check_shopper_weights, weights_of, without_weightless
from vrec.retrieval.topk import Scores, mask_scores, to_recommendations, topk_dense

C = TypeVar("C", bound=BaseConfig)

BLOCK_CELLS = 4_000_000
"""Scores (users × videos) per block, 16 MB of float32: memory does not grow with the number of users."""

RELEASED_COUNTS = "released_counts"
"""Name of the array of counts in the folder of a private or federated model."""


class MatrixRecommender(ABC, Generic[C]):
    """A Recommender that scores every video of its catalog for a block of users.

    A subclass defines `kind`, `Config`, `_fit`, `score_block`, `_arrays` and `_restore`. This class maps ids,
    masks excluded videos, breaks ties, assigns ranks, and reads and writes the folder on disk.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[BaseConfig]]
    inductive: ClassVar[bool] = True
    """True if a user's scores depend on their history alone, so that `recommend_from` can serve users and
    events that came after the fit."""

    weighs_shoppers: ClassVar[bool] = False
    """True if a shopper can count in part, by a weight between 0 and 1."""

    shopper_weights: npt.NDArray[np.float64] | None = None
    """(users,) weights of the shoppers in the fit; None if all count in full."""

    deadline: float | None = None
    """Moment of `time.monotonic` at which a network stops training, with the weights that it has come to,
    and at which the fit of other models ends with FitTimeout after the current step; None sets no limit."""

    def __init__(self, config: C | None = None) -> None:
        self.config: C = config if config is not None else self.Config()  # type: ignore[assignment]
        self.report: dict[str, Any] = {}
        """What the fit chose and measured, as plain JSON values; it is stored in the manifest."""
        self.hides: pa.Table = NO_HIDES
        """Videos that users have hidden or shown again, as `last_hides` returns them. They are stored with
        the model for lists of `BatchRecommender`; fit and scores do not depend on them."""
        self.released_counts: npt.NDArray[np.float32] | None = None
        """(videos,) counts of shoppers of a private fit, which are noised, or of a federated one. They stand
        in for the histories that such a model does not hold; None for other fits."""

    @property
    def name(self) -> str:
        """The value of RECOMMENDATIONS.source."""
        return self.kind

    def check_time(self) -> None:
        """Check that the deadline has not come.

        Raises:
            FitTimeout: It has.
        """
        check_deadline(self.deadline, self.kind)

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of users, videos and interactions in the fit."""
        interactions = int(self.histories.weights.nnz)
        return {"users": len(self.users), "videos": len(self.videos), "interactions": interactions}

    # ---- defined by a model

    @abstractmethod
    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        """Fit the model on (users, videos) histories; `self.users` and `self.videos` hold the ids."""

    @abstractmethod
    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        """Return scores of all videos for some users.

        Args:
            histories: (B, videos) histories of the users.
            users: (B,) rows of the users in the fit, −1 for a user who was not in it.

        Returns:
            (B, videos) float32, −inf for no opinion; the caller may overwrite it.
        """

    @abstractmethod
    def _arrays(self) -> Arrays:
        """Return the fitted state as arrays, for `save`."""

    @abstractmethod
    def _restore(self, arrays: Arrays) -> None:
        """Restore the state from the result of `_arrays`; `self.histories` is already set."""

    def _catalog(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        """Return the videos that the model can recommend; by default those with interactions."""
        return IdVocabulary.from_columns(interactions.column("video_id"))

    def check_size(self, videos: int) -> None:
        """Check that the model can be fitted on the interactions of so many videos; by default on any number.

        Raises:
            FitError: There are too many.
        """

    # ---- shared by all models

    def fit(
        self,
        interactions: pa.Table,
        content: CatalogContent | None = None,
        *,
        shopper_weights: pa.Table | None = None,
    ) -> Self:
        """Fit on INTERACTIONS and return the same recommender; see `Recommender`.

        Args:
            interactions: INTERACTIONS.
            content: Content of the videos.
            shopper_weights: `user_id` and `weight` in [0, 1]; shoppers that it lacks count in full, and those
                of weight 0 as if they had no interactions.

        Raises:
            SchemaError, FitError: The rows cannot be used, or the model cannot count a shopper in part.
        """
        table = check_interactions(interactions, self.kind)
        if shopper_weights is not None:
            shopper_weights = check_shopper_weights(
                shopper_weights, fractions=self.weighs_shoppers, kind=self.kind
            )
            table = without_weightless(table, shopper_weights, self.kind)
        self.users = IdVocabulary.from_columns(table.column("user_id"))
        self.shopper_weights = None if shopper_weights is None else weights_of(self.users, shopper_weights)
        self.videos = self._catalog(table, content)
        self.histories = build_interaction_matrix(table, self.users, self.videos)
        self._fit(self.histories, content)
        return self

    def hold_no_histories(self, videos: IdVocabulary, counts: npt.NDArray[np.floating]) -> None:
        """Take the catalog and (videos,) counts in the place of shoppers and histories, as a private fit."""
        self.users, self.videos = IdVocabulary(pa.array([], pa.string())), videos
        self.histories = InteractionMatrix.empty(len(videos))
        self.released_counts = np.maximum(counts, 0).astype(np.float32)

    def recommend(
        self,
        users: Ids,
        k: int,
        exclude: IdsByUser | None = None,
        candidates: Ids | None = None,
        *,
        allow_seen: bool = False,
    ) -> pa.Table:
        """Return RECOMMENDATIONS for users who were in the fit; see `Recommender`.

        With `allow_seen` videos of a user's own history may be among them.
        """
        self._check(k)
        user_ids = pa.array(dict.fromkeys(users), pa.string())
        rows = self.users.find(user_ids)
        known = rows >= 0
        user_ids, rows = user_ids.filter(pa.array(known)), rows[known]
        return self._recommend_rows(
            user_ids,
            rows,
            self.histories,
            rows=rows,
            k=k,
            exclude=exclude,
            candidates=candidates,
            allow_seen=allow_seen,
        )

    def recommend_from(
        self,
        interactions: pa.Table,
        k: int,
        exclude: IdsByUser | None = None,
        candidates: Ids | None = None,
        *,
        allow_seen: bool = False,
    ) -> pa.Table:
        """Return RECOMMENDATIONS for each user of INTERACTIONS from these rows alone, fitted or not.

        The model stays unchanged: this serves new users and new events between fits. Videos unknown to the
        model are ignored, and a user without a known video gets no rows.

        Raises:
            FitError: The model is not inductive, is not fitted, or k is below 1.
        """
        self._check(k)
        if not self.inductive:
            raise FitError(
                f"{self.kind} knows only the users that it was fitted with",
                fix="fit it again with these rows",
            )
        table = check_interactions(interactions, self.kind)
        users = IdVocabulary.from_columns(table.column("user_id"))
        histories = build_interaction_matrix(table, users, self.videos)
        rows = np.flatnonzero(np.diff(histories.weights.indptr) > 0)
        not_fitted = np.full(len(rows), -1)
        return self._recommend_rows(
            users.names(rows),
            not_fitted,
            histories,
            rows=rows,
            k=k,
            exclude=exclude,
            candidates=candidates,
            allow_seen=allow_seen,
        )

    def save(self, uri: str) -> None:
        """Write the fitted model as a folder; see `Recommender`."""
        self._check(1)
        shared = csr_arrays("histories.", self.histories.weights) | {"histories.at": self.histories.at}
        tables = {
            "users": pa.table({"user_id": self.users.ids}),
            "videos": pa.table({"video_id": self.videos.ids}),
        }
        if self.hides.num_rows:
            tables["hides"] = self.hides
        config = self.config.model_dump(mode="json")
        if self.released_counts is not None:
            shared[RELEASED_COUNTS] = self.released_counts
        artifact = ModelArtifact(
            self.kind, config, shared | self._arrays(), tables, data=self.sizes, metrics=self.report
        )
        write_artifact(uri, artifact, self._member_folders())

    def _member_folders(self) -> Collection[str]:
        """Return the subfolders of the model's folder that hold its members."""
        return ()

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the model that `save` wrote; see `Recommender`."""
        artifact = read_artifact(uri, cls.kind)
        model = cls(cls.Config.model_validate(artifact.config))  # type: ignore[arg-type]
        model.users = IdVocabulary(artifact.tables["users"].column(0).combine_chunks())
        model.videos = IdVocabulary(artifact.tables["videos"].column(0).combine_chunks())
        model.report = dict(artifact.metrics)
        model.hides = artifact.tables.get("hides", NO_HIDES)
        model.released_counts = artifact.arrays.get(RELEASED_COUNTS)
        shared = ("histories.", RELEASED_COUNTS)
        own = {k: v for k, v in artifact.arrays.items() if not k.startswith(shared)}
        weights = restore_csr(artifact.arrays, "histories.", (len(model.users), len(model.videos)))
        model.histories = InteractionMatrix(weights, artifact.arrays["histories.at"])
        model._restore(own)
        return model

    def _check(self, k: int) -> None:
        if not hasattr(self, "histories"):
            raise FitError(f"{self.kind} is not fitted yet", fix="call fit first")
        if k < 1:
            raise FitError(f"{self.kind}: k is {k}", fix="ask for at least 1 video")

    def _recommend_rows(
        self,
        user_ids: pa.Array,
        fitted_rows: npt.NDArray[np.int64],
        histories: InteractionMatrix,
        *,
        rows: npt.NDArray[np.int64],
        k: int,
        exclude: IdsByUser | None,
        candidates: Ids | None,
        allow_seen: bool = False,
    ) -> pa.Table:
        allowed = None
        if candidates is not None:
            allowed = np.zeros(len(self.videos), bool)
            columns = self.videos.find(candidates)
            allowed[columns[columns >= 0]] = True
        k = min(k, len(self.videos))
        parts: list[pa.Table] = [RECOMMENDATIONS.arrow().empty_table()]
        for block in self._blocks(len(user_ids)):
            block_histories = histories.rows(rows[block])
            block_ids = user_ids.take(pa.array(block))
            seen = block_histories.weights
            excluded: Matrix = type(seen)(seen.shape, dtype=seen.dtype) if allow_seen else seen
            if exclude:
                excluded = (excluded + exclusion_matrix(exclude, block_ids.to_pylist(), self.videos)).tocsr()
            scores = self.score_block(block_histories, fitted_rows[block])
            mask_scores(scores, excluded, allowed)
            parts.append(to_recommendations(block_ids, self.videos, *topk_dense(scores, k), self.kind))
        return pa.concat_tables(parts).combine_chunks()

    def _blocks(self, users: int) -> Iterator[npt.NDArray[np.int64]]:
        size = max(1, BLOCK_CELLS // max(1, len(self.videos)))
        for start in range(0, users, size):
            yield np.arange(start, min(start + size, users))
