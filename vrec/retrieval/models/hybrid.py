"""Blend of recommenders with learned weights."""

import uuid
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent, Ids, IdsByUser
from vrec.core.uris import join_uri
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import HybridConfig, SingleModelsConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, to_interactions
from vrec.retrieval.models.hybrid_weights import (
    Weights,
    blend_scores,
    collect_choices,
    equal_weights,
    fit_blend_weights,
)
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.single_models import build_single_model, load_single_model
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import Scores, topk_dense

NEW_USERS = "strangers"
"""Name, in a saved model, of the popularity model for new users."""
MAX_COLD_RAISED = 20
"""Maximum number of cold videos raised per user: enough for lists of a few hundred."""


class HybridRecommender(MatrixRecommender[HybridConfig]):
    """Weighted sum of the standardized scores of several recommenders.

    The weights are fitted on the latest interactions, with members that were fitted on the earlier ones: they
    maximize the likelihood of the videos that users watched next. They depend on the length of a user's
    history and on a video's number of users, so that content has more weight for cold videos and cold users.
    """

    kind = "hybrid"
    Config = HybridConfig

    def _catalog(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        more = content.video_id_columns if content is not None and "content" in self.config.members else ()
        return IdVocabulary.from_columns(interactions.column("video_id"), *more)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        table = to_interactions(histories, self.users, self.videos)
        held_out = self._holdout_entries(histories)
        learned = None
        if not held_out.all():
            learned = self._learn_weights(table, histories, held_out, content)
        self.panel = self._panel(table, content)
        names, members = self.panel.features, len(self.panel.members)
        self.weights: Weights = equal_weights(len(names), members) if learned is None else learned
        self.popular = PopularRecommender((self.config.models or SingleModelsConfig()).popular).fit(table)

    def _holdout_entries(self, histories: InteractionMatrix) -> npt.NDArray[np.bool_]:
        """Return the (nnz,) mask of the interactions from which the weights are learned."""
        share = self.config.holdout_share
        if self.config.holdout == "time":
            return histories.at >= np.quantile(histories.at, 1 - share, method="higher")
        counts = np.diff(histories.weights.indptr)
        earlier = np.minimum(np.floor(counts * (1 - share)), counts - 1)
        enough = np.repeat(counts > 1, counts)
        return (histories.newer_counts < np.repeat(counts - earlier, counts)) & enough

    def _learn_weights(
        self,
        table: pa.Table,
        histories: InteractionMatrix,
        held_out: npt.NDArray[np.bool_],
        content: CatalogContent | None,
    ) -> Weights | None:
        """Return the weights, or None if too few users have interactions on both sides of the split."""
        before, after = histories.select_entries(~held_out), histories.select_entries(held_out)
        both = np.flatnonzero((np.diff(before.weights.indptr) > 0) & (np.diff(after.weights.indptr) > 0))
        config = self.config.blend
        if len(both) < config.least_users:
            return None
        if len(both) > config.users:
            both = np.sort(np.random.default_rng(config.seed).choice(both, config.users, replace=False))
        panel = self._panel(table.filter(pa.array(~held_out)), content)
        choices = collect_choices(panel, before.rows(both), after.rows(both), self.users.names(both), config)
        return fit_blend_weights(
            choices, config.ridge, equal_weights(len(panel.features), len(panel.members))
        )

    def _panel(self, table: pa.Table, content: CatalogContent | None) -> ScorePanel:
        no_content = content is None or not content.video_id_columns
        models = self.config.models or SingleModelsConfig()
        support = np.bincount(self.videos.find(table.column("video_id")), minlength=len(self.videos))
        members = {
            kind: build_single_model(kind, models).fit(table, content)
            for kind in self.config.members
            if not (no_content and kind == "content")
            and not (kind == "ease" and np.count_nonzero(support) > models.ease.max_videos)
        }
        return ScorePanel(members, self.videos, support)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        names = self.users.ids.take(pa.array(users, mask=users < 0))
        scores = blend_scores(self.panel, self.weights, histories, names)
        return scores if self.config.cold_every is None else self._raise_cold(scores, self.config.cold_every)

    def _raise_cold(self, scores: Scores, every: int) -> Scores:
        """Raise each user's j-th best cold video to the score of their (j · every)-th best warm one.

        The choice does not depend on exclusions or candidates, so that the lists of a user are consistent.
        """
        cold = np.flatnonzero(self.panel.support == 0)
        warm = np.flatnonzero(self.panel.support > 0)
        count = min(len(cold), len(warm) // every, MAX_COLD_RAISED)
        if not count:
            return scores
        best, cold_scores = topk_dense(scores[:, cold], count)
        warm_scores = topk_dense(scores[:, warm], count * every)[1][:, every - 1 :: every]
        # Only scored ones: `best` is padded with column 0 for users with fewer scored cold videos.
        rows, ranks = np.nonzero(np.isfinite(cold_scores))
        raised = np.maximum(cold_scores, warm_scores)
        scores[rows, cold[best[rows, ranks]]] = raised[rows, ranks]
        return scores

    def recommend(
        self,
        users: Ids,
        k: int,
        exclude: IdsByUser | None = None,
        candidates: Ids | None = None,
        *,
        allow_seen: bool = False,
    ) -> pa.Table:
        """Return RECOMMENDATIONS; users without a history come last, with the popular videos."""
        personal = super().recommend(users, k, exclude, candidates, allow_seen=allow_seen)
        if not self.config.recommend_new_users:
            return personal
        unique = list(dict.fromkeys(users))
        new_users = [user for user, row in zip(unique, self.users.find(unique), strict=True) if row < 0]
        popular = self.popular.recommend_unpersonalized(new_users, k, exclude, candidates)
        return pa.concat_tables([personal, popular])

    def save(self, uri: str) -> None:
        """Write the fitted model as a folder, with a subfolder for each member."""
        # New names each time: the model that is replaced stays complete until the manifest is written.
        self._folders = {kind: f"{kind}-{uuid.uuid4().hex[:12]}" for kind in (NEW_USERS, *self.panel.members)}
        self.popular.save(join_uri(uri, self._folders[NEW_USERS]))
        for kind, member in self.panel.members.items():
            member.save(join_uri(uri, self._folders[kind]))
        super().save(uri)
        StorageFolder(uri).remove_folders(keep=self._folders.values())

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the model that `save` wrote.

        Raises:
            ModelError: It or a member is missing or damaged.
        """
        model = super().load(uri)
        members = {kind: load_single_model(join_uri(uri, folder)) for kind, folder in model._folders.items()}
        popular = members.pop(NEW_USERS)
        assert isinstance(popular, PopularRecommender)
        model.popular, model.panel = popular, ScorePanel(members, model.videos, model._support)
        return model

    def _arrays(self) -> Arrays:
        return {
            "weights": self.weights,
            "support": self.panel.support,
            "members": np.array(list(self._folders.items())),
        }

    def _restore(self, arrays: Arrays) -> None:
        self.weights, self._support = arrays["weights"], arrays["support"]
        self._folders = {str(kind): str(folder) for kind, folder in arrays["members"]}
