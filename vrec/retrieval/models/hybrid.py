"""A blend of recommenders whose weights are learned from what shoppers watched last."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from vrec.core.artifact import Arrays
from vrec.core.config import BaseConfig
from vrec.core.tables import StorageFolder, join_uri
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, to_interactions
from vrec.retrieval.models.hybrid_weights import (
    BlendConfig,
    Weights,
    blend_scores,
    collect_choices,
    equal_weights,
    fit_blend_weights,
)
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.single_models import (
    SingleKind,
    SingleModelsConfig,
    build_single_model,
    load_single_model,
)
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import Scores, topk_dense

MAX_COLD_RAISED = 20
"""Cold videos of a user that are raised: enough for lists of a few hundred."""


class HybridConfig(BaseConfig):
    """Which recommenders are blended, and how."""

    members: tuple[SingleKind, ...] = Field(default=("popular", "item_knn", "ease", "content"), min_length=1)
    """The recommenders; `content` is left out where there is no content to fit it on, and `ease` where
    there are more videos than it takes."""
    models: SingleModelsConfig | None = None
    """Their settings; those of `retrieval` where none are given."""
    blend: BlendConfig = Field(default_factory=BlendConfig)
    """How the weights are learned."""
    holdout: Literal["time", "last"] = "time"
    """From what the weights are learned: from what all users watched after one moment, as a shop is asked
    for, or from the last part of each user's history, as a leave-last-out test asks for."""
    holdout_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the interactions, the latest ones, from which the weights are learned; the members are then
    fitted again on all."""
    cold_every: int | None = Field(default=20, ge=2)
    """One in this many videos is one that nobody has watched, the best by content, where there are any: on
    merit alone they would hardly ever be shown, and so never be watched. None leaves them to merit."""
    strangers: bool = True
    """Whether a user without any history gets the popular videos, marked as `popular`, or no row."""


class HybridRecommender(MatrixRecommender[HybridConfig]):
    """Recommends by a weighted sum of its members' standardised scores.

    The weights are those under which the videos that users went on to watch are most likely among each
    member's best, learned on the latest part of the interactions while the members knew only the earlier
    part. They depend on how long a user's history is and on how little is known of a video, so that content
    speaks for cold videos and for cold users.
    """

    kind = "hybrid"
    Config = HybridConfig

    def _catalogue(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        more = content.video_id_columns if content is not None and "content" in self.config.members else ()
        return IdVocabulary.from_columns(interactions.column("video_id"), *more)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        table = to_interactions(histories, self.users, self.videos)
        late = self._holdout_entries(histories)
        learned = None
        if not late.all():
            learned = self._learn(table, histories, late, content)
        self.panel = self._panel(table, content)
        names, members = self.panel.features, len(self.panel.members)
        self.weights: Weights = equal_weights(len(names), members) if learned is None else learned
        self.popular = PopularRecommender((self.config.models or SingleModelsConfig()).popular).fit(table)

    def _holdout_entries(self, histories: InteractionMatrix) -> npt.NDArray[np.bool_]:
        """(nnz,) which interactions the weights are learned from."""
        share = self.config.holdout_share
        if self.config.holdout == "time":
            return histories.at >= np.quantile(histories.at, 1 - share, method="higher")
        counts = np.diff(histories.weights.indptr)
        kept = np.minimum(np.floor(counts * (1 - share)), counts - 1)
        return (histories.newer_counts < np.repeat(counts - kept, counts)) & (np.repeat(counts, counts) > 1)

    def _learn(
        self,
        table: pa.Table,
        histories: InteractionMatrix,
        late: npt.NDArray[np.bool_],
        content: CatalogContent | None,
    ) -> Weights | None:
        """The weights, or None where too few users have something both before and after the cut."""
        before, after = histories.select_entries(~late), histories.select_entries(late)
        both = np.flatnonzero((np.diff(before.weights.indptr) > 0) & (np.diff(after.weights.indptr) > 0))
        config = self.config.blend
        if len(both) < config.least_users:
            return None
        if len(both) > config.users:
            both = np.sort(np.random.default_rng(config.seed).choice(both, config.users, replace=False))
        panel = self._panel(table.filter(pa.array(~late)), content)
        choices = collect_choices(panel, before.rows(both), after.rows(both), self.users.names(both), config)
        return fit_blend_weights(
            choices, config.ridge, equal_weights(len(panel.features), len(panel.members))
        )

    def _panel(self, table: pa.Table, content: CatalogContent | None) -> ScorePanel:
        blank = content is None or not content.video_id_columns
        models = self.config.models or SingleModelsConfig()
        support = np.bincount(self.videos.find(table.column("video_id")), minlength=len(self.videos))
        members = {
            kind: build_single_model(kind, models).fit(table, content)
            for kind in self.config.members
            if not (blank and kind == "content")
            and not (kind == "ease" and np.count_nonzero(support) > models.ease.max_videos)
        }
        return ScorePanel(members, self.videos, support)

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        names = self.users.ids.take(pa.array(users, mask=users < 0))
        scores = blend_scores(self.panel, self.weights, histories, names)
        return scores if self.config.cold_every is None else self._with_cold(scores, self.config.cold_every)

    def _with_cold(self, scores: Scores, every: int) -> Scores:
        """The scores with each user's j-th best cold video raised to their (j · every)-th best warm one.

        Which is which depends on nothing that is excluded or asked for, so that lists stay consistent.
        """
        cold = np.flatnonzero(self.panel.support == 0)
        warm = np.flatnonzero(self.panel.support > 0)
        count = min(len(cold), len(warm) // every, MAX_COLD_RAISED)
        if not count:
            return scores
        best, merit = topk_dense(scores[:, cold], count)
        level = topk_dense(scores[:, warm], count * every)[1][:, every - 1 :: every]
        places = cold[best]
        rows = np.arange(len(scores))[:, None]
        heard = np.isfinite(merit)
        scores[rows, places] = np.where(heard, np.maximum(merit, level), merit)
        return scores

    def recommend(
        self,
        users: Sequence[str],
        k: int,
        exclude: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> pa.Table:
        """RECOMMENDATIONS; users without a history come last, with the popular videos."""
        found = super().recommend(users, k, exclude, candidates)
        if not self.config.strangers:
            return found
        asked = list(dict.fromkeys(users))
        strangers = [user for user, row in zip(asked, self.users.find(asked), strict=True) if row < 0]
        return pa.concat_tables(
            [found, self.popular.recommend_unpersonalized(strangers, k, exclude, candidates)]
        )

    def save(self, uri: str) -> None:
        """Writes the fitted model as a folder, each member in a folder of its own within it."""
        # New names each time: the folder that is replaced stays whole until the manifest is written.
        self._folders = {
            kind: f"{kind}-{uuid.uuid4().hex[:12]}" for kind in ("strangers", *self.panel.members)
        }
        self.popular.save(join_uri(uri, self._folders["strangers"]))
        for kind, member in self.panel.members.items():
            member.save(join_uri(uri, self._folders[kind]))
        super().save(uri)
        StorageFolder(uri).remove_folders(keep=self._folders.values())

    @classmethod
    def load(cls, uri: str) -> Self:
        """The model that `save` wrote; raises ModelError where it or a member is not sound."""
        model = super().load(uri)
        members = {kind: load_single_model(join_uri(uri, folder)) for kind, folder in model._folders.items()}
        popular = members.pop("strangers")
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
