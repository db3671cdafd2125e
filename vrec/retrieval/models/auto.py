"""Choice of the recommender that suits the data, on a validation part and within a time budget."""

import itertools
import statistics
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.errors import FitError, FitTimeout
from vrec.core.tables import tables_digest
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CONTENT_KINDS, AutoConfig, SingleModelsConfig
from vrec.retrieval.deadline import check_deadline, no_limit
from vrec.retrieval.holdout import ValidationPart
from vrec.retrieval.interaction_matrix import InteractionMatrix, to_interactions
from vrec.retrieval.models.auto_trials import (
    EASE_KIND,
    Trial,
    describe_histories,
    expected_seconds,
    sample_users,
    with_settings,
)
from vrec.retrieval.models.hybrid import BlendPlan, HybridRecommender
from vrec.retrieval.models.hybrid_choice import choose_blend, single_scores
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.single_models import fit_member
from vrec.retrieval.trial_journal import TrialJournal, TrialRecord
from vrec.retrieval.validation import METRIC

BASELINE = PopularRecommender.kind
"""Candidate that is always tried."""
RELATIVES = {"graph_filter": ("item_knn", 8), "multimodal": ("graph_filter", 1)}
"""Recommenders that take about as long as another, or so many times as long."""
LEAST_EPOCHS = 5
"""Epochs below which a network is not worth its trial."""
FEWEST_JUDGES = 500
"""Users below which blends are not worth comparing, where there are more."""
BLENDING_PASSES = 8
"""Time of choosing a blend, in units of that of scoring the validation users by each of its members once."""


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
        self._folder = trials

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        self._deadline = time.monotonic() + 60 * self.config.minutes
        self._rows = histories.weights.nnz
        self._trials: dict[str, Trial] = {}
        self._on_sample: dict[str, Trial] = {}
        self._journal = self._open_journal(histories, content)
        super()._fit(histories, content)
        self.report["data"] = describe_histories(histories, content)
        budget = round(60 * self.config.minutes, 3)
        spent = round(60 * self.config.minutes - (self._deadline - time.monotonic()), 2)
        self.report["seconds"] = {"budget": budget, "spent": spent}

    def _open_journal(
        self, histories: InteractionMatrix, content: CatalogContent | None
    ) -> TrialJournal | None:
        if self._folder is None:
            return None
        table = to_interactions(histories, self.users, self.videos)
        tables = (table, *((content.videos, content.embeddings) if content else ()))
        context = {
            "data": tables_digest(*tables),
            "settings": self.config.model_dump(mode="json"),
            "vrec": version("vrec"),
        }
        return TrialJournal(self._folder, context)

    def _plan(self, part: ValidationPart | None, content: CatalogContent | None) -> BlendPlan:
        if part is None:
            return BlendPlan({BASELINE: self._models}, None)
        kinds = list(dict.fromkeys((BASELINE, *self.config.members)))
        trials = self._trials
        kept = list(self._screen(kinds, part, content))
        # The fast ones first, with all their settings: a slow one must not take their time.
        for group in ([kind for kind in kept if not self._is_slow(kind)], filter(self._is_slow, kept)):
            group_kinds = list(group)
            for kind in group_kinds:
                self._try(trials, kind, {}, part, content)
            for kind in (kind for kind in ranked(trials)[: self.config.contenders] if kind in group_kinds):
                for changes in self._further_settings(kind):
                    self._try(trials, kind, changes, part, content)
        if len(trials) == 1 and self._on_sample:
            # There was no time to try anything on everything: the sample decides.
            trials |= {kind: self._on_sample[kind] for kind in (BASELINE, ranked(self._on_sample)[0])}
            part = self._sample
        return self._choose(part)

    def _choose(self, part: ValidationPart) -> BlendPlan:
        """Choose between the best trials and their blends, judged by as many users as there is time for."""
        trials, order = self._trials, ranked(self._trials)
        chosen = [
            kind
            for place, kind in enumerate(order)
            if place < self.config.blended or kind == BASELINE or kind in CONTENT_KINDS
        ]
        scoring = sum(trials[kind].seconds - trials[kind].fit_seconds for kind in chosen)
        needed, room, users = BLENDING_PASSES * scoring, self._room(trials), part.before.users
        singles: dict[str, float] | None = {kind: trials[kind].score for kind in chosen}
        judges: int | None = None
        if len(chosen) > 1 and room < needed:
            judges = int(users * room / needed)
            if judges < min(FEWEST_JUDGES, users):
                self._drop("blends", f"budget: about {needed:.0f} s, of {room:.0f} s left")
                chosen = order[:1]
            else:
                rng = np.random.default_rng(self.config.blend.seed)
                part, singles = part.select(np.sort(rng.permutation(users)[:judges])), None
        panel = self._panel({kind: trials[kind].fitted for kind in chosen}, part.train)
        # Blends of the best few, unlike those of given members, gain from any lead; docs/experiments.md.
        choice = choose_blend(
            panel, part, self.config.blend, singles=singles, fallback=self.config.fallback, surely=False
        )
        self._note_blends(choice)
        if singles is None:
            for row in self.report["tried"][-len(choice.blends) :]:
                row["users"] = judges
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
        self._sample, trials = sample, self._on_sample
        for kind in kinds:
            self._try(trials, kind, {}, sample, content)
        order = ranked(trials)
        kept = {BASELINE, *order[: max(1, (len(order) + 1) // 2)]}
        for kind in order:
            if kind in kept:
                yield kind
            else:
                self._drop(kind, "not in the better half on a sample of the users")

    def _try(
        self,
        trials: dict[str, Trial],
        kind: str,
        changes: Mapping[str, Any],
        part: ValidationPart,
        content: CatalogContent | None,
    ) -> None:
        """Fit and score a candidate, note it in `report`, and keep it where it is the best of its kind."""
        is_sample = trials is self._on_sample
        identity = {"model": kind, "settings": changes, "sample": is_sample}
        best = trials.get(kind)
        found = self._journal.find(identity) if self._journal else None
        if found is not None:
            # The time that it took counts as if it had passed now.
            self._deadline -= found.seconds
            models = with_settings(self._models, kind, found.settings)
            figures = found.score, found.seconds, found.fit_seconds
            trial = Trial(kind, models, found.fitted, *figures, part.train.num_rows)
        else:
            needed, share = self._expected(trials, kind, part), self._trial_share(trials, kind, part)
            if kind != BASELINE and needed >= share:
                self._drop(kind, f"budget: about {needed:.0f} s, of {share:.0f} s for the trial", changes)
                return
            try:
                trial = self._run_trial(trials, kind, changes, part, content)
            except FitTimeout as error:
                self._drop(kind, f"budget: {reason_of(error, kind)} in the trial", changes)
                return
            except FitError as error:
                self._drop(kind, reason_of(error, kind), changes)
                return
            if self._journal is not None:
                settings = getattr(trial.models, kind).model_dump(mode="json")
                figures = trial.score, trial.seconds, trial.fit_seconds
                self._journal.write(identity, TrialRecord(trial.fitted, settings, *figures))
        row: dict[str, Any] = {
            "model": kind,
            "settings": dict(changes),
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
        self,
        trials: Mapping[str, Trial],
        kind: str,
        changes: Mapping[str, Any],
        part: ValidationPart,
        content: CatalogContent | None,
    ) -> Trial:
        begun = time.monotonic()
        models = with_settings(self._models, kind, changes)
        is_network = getattr(getattr(models, kind), "epochs", None) is not None
        if is_network:
            models = self._within_budget(models, kind, part, content, self._trial_share(trials, kind, part))
        fit_begun = time.monotonic()
        # A network stops in time to be trained once more on everything. A part of another model is worth
        # nothing, so that its trial may take all the time there is.
        room = self._trial_share(trials, kind, part) if is_network else self._room(trials)
        deadline = None if kind == BASELINE else fit_begun + room
        fitted = fit_member(kind, models, part.train, content, deadline, videos=self._watched)
        fit_seconds = time.monotonic() - fit_begun
        panel = self._panel({kind: fitted}, part.train)
        check = no_limit if is_network else lambda: check_deadline(deadline, kind)
        score = float(single_scores(panel, kind, part, check).mean())
        return Trial(kind, models, fitted, score, time.monotonic() - begun, fit_seconds, part.train.num_rows)

    def _is_slow(self, kind: str) -> bool:
        return kind == EASE_KIND or hasattr(getattr(self._models, kind), "epochs")

    def _within_budget(
        self,
        models: SingleModelsConfig,
        kind: str,
        part: ValidationPart,
        content: CatalogContent | None,
        share: float,
    ) -> SingleModelsConfig:
        """Return the settings of a network with no more epochs than fit into `share`, in seconds.

        Raises:
            FitError: There are too few interactions for a network, or too little time.
        """
        if part.train.num_rows < self.config.network_interactions:
            raise FitError(
                f"a network, and there are fewer than {self.config.network_interactions:,} interactions"
            )
        epochs = getattr(models, kind).epochs
        least = min(LEAST_EPOCHS, epochs)
        begun, most = time.monotonic(), share / (least + 1)
        try:
            fit_member(kind, with_settings(models, kind, {"epochs": 1}), part.train, content, begun + most)
        except FitTimeout as error:
            raise FitError(
                f"budget: an epoch takes more than {most:.1f} s, of {share:.0f} s for the trial"
            ) from error
        seconds = max(time.monotonic() - begun, 1e-3)
        affordable = int(share / seconds) - 1
        if affordable < least:
            raise FitError(f"budget: an epoch takes {seconds:.1f} s, of {share:.0f} s for the trial")
        return models if affordable >= epochs else with_settings(models, kind, {"epochs": affordable})

    def _fit_members(
        self, models: Mapping[str, SingleModelsConfig], table: pa.Table, content: CatalogContent | None
    ) -> dict[str, MatrixRecommender]:
        """Fit the members on everything, the fastest first, as far as there is time.

        Those that there is no time for stay as they were tried, without the interactions that were held out;
        `report` says so.
        """
        members: dict[str, MatrixRecommender] = {}
        for kind in sorted(models, key=self._refit_seconds):
            trial, needed, left = self._trials.get(kind), self._refit_seconds(kind), self._left()
            if trial is None or kind == BASELINE:
                members |= super()._fit_members({kind: models[kind]}, table, content)
                continue
            row: dict[str, Any] = {"model": kind}
            reason = f"about {needed:.0f} s, of {left:.0f} s left"
            if needed < left:
                begun = time.monotonic()
                try:
                    members[kind] = fit_member(kind, models[kind], table, content, self._deadline)
                except FitTimeout as error:
                    reason = reason_of(error, kind)
                except FitError as error:
                    row["dropped"] = reason_of(error, kind)
                row["seconds"] = round(time.monotonic() - begun, 2)
            if kind not in members and "dropped" not in row:
                members[kind] = trial.fitted
                row["as_tried"] = f"budget: {reason}"
            self.report["tried"].append(row)
        return {kind: members[kind] for kind in models if kind in members}

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

    def _room(self, trials: Mapping[str, Trial]) -> float:
        """Return the seconds left for trials, without those of the fits on everything in the end."""
        return max(0.0, self._left() - self._reserved(trials))

    def _trial_share(self, trials: Mapping[str, Trial], kind: str, part: ValidationPart) -> float:
        """Return the seconds for a trial after which as many remain as its fit on everything will take.

        After a kind's first trial on a sample, half of the room remains for the others. Further settings of a
        kind replace those that time is reserved for.
        """
        if kind in trials:
            return self._room(trials)
        growth = 1.0 if trials is self._on_sample else max(1.0, self._rows / part.train.num_rows)
        return self._room(trials) / (1 + growth)

    def _reserved(self, trials: Mapping[str, Trial]) -> float:
        if trials is self._on_sample:
            # The other half of the budget is for trials on everything.
            return 30 * self.config.minutes
        return sum(trials[kind].refit_seconds(self._rows) for kind in ranked(trials)[: self.config.blended])

    def _expected(self, trials: Mapping[str, Trial], kind: str, part: ValidationPart) -> float:
        """Return the expected seconds of a trial, by its last one, by that on a sample, or by others'."""
        if kind in trials:
            return trials[kind].seconds
        if kind in self._on_sample:
            sampled = self._on_sample[kind]
            # A network gets as many epochs as there is time for.
            by_sample = 0.0 if self._is_slow(kind) else sampled.seconds * part.train.num_rows / sampled.rows
            return max(by_sample, expected_seconds(kind, part))
        if self._is_slow(kind):
            return expected_seconds(kind, part)
        if kind in RELATIVES:
            relative, times = RELATIVES[kind]
            return times * self._expected(trials, relative, part)
        others = [trial.seconds for trial in trials.values() if not self._is_slow(trial.kind)]
        return statistics.median(others) if others else 0.0

    def _refit_seconds(self, kind: str) -> float:
        return self._trials[kind].refit_seconds(self._rows) if kind in self._trials else 0.0


def reason_of(error: FitError, kind: str) -> str:
    """Return why a kind could not be fitted, without its name."""
    return str(error).removeprefix(f"{kind}: ")


def ranked(trials: Mapping[str, Trial]) -> list[str]:
    """Return the kinds of trials, the best first."""
    return sorted(trials, key=lambda kind: -trials[kind].score)
