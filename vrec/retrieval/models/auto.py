"""Choice of the recommender that suits the data, on a validation part and within a time budget."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.core.tables import tables_digest
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CONTENT_KINDS, AutoConfig, SingleModelsConfig
from vrec.retrieval.holdout import ValidationPart
from vrec.retrieval.interaction_matrix import InteractionMatrix, to_interactions
from vrec.retrieval.models.hybrid import BlendPlan, HybridRecommender
from vrec.retrieval.models.hybrid_choice import choose_blend, single_scores
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.single_models import fit_member
from vrec.retrieval.trial_journal import TrialJournal, TrialRecord
from vrec.retrieval.validation import METRIC

EASE_KIND = "ease"
BASELINE = PopularRecommender.kind
"""Candidate that is always tried."""
LEAST_EPOCHS = 5
"""Epochs below which a network is not worth its trial."""


@dataclass(frozen=True)
class Trial:
    """Fitted candidate with its score."""

    kind: str
    models: SingleModelsConfig
    """Settings, of which those of `kind` apply."""
    fitted: MatrixRecommender
    score: float
    seconds: float


class AutoRecommender(HybridRecommender):
    """Best of a portfolio of recommenders and of their blend, on held-out interactions.

    All candidates are fitted with their defaults, on a sample of the users first where there are many
    interactions; further settings of the best are tried; the best of each kind are blended. The candidate
    with the highest validation NDCG@10 is fitted on all interactions. As the popular list is one of them, the
    choice is never worse than it on the validation part. Unless the time budget cuts a trial, the same data
    give the same choice.

    Args:
        config: Settings.
        trials: Folder in which finished trials are kept, so that a fit of the same data and settings that
            was interrupted continues after them. Whoever saves the model to the folder above removes it.
    """

    kind = "auto"
    Config = AutoConfig
    config: AutoConfig  # type: ignore[assignment]

    def __init__(self, config: AutoConfig | None = None, trials: str | None = None) -> None:
        super().__init__(config)
        self._trials = trials

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        self._deadline = time.monotonic() + 60 * self.config.minutes
        self._exempt = {BASELINE}
        self._journal = self._open_journal(histories, content)
        super()._fit(histories, content)
        self.report["data"] = describe_histories(histories, content)

    def _open_journal(
        self, histories: InteractionMatrix, content: CatalogContent | None
    ) -> TrialJournal | None:
        if self._trials is None:
            return None
        table = to_interactions(histories, self.users, self.videos)
        tables = (table, *((content.videos, content.embeddings) if content else ()))
        context = {
            "data": tables_digest(*tables),
            "settings": self.config.model_dump(mode="json"),
            "vrec": version("vrec"),
        }
        return TrialJournal(self._trials, context)

    def _plan(self, part: ValidationPart | None, content: CatalogContent | None) -> BlendPlan:
        if part is None:
            return BlendPlan({BASELINE: self._models}, None)
        kinds = list(dict.fromkeys((BASELINE, *self.config.members)))
        trials: dict[str, Trial] = {}
        kept = list(self._screen(kinds, part, content))
        # The fast ones first, with all their settings: a slow one must not take their time.
        for group in ([kind for kind in kept if not self._is_slow(kind)], filter(self._is_slow, kept)):
            group_kinds = list(group)
            for kind in group_kinds:
                self._try(trials, kind, {}, part, content)
            ranked = sorted(trials, key=lambda kind: -trials[kind].score)[: self.config.contenders]
            for kind in (kind for kind in ranked if kind in group_kinds):
                for changes in self._further_settings(kind):
                    self._try(trials, kind, changes, part, content)
        ranked = sorted(trials, key=lambda kind: -trials[kind].score)
        chosen = [
            kind
            for place, kind in enumerate(ranked)
            if place < self.config.blended or kind == BASELINE or kind in CONTENT_KINDS
        ]
        panel = self._panel({kind: trials[kind].fitted for kind in chosen}, part.train)
        singles = {kind: trials[kind].score for kind in chosen}
        choice = choose_blend(panel, part, self.config.blend, singles=singles, fallback=self.config.fallback)
        self._note_blends(choice)
        return BlendPlan({kind: trials[kind].models for kind in chosen}, choice)

    def _screen(
        self, kinds: list[str], part: ValidationPart, content: CatalogContent | None
    ) -> Iterator[str]:
        """Yield the kinds to try on everything: all of them, or the better half on a sample of the users."""
        rows = part.train.num_rows
        if rows <= self.config.screen_interactions:
            yield from kinds
            return
        sample = sample_users(part, self.config.screen_interactions / rows, self.config.blend.seed)
        trials: dict[str, Trial] = {}
        for kind in kinds:
            # The other half of the budget is for trials on everything.
            if kind != BASELINE and self._left() < 30 * self.config.minutes:
                self._drop(kind, f"budget: {self._left():.0f} s left")
            else:
                self._try(trials, kind, {"": "sample"}, sample, content)
        ranked = sorted(trials, key=lambda kind: -trials[kind].score)
        # Whatever the time, what was best on the sample is tried on everything.
        self._exempt.add(ranked[0])
        kept = {BASELINE, *ranked[: max(1, (len(ranked) + 1) // 2)]}
        for kind in ranked:
            estimate = trials[kind].seconds * rows / sample.train.num_rows
            if kind not in kept:
                self._drop(kind, "not in the better half on a sample of the users")
            elif kind not in self._exempt and estimate > self._left():
                self._drop(kind, f"budget: about {estimate:.0f} s, of {self._left():.0f} s left")
            else:
                yield kind

    def _try(
        self,
        trials: dict[str, Trial],
        kind: str,
        changes: Mapping[str, Any],
        part: ValidationPart,
        content: CatalogContent | None,
    ) -> None:
        """Fit and score a candidate, note it in `report`, and keep it where it is the best of its kind."""
        is_sample = "" in changes
        changes = {name: value for name, value in changes.items() if name}
        identity = {"model": kind, "settings": changes, "sample": is_sample}
        best = trials.get(kind)
        found = self._journal.find(identity) if self._journal else None
        if found is not None:
            # The time that it took counts as if it had passed now.
            self._deadline -= found.seconds
            models = with_settings(self._models, kind, found.settings)
            trial = Trial(kind, models, found.fitted, found.score, found.seconds)
        else:
            needed = best.seconds if best else expected_seconds(kind, part)
            is_exempt = kind in self._exempt and best is None
            if not is_exempt and needed >= self._left() / (1 if best else 2):
                self._drop(kind, f"budget: about {needed:.0f} s, of {self._left():.0f} s left", changes)
                return
            try:
                trial = self._run_trial(kind, changes, part, content)
            except FitError as error:
                self._drop(kind, str(error).removeprefix(f"{kind}: "), changes)
                return
            if self._journal is not None:
                settings = getattr(trial.models, kind).model_dump(mode="json")
                self._journal.write(identity, TrialRecord(trial.fitted, settings, trial.score, trial.seconds))
        row: dict[str, Any] = {
            "model": kind,
            "settings": changes,
            METRIC: trial.score,
            "seconds": round(trial.seconds, 2),
        }
        if is_sample:
            row["sample"] = True
        if found is not None:
            row["resumed"] = True
        self.report["tried"].append(row)
        if best is None or trial.score > best.score:
            trials[kind] = trial

    def _run_trial(
        self, kind: str, changes: Mapping[str, Any], part: ValidationPart, content: CatalogContent | None
    ) -> Trial:
        begun = time.monotonic()
        models = with_settings(self._models, kind, changes)
        models = self._within_budget(models, kind, part, content)
        fitted = fit_member(kind, models, part.train, content)
        panel = self._panel({kind: fitted}, part.train)
        score = float(single_scores(panel, kind, part).mean())
        return Trial(kind, models, fitted, score, time.monotonic() - begun)

    def _is_slow(self, kind: str) -> bool:
        return kind == EASE_KIND or hasattr(getattr(self._models, kind), "epochs")

    def _within_budget(
        self, models: SingleModelsConfig, kind: str, part: ValidationPart, content: CatalogContent | None
    ) -> SingleModelsConfig:
        """Return the settings of a network with no more epochs than half of what is left allows.

        Raises:
            FitError: There are too few interactions for a network, or too little time.
        """
        epochs = getattr(getattr(models, kind), "epochs", None)
        if epochs is None:
            return models
        least = self.config.network_interactions
        if part.train.num_rows < least:
            raise FitError(f"a network, and there are fewer than {least:,} interactions")
        begun = time.monotonic()
        fit_member(kind, with_settings(models, kind, {"epochs": 1}), part.train, content)
        seconds = max(time.monotonic() - begun, 1e-3)
        affordable = int(self._left() / 2 / seconds)
        if affordable < min(LEAST_EPOCHS, epochs):
            raise FitError(f"budget: an epoch takes {seconds:.1f} s, of {self._left():.0f} s left")
        return models if affordable >= epochs else with_settings(models, kind, {"epochs": affordable})

    def _further_settings(self, kind: str) -> Iterator[dict[str, Any]]:
        grid = self.config.search.get(kind, {})  # type: ignore[call-overload]
        own = getattr(self._models, kind)
        for values in itertools.product(*grid.values()) if grid else ():
            changes = dict(zip(grid, values, strict=True))
            if any(getattr(own, name) != value for name, value in changes.items()):
                yield changes

    def _drop(self, kind: str, reason: str, changes: Mapping[str, Any] | None = None) -> None:
        self.report["tried"].append({"model": kind, "settings": dict(changes or {}), "dropped": reason})

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


def expected_seconds(kind: str, part: ValidationPart) -> float:
    """Return what is known of a fit's time beforehand: that of EASE's inverse, which grows with the cube.

    The time of a small inverse on this machine is scaled up; of other kinds nothing is known, and 0 returned.
    """
    if kind != EASE_KIND:
        return 0.0
    videos = len(pc.unique(part.train.column("video_id")))
    size = min(videos, 500)
    begun = time.monotonic()
    np.linalg.inv(np.eye(size) + np.full((size, size), 0.1 / size))
    return (time.monotonic() - begun) * (videos / size) ** 3


def with_settings(models: SingleModelsConfig, kind: str, changes: Mapping[str, Any]) -> SingleModelsConfig:
    """Return the settings with some of one recommender changed; raises ValidationError for a wrong value."""
    if not changes:
        return models
    own = getattr(models, kind)
    return models.model_copy(update={kind: type(own).model_validate(own.model_dump() | dict(changes))})


def sample_users(part: ValidationPart, share: float, seed: int) -> ValidationPart:
    """Return the validation part of a random share of all users, at least one of them a validation user."""
    users = pc.unique(part.train.column("user_id"))
    users = users.take(pc.sort_indices(users))
    drawn = np.random.default_rng(seed).random(len(users)) < share
    kept = pa.chunked_array([users.filter(pa.array(drawn))])
    among = np.asarray(pc.is_in(part.users, value_set=kept.combine_chunks()))
    rows = np.flatnonzero(among) if among.any() else np.array([0])
    if not among.any():
        kept = pa.chunked_array([part.users.take(pa.array([0]))])
    train = part.train.filter(pc.is_in(part.train.column("user_id"), value_set=kept.combine_chunks()))
    return replace(part.select(rows), train=train)


def describe_histories(histories: InteractionMatrix, content: CatalogContent | None) -> dict[str, Any]:
    """Return what the choice depends on: sizes, density, length of histories, presence of content."""
    counts = np.diff(histories.weights.indptr)
    cells = max(1, histories.users * histories.videos)
    return {
        "users": histories.users,
        "videos": histories.videos,
        "interactions": int(counts.sum()),
        "density": round(float(counts.sum()) / cells, 6),
        "median_history": float(np.median(counts)),
        "has_content": content is not None and bool(content.video_id_columns),
    }
