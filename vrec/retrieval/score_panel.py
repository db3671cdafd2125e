"""Several recommenders seen from one catalogue: their scores in the same columns and on the same scale."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.topk import Scores

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ScorePanel:
    """Fitted recommenders, and the catalogue in whose columns they are asked to speak."""

    members: Mapping[str, MatrixRecommender]
    videos: IdVocabulary
    support: npt.NDArray[np.int64]
    """(videos,) how many users each video had when the members were fitted."""

    @cached_property
    def coldness(self) -> Floats:
        """(videos,) 1 for a video that nobody has watched, falling towards 0 with every user."""
        return (1 / (1 + self.support)).astype(np.float32)

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[np.int64]]:
        return {name: member.videos.find(self.videos.ids) for name, member in self.members.items()}

    @property
    def features(self) -> tuple[str, ...]:
        """The names of what `rows` yields, in its order."""
        extra = ("cold",) + (("content when cold",) if "content" in self.members else ())
        return (*self.members, *extra)

    def rows(self, histories: InteractionMatrix, users: pa.Array) -> Iterator[Scores]:
        """Each feature as (B, videos) float32 for B users' histories in the catalogue's columns.

        0 is a member's average, NaN that it has no opinion.
        """
        content: Scores | None = None
        for name in self.members:
            scaled = standardize_scores(self.member_scores(name, histories, users))
            yield scaled
            if name == "content":
                content = scaled
        yield np.tile(self.coldness, (histories.users, 1))
        if content is not None:
            yield content * self.coldness

    def member_scores(self, name: str, histories: InteractionMatrix, users: pa.Array) -> Scores:
        """One member's own (B, videos) float32 scores, −inf for no opinion."""
        member, columns = self.members[name], self._columns[name]
        inside = _to_columns(histories, columns, len(member.videos))
        scores = member._scores(inside, member.users.find(users))
        out = np.full((histories.users, len(self.videos)), -np.inf, np.float32)
        known = columns >= 0
        out[:, known] = scores[:, columns[known]]
        return out


def standardize_scores(scores: Scores) -> Scores:
    """(B, n) float32 scores as deviations from their row's mean, in its deviations, pressed by a logarithm.

    Item-based scores are zero for most videos and large for a few: without the logarithm, one such outlier
    would drown all that other members say. −inf and NaN become NaN.
    """
    out = np.array(scores, np.float32)
    silent = ~np.isfinite(out)
    some = silent.any()
    count = out.shape[1] - np.count_nonzero(silent, axis=1)[:, None] if some else out.shape[1]
    count = np.maximum(count, 1)
    if some:
        out[silent] = 0
    out -= (out.sum(axis=1, keepdims=True, dtype=np.float64) / count).astype(np.float32)
    if some:
        out[silent] = 0
    squares = np.einsum("ij,ij->i", out, out, dtype=np.float64)[:, None] / count
    out /= np.maximum(np.sqrt(squares), 1e-12).astype(np.float32)
    size = np.abs(out)
    size += 1
    np.copysign(np.log(size, out=size), out, out=out)
    if some:
        out[silent] = np.nan
    return out


def _to_columns(
    histories: InteractionMatrix, columns: npt.NDArray[np.int64], width: int
) -> InteractionMatrix:
    # Both catalogues are in the order of ids, so a row's columns stay ascending.
    weights = histories.weights
    places = columns[weights.indices]
    kept = places >= 0
    starts = np.concatenate([[0], np.cumsum(kept)])[weights.indptr]
    inside = sparse.csr_matrix(
        (weights.data[kept], places[kept].astype(np.int32), starts), shape=(histories.users, width)
    )
    return InteractionMatrix(inside, histories.at[kept])
