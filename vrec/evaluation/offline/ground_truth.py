"""Held-out interactions as ground truth, and validation of recommendations against it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.errors import EvaluationError
from vrec.core.schema import INTERACTIONS, RECOMMENDATIONS, conform
from vrec.evaluation.offline.metrics import Ints, RankedHits, RankedLists
from vrec.retrieval.interaction_matrix import IdVocabulary


@dataclass(frozen=True, slots=True)
class TestPopulation:
    """Slice of the test users and their relevant videos, or all of them."""

    users: Ints
    """(P,) ascending indices of test users; each has a relevant video in this population."""
    relevant: Ints
    """(P,) number of relevant videos of this population per user."""
    among: npt.NDArray[np.bool_] | None
    """(videos,) mask of the videos that count; None for all."""


class GroundTruth:
    """Relevant videos of the test users over one catalog, with their videos in train.

    Attributes:
        users: Ids of the U test users, in the order of their indices.
        videos: Ids of the catalog, in the order of their indices.
        relevant: Sorted unique keys, user index × videos + video index, of the test interactions.
        seen: Sorted keys of the test users' train interactions.
        train_users: Users in train.
        train_pairs: Unique pairs of user and video in train.
    """

    def __init__(self, train: pa.Table, test: pa.Table, catalog: Collection[str] | None = None) -> None:
        """Index the interactions.

        Args:
            train: INTERACTIONS that models were fitted on.
            test: INTERACTIONS held out.
            catalog: Video ids; by default all videos of both tables.

        Raises:
            SchemaError: If a table is not INTERACTIONS.
            EvaluationError: If `test` is empty or repeats a pair of `train`, or a video is not in `catalog`.
        """
        train = conform(train, INTERACTIONS, stage="evaluate: train")
        test = conform(test, INTERACTIONS, stage="evaluate: test")
        if not test.num_rows:
            raise EvaluationError(
                f"test has no rows (train has {train.num_rows:,})",
                fix="split earlier, or give events from after the split",
            )
        self.users = IdVocabulary.from_columns(test.column("user_id"))
        columns = [train.column("video_id"), test.column("video_id")]
        self.videos = (
            IdVocabulary.from_columns(*columns)
            if catalog is None
            else IdVocabulary.from_columns(pa.array(list(catalog), pa.string()))
        )
        self.relevant = np.unique(self._keys(test, "test"))
        users = IdVocabulary.from_columns(train.column("user_id"))
        rows, videos = users.find(train.column("user_id")), self._video_indices(train, "train")
        pairs = np.unique(rows * len(self.videos) + videos)
        self.train_users, self.train_pairs = len(users), len(pairs)
        self.watched_by: Ints = np.bincount(pairs % max(1, len(self.videos)), minlength=len(self.videos))
        """(videos,) number of users who watched each video in train."""
        test_user = self.users.find(users.ids)[pairs // max(1, len(self.videos))]
        self.seen = np.sort((test_user * len(self.videos) + pairs % max(1, len(self.videos)))[test_user >= 0])
        self._refuse(
            self.relevant[_contains_sorted(self.relevant, self.seen)], "test", "are in train as well"
        )

    def population(
        self, users: Collection[str] | None = None, videos: Collection[str] | None = None
    ) -> TestPopulation:
        """Return the slice of the test users `users` with relevant videos among `videos`; None means all."""
        user_index, video_index = np.divmod(self.relevant, len(self.videos))
        among = None
        if videos is not None:
            among = self._mask(self.videos, videos)
            user_index = user_index[among[video_index]]
        if users is not None:
            user_index = user_index[self._mask(self.users, users)[user_index]]
        relevant = np.bincount(user_index, minlength=len(self.users))
        members = np.flatnonzero(relevant)
        return TestPopulation(members, relevant[members], among)

    def index_lists(self, recommendations: pa.Table, model: str) -> RankedLists:
        """Validate and index the test users' lists of RECOMMENDATIONS; other users' rows are left out.

        Raises:
            SchemaError: If the table is not RECOMMENDATIONS.
            EvaluationError: If a list has a video twice, ranks other than 1..n, a video that its user has in
                train (leakage), or a video that is not in the catalog.
        """
        name = f"{model}'s recommendations"
        table = conform(recommendations, RECOMMENDATIONS, stage=f"evaluate: {name}")
        user = self.users.find(table.column("user_id"))
        table, user = table.filter(pa.array(user >= 0)), user[user >= 0]
        video = self._video_indices(table, name)
        rank = np.asarray(table.column("rank"), dtype=np.int64)
        order = np.lexsort((rank, user))
        lists = RankedLists(len(self.users), len(self.videos), user[order], video[order], rank[order])
        keys = self.keys(lists)
        values, counts = np.unique(keys, return_counts=True)
        self._refuse(values[counts > 1], name, "occur more than once", "rank each video once per user")
        self._check_ranks(lists, name)
        self._refuse(
            keys[_contains_sorted(keys, self.seen)],
            name,
            "are in train as well (leakage)",
            "fit on train only, and exclude each user's train videos from the recommendations",
        )
        return lists

    def keys(self, lists: RankedLists) -> Ints:
        """Return a number (N,) per row that identifies its user and video."""
        return lists.user * len(self.videos) + lists.video

    def hits(self, lists: RankedLists) -> RankedLists:
        """Return the rows of the lists whose video is relevant to the user."""
        hit = _contains_sorted(self.keys(lists), self.relevant)
        return RankedLists(lists.users, lists.videos, lists.user[hit], lists.video[hit], lists.rank[hit])

    def score_lists(self, hits: RankedLists, depth: int, population: TestPopulation) -> RankedHits:
        """Return the hits of a population's users down to rank `depth`.

        A slice changes the users and relevant videos that count, never the ranking.
        """
        row_of_user = np.full(len(self.users), -1)
        row_of_user[population.users] = np.arange(len(population.users))
        row = row_of_user[hits.user]
        keep = (row >= 0) & (hits.rank <= depth)
        if population.among is not None:
            keep &= population.among[hits.video]
        matrix = np.zeros((len(population.users), depth), dtype=bool)
        matrix[row[keep], hits.rank[keep] - 1] = True
        return RankedHits(matrix, population.relevant)

    @staticmethod
    def _mask(vocabulary: IdVocabulary, ids: Collection[str]) -> npt.NDArray[np.bool_]:
        mask = np.zeros(len(vocabulary), dtype=bool)
        indices = vocabulary.find(list(ids))
        mask[indices[indices >= 0]] = True
        return mask

    def _video_indices(self, table: pa.Table, name: str) -> Ints:
        indices = self.videos.find(table.column("video_id"))
        unknown = np.flatnonzero(indices < 0)
        if len(unknown):
            example = table.column("video_id")[int(unknown[0])].as_py()
            raise EvaluationError(
                f"{name}: video_id: {len(unknown):,} of {table.num_rows:,} rows have a video that is not in "
                f"the catalog, such as {example}",
                fix="give a catalog with every video that can be recommended or watched",
            )
        return indices

    def _keys(self, table: pa.Table, name: str) -> Ints:
        return self.users.find(table.column("user_id")) * len(self.videos) + self._video_indices(table, name)

    def _check_ranks(self, lists: RankedLists, name: str) -> None:
        first = np.searchsorted(lists.user, lists.user)
        wrong = np.flatnonzero(lists.rank != np.arange(len(first)) - first + 1)
        if len(wrong):
            at = wrong[0]
            want, user = at - first[at] + 1, self.users.ids[int(lists.user[at])].as_py()
            raise EvaluationError(
                f"{name}: rank: {len(wrong):,} of {len(first):,} rows break the sequence 1, 2, 3 … of their "
                f"user, such as {lists.rank[at]} in place of {want}, user {user}",
                fix="give ranks from 1 without gaps",
            )

    def _refuse(self, bad: Ints, name: str, what: str, fix: str | None = None) -> None:
        if not len(bad):
            return
        row, video = divmod(int(bad[0]), len(self.videos))
        user, video_id = self.users.ids[row].as_py(), self.videos.ids[video].as_py()
        raise EvaluationError(
            f"{name}: user_id, video_id: {len(bad):,} pairs {what}, such as user {user}, video {video_id}",
            fix=fix or "remove repeats from the test split: seen videos are never recommended",
        )


def align_vectors(
    videos: IdVocabulary, ids: Sequence[str], vectors: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Return the vectors in the order of the catalog.

    Args:
        videos: The catalog.
        ids: M video ids; those outside the catalog are ignored.
        vectors: (M, D), a row per id.

    Returns:
        (videos, D) float32, with rows of NaN for videos without a vector.

    Raises:
        EvaluationError: If ids and vectors differ in length.
    """
    if vectors.ndim != 2 or len(ids) != len(vectors):
        raise EvaluationError(
            f"vectors: {len(ids):,} ids with an array of shape {vectors.shape}",
            fix="give one row per id",
        )
    rows = np.full((len(videos), vectors.shape[1]), np.nan, dtype=np.float32)
    indices = videos.find(ids)
    rows[indices[indices >= 0]] = vectors[indices >= 0]
    return rows


def _contains_sorted(keys: Ints, sorted_keys: Ints) -> npt.NDArray[np.bool_]:
    """Return a mask of the keys that are among the sorted ones."""
    if not len(sorted_keys):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return sorted_keys[at] == keys
