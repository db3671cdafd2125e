"""What the test users went on to watch, and any model's lists held against it."""

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
    """Some test users with some of what is relevant to them: all, or a slice."""

    users: Ints
    """(P,) places among the test users, ascending; each has something relevant in this population."""
    relevant: Ints
    """(P,) how many videos of this population are relevant to each."""
    among: npt.NDArray[np.bool_] | None
    """(videos,) which videos count; None for all."""


class GroundTruth:
    """The test users' relevant videos over one catalogue, with what is known of them from train."""

    def __init__(self, train: pa.Table, test: pa.Table, catalogue: Collection[str] | None = None) -> None:
        """Takes INTERACTIONS; the catalogue is all videos of both unless it is given.

        Raises SchemaError, and EvaluationError where there is nothing to test on, where a test row
        repeats a train row, or where a video is not in the catalogue given.
        """
        train = conform(train, INTERACTIONS, stage="evaluate: train")
        test = conform(test, INTERACTIONS, stage="evaluate: test")
        if not test.num_rows:
            raise EvaluationError(
                f"test has no rows (train has {train.num_rows:,})",
                fix="split earlier, or give events that reach past the split",
            )
        self.users = IdVocabulary.from_columns(test.column("user_id"))
        columns = [train.column("video_id"), test.column("video_id")]
        self.videos = (
            IdVocabulary.from_columns(*columns)
            if catalogue is None
            else IdVocabulary.from_columns(pa.array(list(catalogue), pa.string()))
        )
        self.relevant = np.unique(self._keys(test, "test"))
        users = IdVocabulary.from_columns(train.column("user_id"))
        rows, videos = users.find(train.column("user_id")), self._places(train, "train")
        pairs = np.unique(rows * len(self.videos) + videos)
        self.train_users, self.train_pairs = len(users), len(pairs)
        self.watched_by: Ints = np.bincount(pairs % max(1, len(self.videos)), minlength=len(self.videos))
        """(videos,) how many users watched each in train."""
        tested = self.users.find(users.ids)[pairs // max(1, len(self.videos))]
        self.seen = np.sort((tested * len(self.videos) + pairs % max(1, len(self.videos)))[tested >= 0])
        self._refuse(
            self.relevant[_contains_sorted(self.relevant, self.seen)], "test", "are in train as well"
        )

    def population(
        self, users: Collection[str] | None = None, videos: Collection[str] | None = None
    ) -> TestPopulation:
        """The test users among `users` with what is relevant to them among `videos`; None stands for all."""
        count = len(self.videos)
        rows, places = np.divmod(self.relevant, count)
        among = None
        if videos is not None:
            among = self._mask(self.videos, videos)
            rows = rows[among[places]]
        if users is not None:
            rows = rows[self._mask(self.users, users)[rows]]
        relevant = np.bincount(rows, minlength=len(self.users))
        chosen = np.flatnonzero(relevant)
        return TestPopulation(chosen, relevant[chosen], among)

    def index_lists(self, recommendations: pa.Table, model: str) -> RankedLists:
        """The test users' lists of RECOMMENDATIONS, checked; other users' rows are left out.

        Raises SchemaError, and EvaluationError where a list has a video twice, ranks other than 1..n,
        a video that its user has in train, or one that is not in the catalogue.
        """
        name = f"{model}'s recommendations"
        table = conform(recommendations, RECOMMENDATIONS, stage=f"evaluate: {name}")
        user = self.users.find(table.column("user_id"))
        table, user = table.filter(pa.array(user >= 0)), user[user >= 0]
        video = self._places(table, name)
        rank = np.asarray(table.column("rank"), dtype=np.int64)
        order = np.lexsort((rank, user))
        lists = RankedLists(len(self.users), len(self.videos), user[order], video[order], rank[order])
        keys = self.keys(lists)
        values, counts = np.unique(keys, return_counts=True)
        self._refuse(values[counts > 1], name, "are there more than once", "rank each video once for a user")
        self._check_ranks(lists, name)
        self._refuse(
            keys[_contains_sorted(keys, self.seen)],
            name,
            "were seen in train: a leak",
            "fit on the train part only, and never recommend what a user was fitted with",
        )
        return lists

    def keys(self, lists: RankedLists) -> Ints:
        """One number (N,) for each row's user and video."""
        return lists.user * len(self.videos) + lists.video

    def hits(self, lists: RankedLists) -> RankedLists:
        """Only those rows of the lists whose video is relevant to the user."""
        hit = _contains_sorted(self.keys(lists), self.relevant)
        return RankedLists(lists.users, lists.videos, lists.user[hit], lists.video[hit], lists.rank[hit])

    def score_lists(self, hits: RankedLists, depth: int, population: TestPopulation) -> RankedHits:
        """A population's users judged down to rank `depth`, by the `hits` of their lists.

        The ranking stays the full one: a slice changes who and what counts, never what was ranked.
        """
        row_of = np.full(len(self.users), -1)
        row_of[population.users] = np.arange(len(population.users))
        row = row_of[hits.user]
        keep = (row >= 0) & (hits.rank <= depth)
        if population.among is not None:
            keep &= population.among[hits.video]
        found = np.zeros((len(population.users), depth), dtype=bool)
        found[row[keep], hits.rank[keep] - 1] = True
        return RankedHits(found, population.relevant)

    @staticmethod
    def _mask(vocabulary: IdVocabulary, ids: Collection[str]) -> npt.NDArray[np.bool_]:
        mask = np.zeros(len(vocabulary), dtype=bool)
        found = vocabulary.find(list(ids))
        mask[found[found >= 0]] = True
        return mask

    def _places(self, table: pa.Table, name: str) -> Ints:
        places = self.videos.find(table.column("video_id"))
        lost = np.flatnonzero(places < 0)
        if len(lost):
            example = table.column("video_id")[int(lost[0])].as_py()
            raise EvaluationError(
                f"{name}: video_id: {len(lost):,} of {table.num_rows:,} rows have a video that is not in the "
                f"catalogue, such as {example}",
                fix="give as catalogue every video that can be recommended or watched",
            )
        return places

    def _keys(self, table: pa.Table, name: str) -> Ints:
        return self.users.find(table.column("user_id")) * len(self.videos) + self._places(table, name)

    def _check_ranks(self, lists: RankedLists, name: str) -> None:
        first = np.searchsorted(lists.user, lists.user)
        wrong = np.flatnonzero(lists.rank != np.arange(len(first)) - first + 1)
        if len(wrong):
            at = wrong[0]
            want, user = at - first[at] + 1, self.users.ids[int(lists.user[at])].as_py()
            raise EvaluationError(
                f"{name}: rank: {len(wrong):,} of {len(first):,} rows do not count 1, 2, 3 and on for their "
                f"user, such as {lists.rank[at]} where {want} was due, user {user}",
                fix="give ranks from 1 without gaps",
            )

    def _refuse(self, bad: Ints, name: str, what: str, fix: str | None = None) -> None:
        if not len(bad):
            return
        row, video = divmod(int(bad[0]), len(self.videos))
        user, video_id = self.users.ids[row].as_py(), self.videos.ids[video].as_py()
        raise EvaluationError(
            f"{name}: user_id, video_id: {len(bad):,} pairs {what}, such as user {user}, video {video_id}",
            fix=fix or "leave repeats out of the test part: a recommender never gives what was seen",
        )


def align_vectors(
    videos: IdVocabulary, ids: Sequence[str], vectors: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """The vectors (videos, D) float32 in the catalogue's order, rows of NaN for videos that have none.

    `vectors` is (M, D), a row for each of `ids`; ids outside the catalogue are passed over.
    Raises EvaluationError where the two differ in length.
    """
    if vectors.ndim != 2 or len(ids) != len(vectors):
        raise EvaluationError(
            f"vectors: {len(ids):,} ids with an array of shape {vectors.shape}",
            fix="give one row for each id",
        )
    rows = np.full((len(videos), vectors.shape[1]), np.nan, dtype=np.float32)
    places = videos.find(ids)
    rows[places[places >= 0]] = vectors[places >= 0]
    return rows


def _contains_sorted(keys: Ints, in_order: Ints) -> npt.NDArray[np.bool_]:
    if not len(in_order):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(in_order, keys), len(in_order) - 1)
    return in_order[at] == keys
