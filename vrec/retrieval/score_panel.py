"""Scores of several recommenders in the columns of one catalog and on one scale."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.popularity_calibration import popularity_groups
from vrec.retrieval.topk import Scores

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ScorePanel:
    """Fitted recommenders and the catalog whose columns their scores are aligned to."""

    members: Mapping[str, MatrixRecommender]
    videos: IdVocabulary
    support: npt.NDArray[np.int64]
    """(videos,) number of users of each video when the members were fitted."""

    @cached_property
    def coldness(self) -> Floats:
        """(videos,) 1 / (1 + support): 1 for a video without users, falling towards 0."""
        return (1 / (1 + self.support)).astype(np.float32)

    @cached_property
    def popularity_groups(self) -> npt.NDArray[np.int8]:
        """(videos,) int8 popularity group of each video; see `popularity_groups`."""
        return popularity_groups(self.support)

    @cached_property
    def _columns(self) -> dict[str, npt.NDArray[np.int64]]:
        return {name: member.videos.find(self.videos.ids) for name, member in self.members.items()}

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that `rows` yields, in its order."""
        return self.feature_names(self.members)

    @staticmethod
    def feature_names(members: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the features of a panel with some members."""
        names = tuple(members)
        return (*names, "cold", *(("content when cold",) if "content" in names else ()))

    def rows(self, histories: InteractionMatrix, users: pa.Array) -> Iterator[Scores]:
        """Yield each feature of `features` for some users.

        Args:
            histories: (B, videos) histories in the catalog's columns.
            users: (B,) ids of the users.

        Yields:
            (B, videos) float32. For a member, 0 is its average score for the user and NaN no opinion. Where
            all scores of a user are positive, other videos that have users get the score 0 first: for
            neighborhood models they are below all others, and not of average score.
        """
        content: Scores | None = None
        for name in self.members:
            scores = self.member_scores(name, histories, users)
            scaled = standardize_scores(fill_zeros(scores, self.support > 0))
            yield scaled
            if name == "content":
                content = scaled
        yield np.tile(self.coldness, (histories.users, 1))
        if content is not None:
            yield content * self.coldness

    def member_scores(self, name: str, histories: InteractionMatrix, users: pa.Array) -> Scores:
        """Return one member's unscaled (B, videos) float32 scores, −inf for no opinion."""
        member, columns = self.members[name], self._columns[name]
        member_histories = _to_columns(histories, columns, len(member.videos))
        scores = member.score_block(member_histories, member.users.find(users))
        out = np.full((histories.users, len(self.videos)), -np.inf, np.float32)
        known = columns >= 0
        out[:, known] = scores[:, columns[known]]
        return out


def fill_zeros(scores: Scores, known: npt.NDArray[np.bool_]) -> Scores:
    """Set missing scores of known videos to 0, in place, in rows of only positive scores; return the array.

    Args:
        scores: (B, videos) float32, −inf for no opinion.
        known: (videos,) mask of the videos that may be filled.
    """
    missing = scores == -np.inf
    if missing.any():
        lowest = np.where(missing, np.float32(np.inf), scores).min(axis=1)
        positive = (lowest > 0) & (lowest < np.inf)
        np.copyto(scores, np.float32(0), where=missing & known & positive[:, None])
    return scores


def standardize_scores(scores: Scores) -> Scores:
    """Return (B, n) float32 scores as z-scores of their row, compressed by sign(z) · ln(1 + |z|).

    Item-based scores are zero for most videos and large for a few: without the logarithm, one such outlier
    would dominate all other members. −inf and NaN become NaN and do not count in the mean and deviation.
    """
    out = np.array(scores, np.float32)
    missing = ~np.isfinite(out)
    any_missing = missing.any()
    count = out.shape[1] - np.count_nonzero(missing, axis=1)[:, None] if any_missing else out.shape[1]
    count = np.maximum(count, 1)
    if any_missing:
        out[missing] = 0
    out -= (out.sum(axis=1, keepdims=True, dtype=np.float64) / count).astype(np.float32)
    if any_missing:
        out[missing] = 0
    squares = np.einsum("ij,ij->i", out, out, dtype=np.float64)[:, None] / count
    out /= np.maximum(np.sqrt(squares), 1e-12).astype(np.float32)
    size = np.abs(out)
    size += 1
    np.copysign(np.log(size, out=size), out, out=out)
    if any_missing:
        out[missing] = np.nan
    return out


def _to_columns(
    histories: InteractionMatrix, columns: npt.NDArray[np.int64], width: int
) -> InteractionMatrix:
    # Both catalogs are in the order of ids, so a row's columns stay ascending.
    weights = histories.weights
    mapped = columns[weights.indices]
    known = mapped >= 0
    indptr = np.concatenate([[0], np.cumsum(known)])[weights.indptr]
    matrix = sparse.csr_matrix(
        (weights.data[known], mapped[known].astype(np.int32), indptr), shape=(histories.users, width)
    )
    return InteractionMatrix(matrix, histories.at[known])
