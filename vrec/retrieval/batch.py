"""Recommendations in batches: a fitted model, newer events of its users, and a fallback for the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.schema import INTERACTIONS, RECOMMENDATIONS
from vrec.events.hiding import NO_HIDES, hidden_pairs
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import PopularConfig
from vrec.retrieval.interaction_matrix import to_interactions
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.models.popular import PopularRecommender

BEFORE_ALL_TIMES = -(2**62)


@dataclass(frozen=True)
class BatchRecommender:
    """Fitted model that answers every user whom it can, and the rest by the popular videos."""

    model: MatrixRecommender
    newer: pa.Table | None = None
    """INTERACTIONS after the fit, one row per pair; they are added to the histories of the fit."""
    fade: float = 1.0
    """Factor of the weights of the fit's histories beside those of `newer`, for weights that decay."""
    fallback: PopularRecommender | None = None
    """Popular videos for users without a history; None gives them no rows."""
    allow_seen: bool = False
    """Whether videos of a user's own history may be recommended."""
    hides: pa.Table = field(default_factory=lambda: NO_HIDES)
    """Videos that users have hidden, as `last_hides` returns them, which are in no list of theirs."""

    def all_users(self) -> list[str]:
        """Return the ids of the fit, then those of users who came after it."""
        newer = [] if self.newer is None else self.newer.column("user_id").to_pylist()
        return list(dict.fromkeys([*self.model.users.ids.to_pylist(), *newer]))

    def recommend(self, users: Sequence[str], k: int) -> pa.Table:
        """Return RECOMMENDATIONS grouped by user in the order of `users`.

        A user's list is that of the fit or, with newer events, of the whole history; `source` is "popular" in
        the lists of users without any. A model that knows only the users of its fit ignores newer events but
        does not recommend their videos.

        Videos that a user has hidden are left out, also with `allow_seen`.

        Raises:
            FitError: k is below 1.
        """
        users = list(dict.fromkeys(users))
        fitted = {user for user, row in zip(users, self.model.users.find(users), strict=True) if row >= 0}
        newer = self._newer_of(users)
        changed = set(newer.column("user_id").to_pylist()) if self.model.inductive else set()
        hidden = _videos_by_user(hidden_pairs(_of_users(self.hides, users)))
        seen = {} if self.allow_seen else _videos_by_user(newer)
        seen = {user: [*hidden.get(user, ()), *seen.get(user, ())] for user in hidden.keys() | seen.keys()}
        unchanged = [user for user in users if user in fitted and user not in changed]
        lists = [self.model.recommend(unchanged, k, seen, allow_seen=self.allow_seen)]
        if changed:
            histories = pa.concat_tables([self._fitted_of([u for u in users if u in changed]), newer])
            lists.append(self.model.recommend_from(histories, k, hidden, allow_seen=self.allow_seen))
        if self.fallback is not None:
            answered = set(lists[-1].column("user_id").to_pylist()) if changed else set()
            strangers = [user for user in users if user not in fitted and user not in answered]
            lists.append(self.fallback.recommend_unpersonalized(strangers, k, seen))
        return _in_order(pa.concat_tables(lists), users)

    def _newer_of(self, users: Sequence[str]) -> pa.Table:
        if self.newer is None:
            return INTERACTIONS.arrow().empty_table()
        return _of_users(self.newer, users)

    def _fitted_of(self, users: Sequence[str]) -> pa.Table:
        rows = self.model.users.find(list(users))
        histories = self.model.histories.rows(rows[rows >= 0])
        names = type(self.model.users)(self.model.users.names(rows[rows >= 0]))
        table = to_interactions(histories, names, self.model.videos)
        faded = np.asarray(table.column("weight")) * np.float32(self.fade)
        table = table.set_column(2, table.schema.field(2), pa.array(faded, pa.float32()))
        return table.filter(pa.array(faded >= np.finfo(np.float32).tiny))


def popular_fallback(model: MatrixRecommender, config: PopularConfig) -> PopularRecommender | None:
    """Return the popular videos of a model's fit, as `vrec evaluate` answers users without a history.

    None for a hybrid that was set to give such users no rows.
    """
    if model.released_counts is not None:
        return PopularRecommender.from_counts(model.videos, model.released_counts)
    if isinstance(model, HybridRecommender):
        return model.popular if model.config.recommend_new_users else None
    if isinstance(model, PopularRecommender):
        return model
    if isinstance(model, CrossDomain):
        return PopularRecommender(config).fit(model.target_interactions())
    return PopularRecommender(config).fit(to_interactions(model.histories, model.users, model.videos))


def newest_at(model: MatrixRecommender) -> int:
    """Return the time of the latest interaction that a model holds, in µs since 1970.

    A private model holds none, and all times are later.
    """
    return int(model.histories.at.max(initial=BEFORE_ALL_TIMES))


def _of_users(table: pa.Table, users: Sequence[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column("user_id"), value_set=pa.array(users, pa.string())))


def _videos_by_user(interactions: pa.Table) -> dict[str, list[str]]:
    videos: dict[str, list[str]] = {}
    for user, video in zip(
        *(interactions.column(n).to_pylist() for n in ("user_id", "video_id")), strict=True
    ):
        videos.setdefault(user, []).append(video)
    return videos


def _in_order(recommendations: pa.Table, users: Sequence[str]) -> pa.Table:
    places = pc.index_in(recommendations.column("user_id"), value_set=pa.array(users, pa.string()))
    order = np.argsort(np.asarray(places), kind="stable")
    return recommendations.take(pa.array(order)).cast(RECOMMENDATIONS.arrow()).combine_chunks()
