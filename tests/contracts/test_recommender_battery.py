"""The battery under test: bugs planted around a real recommender, each of which must be caught."""

import numpy as np
import pyarrow as pa
import pytest

from tests.contracts.caught import failed_checks
from vrec.core.errors import VrecError
from vrec.core.schema import RECOMMENDATIONS
from vrec.retrieval.config import PopularConfig
from vrec.retrieval.interaction_matrix import build_interaction_matrix
from vrec.retrieval.models.popular import PopularRecommender
from vrec.testing.recommenders import CHECKS


class Sound(PopularRecommender):
    """Popularity weighed by what a user has in common with others, so that users differ."""

    def _fit(self, histories, content):
        super()._fit(histories, content)
        self.near = (histories.weights.T @ histories.weights).toarray().astype(np.float32)

    def score_block(self, histories, users):
        return np.asarray(histories.weights @ self.near, np.float32)

    def _arrays(self):
        return super()._arrays() | {"near": self.near}

    def _restore(self, arrays):
        super()._restore(arrays)
        self.near = arrays["near"]


def changed(table: pa.Table, **columns) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def resorted(table: pa.Table, key) -> pa.Table:
    """The rows of each user in another order, numbered anew."""
    rows, out = table.to_pylist(), []
    for user in dict.fromkeys(row["user_id"] for row in rows):
        mine = sorted((row for row in rows if row["user_id"] == user), key=key)
        out += [row | {"rank": n + 1} for n, row in enumerate(mine)]
    return pa.Table.from_pylist(out, schema=RECOMMENDATIONS.arrow())


