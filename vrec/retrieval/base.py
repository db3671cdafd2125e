"""What the recommenders share: from interactions to histories, and from scores to RECOMMENDATIONS."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError
from vrec.core.schema import RECOMMENDATIONS
from vrec.core.types import CatalogContent
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
from vrec.retrieval.topk import Scores, mask_scores, to_recommendations, topk_dense

C = TypeVar("C", bound=BaseConfig)

BLOCK_CELLS = 4_000_000
"""Users × videos scored at once, 16 MB of float32: memory is flat however many users there are."""


class MatrixRecommender(ABC, Generic[C]):
    """A Recommender that scores every video of its catalogue for a block of users.

    A model gives `kind`, `Config`, `_fit`, `_scores`, `_arrays` and `_restore`; which ids are meant, what
    must not be given, ties, ranks and the folder on disk are settled here, once.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[BaseConfig]]
    inductive: ClassVar[bool] = True
    """Whether a user's scores depend on their history alone, so that a shopper who came after the fit, or did
    more since, can be served without another fit (`recommend_from`)."""

    def __init__(self, config: C | None = None) -> None:
        self.config: C = config if config is not None else self.Config()  # type: ignore[assignment]

    @property
    def name(self) -> str:
        """What RECOMMENDATIONS.source says."""
        return self.kind

    @property
    def sizes(self) -> dict[str, int]:
        """How many users, videos and interactions the model was fitted with."""
        interactions = int(self.histories.weights.nnz)
        return {"users": len(self.users), "videos": len(self.videos), "interactions": interactions}

    # ---- what a model gives

    @abstractmethod
    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        """Fits the model on (users, videos) histories; `self.users` and `self.videos` name the two sides."""

    @abstractmethod
    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        """(B, videos) float32 scores for B users' histories, −inf for no opinion.

        `users` are the (B,) rows of the users in the fit, −1 for a user who was not there.
        """

    @abstractmethod
    def _arrays(self) -> Arrays:
        """The fitted state as arrays, for `save`."""

    @abstractmethod
    def _restore(self, arrays: Arrays) -> None:
        """Takes the state that `_arrays` gave; `self.histories` is there already."""

    def _catalogue(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        """The videos that the model can recommend: those with interactions, unless it can say more."""
        return IdVocabulary.from_columns(interactions.column("video_id"))

    # ---- what all share

    def fit(self, interactions: pa.Table, content: CatalogContent | None = None) -> Self:
        """The same recommender, fitted on INTERACTIONS; see `Recommender`."""
        table = check_interactions(interactions, f"{type(self).__name__}.fit")
        self.users = IdVocabulary.from_columns(table.column("user_id"))
        self.videos = self._catalogue(table, content)
        self.histories = build_interaction_matrix(table, self.users, self.videos)
        self._fit(self.histories, content)
        return self

    def recommend(
        self,
        users: Sequence[str],
        k: int,
        exclude: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> pa.Table:
        """RECOMMENDATIONS for users who were fitted; see `Recommender`."""
        self._check(k)
        asked = pa.array(dict.fromkeys(users), pa.string())
        places = self.users.find(asked)
        known = places >= 0
        asked, places = asked.filter(pa.array(known)), places[known]
        return self._recommend_rows(
            asked, places, self.histories, rows=places, k=k, exclude=exclude, candidates=candidates
        )

    def recommend_from(
        self,
        interactions: pa.Table,
        k: int,
        exclude: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> pa.Table:
        """RECOMMENDATIONS for each user of INTERACTIONS by these rows alone, fitted or not.

        The model stays as it is: this is how new shoppers and new events are served between fits. Videos
        unknown to the model are passed over. Raises FitError where the model cannot (`inductive` is False).
        """
        self._check(k)
        if not self.inductive:
            raise FitError(
                f"{self.kind} knows only the users that it was fitted with",
                fix="fit it again with these rows",
            )
        table = check_interactions(interactions, f"{type(self).__name__}.recommend_from")
        asked = IdVocabulary.from_columns(table.column("user_id"))
        histories = build_interaction_matrix(table, asked, self.videos)
        kept = np.flatnonzero(np.diff(histories.weights.indptr) > 0)
        nobody = np.full(len(kept), -1)
        return self._recommend_rows(
            asked.names(kept), nobody, histories, rows=kept, k=k, exclude=exclude, candidates=candidates
        )

    def save(self, uri: str) -> None:
        """Writes the fitted model as a folder; see `Recommender`."""
        self._check(1)
        shared = csr_arrays("histories.", self.histories.weights) | {"histories.at": self.histories.at}
        tables = {
            "users": pa.table({"user_id": self.users.ids}),
            "videos": pa.table({"video_id": self.videos.ids}),
        }
        config = self.config.model_dump(mode="json")
        write_artifact(
            uri, ModelArtifact(self.kind, config, shared | self._arrays(), tables, data=self.sizes)
        )

    @classmethod
    def load(cls, uri: str) -> Self:
        """The model that `save` wrote; see `Recommender`."""
        found = read_artifact(uri, cls.kind)
        model = cls(cls.Config.model_validate(found.config))  # type: ignore[arg-type]
        model.users = IdVocabulary(found.tables["users"].column(0).combine_chunks())
        model.videos = IdVocabulary(found.tables["videos"].column(0).combine_chunks())
        own = {k: v for k, v in found.arrays.items() if not k.startswith("histories.")}
        weights = restore_csr(found.arrays, "histories.", (len(model.users), len(model.videos)))
        model.histories = InteractionMatrix(weights, found.arrays["histories.at"])
        model._restore(own)
        return model

    def _check(self, k: int) -> None:
        if not hasattr(self, "histories"):
            raise FitError(f"{self.kind} is not fitted yet", fix="call fit first")
        if k < 1:
            raise FitError(f"{self.kind}: k is {k}", fix="ask for at least 1 video")

    def _recommend_rows(
        self,
        asked: pa.Array,
        places: npt.NDArray[np.int64],
        histories: InteractionMatrix,
        *,
        rows: npt.NDArray[np.int64],
        k: int,
        exclude: Mapping[str, Sequence[str]] | None,
        candidates: Sequence[str] | None,
    ) -> pa.Table:
        allowed = None
        if candidates is not None:
            allowed = np.zeros(len(self.videos), bool)
            found = self.videos.find(candidates)
            allowed[found[found >= 0]] = True
        k = min(k, len(self.videos))
        parts: list[pa.Table] = [RECOMMENDATIONS.arrow().empty_table()]
        for block in self._blocks(len(asked)):
            some = histories.rows(rows[block])
            names = asked.take(pa.array(block))
            barred: Matrix = some.weights
            if exclude:
                barred = (barred + exclusion_matrix(exclude, names.to_pylist(), self.videos)).tocsr()
            scores = self._scores(some, places[block])
            mask_scores(scores, barred, allowed)
            parts.append(to_recommendations(names, self.videos, *topk_dense(scores, k), self.kind))
        return pa.concat_tables(parts).combine_chunks()

    def _blocks(self, users: int) -> Iterator[npt.NDArray[np.int64]]:
        size = max(1, BLOCK_CELLS // max(1, len(self.videos)))
        for start in range(0, users, size):
            yield np.arange(start, min(start + size, users))
