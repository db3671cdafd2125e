"""Blend of recommenders with learned weights."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays, member_folder
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent, Ids, IdsByUser
from vrec.core.uris import join_uri
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CONTENT_KINDS, HybridConfig, SingleModelsConfig
from vrec.retrieval.holdout import ValidationPart, hold_out
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, Matrix, to_interactions
from vrec.retrieval.models.hybrid_choice import (
    BlendChoice,
    choose_blend,
    fill_with_popular,
)
from vrec.retrieval.models.hybrid_weights import Weights, blend_scores, equal_weights
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.single_models import fit_member, load_single_model
from vrec.retrieval.popularity_calibration import calibrate_popularity
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import Scores, mask_scores, topk_dense
from vrec.retrieval.validation import METRIC

NEW_USERS = "strangers"
"""Name, in a saved model, of the popularity model for new users."""
EQUAL = "equal weights"
"""What is chosen where there is nothing to learn from."""
MAX_COLD_RAISED = 20
"""Maximum number of cold videos raised per user: enough for lists of a few hundred."""


@dataclass(frozen=True)
class BlendPlan:
    """Members to fit on all interactions, and how to combine them."""

    models: Mapping[str, SingleModelsConfig]
    """Settings by the kind of member, in the order of the panel."""
    choice: BlendChoice | None
    """What the validation part chose; None without one, for equal weights."""


class HybridRecommender(MatrixRecommender[HybridConfig]):
    """Weighted sum of the standardized scores of several recommenders, or the best of them alone.

    The weights are fitted on held-out interactions, with members that were fitted on the others: they
    maximize the likelihood of the videos that users watched next. They depend on the length of a user's
    history and on a video's number of users, so that content has more weight for cold videos and cold users.
    On the held-out interactions the blend is then compared with one of non-negative weights, with equal
    weights of the best two members, the best three and so on, and with each member alone, whose lists are
    filled up with popular videos. The best member is used, or the best blend whose lead over it exceeds its
    standard error.
    """

    kind = "hybrid"
    Config = HybridConfig

    def _catalog(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        uses_content = any(kind in CONTENT_KINDS for kind in self.config.members)
        more = content.video_id_columns if content is not None and uses_content else ()
        return IdVocabulary.from_columns(interactions.column("video_id"), *more)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        table = to_interactions(histories, self.users, self.videos)
        self.popular = PopularRecommender(self._models.popular).fit(table)
        self._watched = int(np.count_nonzero(np.bincount(histories.weights.indices)))
        self.report = {"validation": None, "chosen": EQUAL, "members": [], "tried": []}
        part = self._hold_out(histories)
        plan = self._plan(part, content)
        if part is not None:
            self.report["validation"] = {
                "holdout": part.kind,
                "users": part.before.users,
                "metric": METRIC,
            }
        self._apply(plan, table, content)

    @property
    def _models(self) -> SingleModelsConfig:
        return self.config.models or SingleModelsConfig()

    def _hold_out(self, histories: InteractionMatrix) -> ValidationPart | None:
        config = self.config
        return hold_out(
            histories,
            self.users,
            self.videos,
            kind=config.holdout,
            share=config.holdout_share,
            least_users=config.blend.least_users,
            max_users=config.blend.users,
            seed=config.blend.seed,
        )

    def _plan(self, part: ValidationPart | None, content: CatalogContent | None) -> BlendPlan:
        """Choose members and weights on the validation part, and note in `report` what was tried."""
        models: dict[str, SingleModelsConfig] = dict.fromkeys(self.config.members, self._models)
        if part is None:
            return BlendPlan(models, None)
        members = self._fit_members(models, part.train, content)
        if not members:
            return BlendPlan({}, None)
        panel = self._panel(members, part.train)
        choice = choose_blend(panel, part, self.config.blend, fallback=self.config.fallback)
        for row in self.report["tried"]:
            row[METRIC] = choice.scores.get(row["model"])
        self._note_blends(choice)
        return BlendPlan({kind: models[kind] for kind in members}, choice)

    def _note_blends(self, choice: BlendChoice) -> None:
        self.report["tried"] += [{"model": name, METRIC: score} for name, score in choice.blends.items()]

    def _apply(self, plan: BlendPlan, table: pa.Table, content: CatalogContent | None) -> None:
        """Fit the members that the plan needs on all interactions."""
        choice = plan.choice
        self.single = None if choice is None else choice.single
        models = plan.models
        if choice is not None:
            models = {kind: config for kind, config in models.items() if kind in choice.members}
        tried = list(self.report["tried"])
        members = self._fit_members(models, table, content)
        # What the final fit adds to the table is what could be fitted on less, and now is not.
        self.report["tried"] = tried + [
            row
            for row in self.report["tried"][len(tried) :]
            if choice is None or "dropped" in row or "as_tried" in row
        ]
        if not members and self.single is not None:
            members, self.single = {"popular": self.popular}, "popular"
        elif not members:
            why = [f"{row['model']}: {row['dropped']}" for row in self.report["tried"] if "dropped" in row]
            raise FitError(
                f"{self.kind}: none of its members can be fitted: {'; '.join(why)}", fix="name other members"
            )
        self.panel = self._panel(members, table)
        names = self.panel.features
        self.weights: Weights = equal_weights(len(names), len(members))
        if choice is not None and self.single is None:
            before = ScorePanel.feature_names(plan.models)
            self.weights = choice.weights[:, [before.index(name) for name in names]]
            self.report["weights"] = {
                name: [round(float(level), 4), round(float(slope), 4)]
                for name, level, slope in zip(names, *self.weights, strict=True)
            }
        unlearned = EQUAL if len(members) > 1 else next(iter(members))
        self.report["chosen"] = unlearned if choice is None else self.single or choice.name
        self.report["members"] = list(members)

    def _fit_members(
        self, models: Mapping[str, SingleModelsConfig], table: pa.Table, content: CatalogContent | None
    ) -> dict[str, MatrixRecommender]:
        """Return the fitted members; those that cannot be fitted are left out and noted in `report`."""
        members: dict[str, MatrixRecommender] = {}
        for kind, config in models.items():
            begun = time.perf_counter()
            row: dict[str, Any] = {"model": kind}
            try:
                # A member that is too large for all interactions must not be chosen on a part of them.
                members[kind] = fit_member(kind, config, table, content, videos=self._watched)
            except FitError as error:
                row["dropped"] = str(error).removeprefix(f"{kind}: ")
            row["seconds"] = round(time.perf_counter() - begun, 2)
            self.report["tried"].append(row)
        return members

    def _panel(self, members: Mapping[str, MatrixRecommender], table: pa.Table) -> ScorePanel:
        support = np.bincount(self.videos.find(table.column("video_id")), minlength=len(self.videos))
        return ScorePanel(members, self.videos, support)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        names = self.users.ids.take(pa.array(users, mask=users < 0))
        if self.single is None:
            scores = blend_scores(self.panel, self.weights, histories, names)
        else:
            scores = self.panel.member_scores(self.single, histories, names)
            scores = fill_with_popular(scores, self.panel.support)
        strength = self.config.popularity_calibration
        if strength:
            scores = calibrate_popularity(scores, histories, self.panel.popularity_groups, strength)
        if self.config.cold_every is None:
            return scores
        return self._raise_cold(scores, self.config.cold_every, histories.weights)

    def _raise_cold(self, scores: Scores, every: int, seen: Matrix | None = None) -> Scores:
        """Raise each user's j-th best cold video to the score of their (j · every)-th best unseen warm one.

        The choice does not depend on exclusions or candidates, so that the lists of a user are consistent.
        """
        cold = np.flatnonzero(self.panel.support == 0)
        warm = np.flatnonzero(self.panel.support > 0)
        count = min(len(cold), len(warm) // every, MAX_COLD_RAISED)
        if not count:
            return scores
        best, cold_scores = topk_dense(scores[:, cold], count)
        unseen = scores[:, warm]
        if seen is not None:
            # Seen videos score highest and are in no list: counted, they would pull cold ones to the top.
            mask_scores(unseen, seen[:, warm], None)
        warm_scores = topk_dense(unseen, count * every)[1][:, every - 1 :: every]
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
        self._folders = {kind: member_folder(kind) for kind in (NEW_USERS, *self.panel.members)}
        self.popular.save(join_uri(uri, self._folders[NEW_USERS]))
        for kind, member in self.panel.members.items():
            member.save(join_uri(uri, self._folders[kind]))
        super().save(uri)

    def _member_folders(self) -> Collection[str]:
        return self._folders.values()

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
            "single": np.array([self.single or ""]),
            "support": self.panel.support,
            "members": np.array(list(self._folders.items())),
        }

    def _restore(self, arrays: Arrays) -> None:
        self.weights, self._support = arrays["weights"], arrays["support"]
        self.single = str(arrays["single"][0]) or None
        self._folders = {str(kind): str(folder) for kind, folder in arrays["members"]}