class RankFromZero(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        ranks = pa.array(np.asarray(found["rank"]) - 1, pa.int32())
        return changed(found, rank=ranks)


class Ascending(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return resorted(super().recommend(users, k, exclude, candidates), lambda row: row["score"])


class TiesBackwards(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        return resorted(found, lambda row: (-row["score"], [-ord(c) for c in row["video_id"]]))


class AnyOfATie(Sound):
    """Ranks a tie well, but takes any of it where k cuts through."""

    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k + 1, exclude, candidates).to_pylist()
        out = []
        for user in dict.fromkeys(row["user_id"] for row in found):
            mine = [row for row in found if row["user_id"] == user]
            if len(mine) > k and mine[-1]["score"] == mine[-2]["score"]:
                mine = [*mine[: k - 1], mine[k]]
            out += [row | {"rank": n + 1} for n, row in enumerate(mine[:k])]
        return pa.Table.from_pylist(out, schema=RECOMMENDATIONS.arrow())


class OneTooMany(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return super().recommend(users, k + 1 if k > 0 else k, exclude, candidates)


class OneTooFew(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return super().recommend(users, max(1, k - 1) if k > 0 else k, exclude, candidates)


class KeepsSeen(Sound):
    def _recommend_rows(self, asked, places, histories, **more):
        self._scores_of = histories.rows(more["rows"])
        empty = build_interaction_matrix(self.nothing, self.users, self.videos)
        more["rows"] = np.zeros(len(places), np.int64)
        return super()._recommend_rows(asked, places, empty, **more)

    def fit(self, interactions, content=None):
        self.nothing = interactions.slice(0, 0)
        return super().fit(interactions, content)

    def score_block(self, histories, users):
        return np.asarray(self._scores_of.weights @ self.near, np.float32)


class IntIds(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        return changed(found, user_id=pa.array(range(found.num_rows), pa.int64()))


class ForgetsExclude(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return super().recommend(users, k, None, candidates)


class ExcludesForAll(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        everything = [video for row in (exclude or {}).values() for video in row]
        return super().recommend(users, k, dict.fromkeys(users, everything), candidates)


class ForgetsCandidates(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return super().recommend(users, k, exclude, None)


class CandidatesAfterTheCut(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, None)
        if candidates is None:
            return found
        kept = [row for row in found.to_pylist() if row["video_id"] in candidates]
        return resorted(pa.Table.from_pylist(kept, schema=RECOMMENDATIONS.arrow()), lambda row: -row["score"])


class StrangersGetPopular(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        strangers = [user for user in users if user not in self.users.ids.to_pylist()]
        rows = [
            {
                "user_id": u,
                "video_id": self.videos.ids[0].as_py(),
                "score": 1.0,
                "rank": 1,
                "source": self.name,
            }
            for u in strangers
        ]
        return pa.concat_tables([found, pa.Table.from_pylist(rows, schema=RECOMMENDATIONS.arrow())])


class UsersSorted(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return super().recommend(sorted(users), k, exclude, candidates)


class UsersTwice(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        parts = [super(UsersTwice, self).recommend([user], k, exclude, candidates) for user in users]
        return pa.concat_tables([RECOMMENDATIONS.arrow().empty_table(), *parts])


class BatchCentred(Sound):
    def score_block(self, histories, users):
        scores = super().score_block(histories, users)
        return scores - scores.mean(axis=0, keepdims=True)


class NotANumber(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        scores = np.asarray(found["score"]).copy()
        scores[1::7] = np.nan
        return changed(found, score=pa.array(scores, pa.float32()))


class RowOrderMatters(Sound):
    def fit(self, interactions, content=None):
        super().fit(interactions, content)
        first = self.videos.find(interactions["video_id"].slice(0, 1))[0]
        self.near[:, first] += 1
        return self


class LastRowWins(Sound):
    def fit(self, interactions, content=None):
        kept = {(row["user_id"], row["video_id"]): row for row in interactions.to_pylist()}
        rows = pa.Table.from_pylist(list(kept.values()), schema=interactions.schema)
        return super().fit(rows if kept else interactions, content)


class AddsToTheLastFit(Sound):
    def _fit(self, histories, content):
        before = getattr(self, "near", None)
        super()._fit(histories, content)
        if before is not None:
            self.near[0] += before[0, 0] + 1


class LosesItsState(Sound):
    def _restore(self, arrays):
        super()._restore(arrays)
        self.near = np.round(self.near)


class WritesIntoItself(Sound):
    def score_block(self, histories, users):
        self.near += 0
        return super().score_block(histories, users)


class OtherSource(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        return changed(found, source=pa.repeat("best", found.num_rows))


class TakesAnything(Sound):
    def fit(self, interactions, content=None):
        try:
            return super().fit(interactions, content)
        except VrecError:
            return self


class ZeroIsAll(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        return super().recommend(users, max(k, 1), exclude, candidates)


class FitsACopy(Sound):
    def fit(self, interactions, content=None):
        super().fit(interactions, content)
        copy = type(self)(self.config)
        copy.__dict__.update(self.__dict__)
        return copy


class RecommendsWhatWasSeenWhenNothingElse(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        if len(self.videos) > 1:
            return found
        row = {"user_id": "u", "video_id": "a", "score": 1.0, "rank": 1, "source": self.name}
        return pa.Table.from_pylist([row], schema=RECOMMENDATIONS.arrow())


class RankWithGaps(Sound):
    def recommend(self, users, k, exclude=None, candidates=None):
        found = super().recommend(users, k, exclude, candidates)
        return found.filter(pa.array([rank % 3 != 0 for rank in found["rank"].to_pylist()], pa.bool_()))


class DividesByTheSpan(Sound):
    def score_block(self, histories, users):
        at = self.histories.at
        with np.errstate(all="ignore"):
            return super().score_block(histories, users) + np.float32(1) / np.float32(at.max() - at.min())


BUGS = {
    RankFromZero: "check_ranks",
    RankWithGaps: "check_ranks",
    Ascending: "check_scores_never_rise",
    NotANumber: "check_scores_never_rise",
    TiesBackwards: "check_ties_go_by_id",
    AnyOfATie: "check_k_cuts_the_full_list",
    OneTooMany: "check_k_cuts_the_full_list",
    OneTooFew: "check_k_cuts_the_full_list",
    KeepsSeen: "check_seen_never_appear",
    IntIds: "check_identity",
    OtherSource: "check_identity",
    ForgetsExclude: "check_excluded_never_appear",
    ExcludesForAll: "check_excluded_never_appear",
    ForgetsCandidates: "check_only_candidates_appear",
    CandidatesAfterTheCut: "check_only_candidates_appear",
    StrangersGetPopular: "check_unknown_users_get_nothing",
    UsersSorted: "check_something_for_each_known_user",
    UsersTwice: "check_something_for_each_known_user",
    BatchCentred: "check_batch_is_irrelevant",
    RowOrderMatters: "check_row_order_is_irrelevant",
    LastRowWins: "check_split_rows_add_up",
    AddsToTheLastFit: "check_second_fit_forgets_the_first",
    LosesItsState: "check_saved_and_loaded_is_the_same",
    WritesIntoItself: "check_travels_to_another_process",
    TakesAnything: "check_bad_rows_are_refused",
    ZeroIsAll: "check_bad_queries_are_refused",
    FitsACopy: "check_fit_returns_itself",
    RecommendsWhatWasSeenWhenNothingElse: "check_smallest_data",
    DividesByTheSpan: "check_degenerate_logs",
}


def caught_by(make, only: str | None = None) -> set[str]:
    return failed_checks(CHECKS, make, only=only, errors=(ValueError,))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_planted_bug_is_caught(bug):
    assert caught_by(lambda: bug(PopularConfig()), only=BUGS[bug])


def test_every_check_catches_some_planted_bug():
    assert {check.__name__ for check in CHECKS} == set(BUGS.values())


def test_sound_recommender_passes():
    assert caught_by(Sound) == set()
