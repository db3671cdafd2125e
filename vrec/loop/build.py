"""Building of challengers: embed, fit, train, bundle, each skipped if nothing that it reads has changed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from vrec.bundle.bundle import ServingBundle
from vrec.config.settings import Settings
from vrec.core.digest import digest
from vrec.core.errors import RankError
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri
from vrec.loop.errors import LoopError
from vrec.loop.journal import LoopJournal, StepResult
from vrec.loop.promotions import bundle_version_of
from vrec.loop.sources import (
    LoopSources,
    embeddings_digest,
    tables_of,
    videos_digest,
    without_gates,
)

_log = logging.getLogger(__name__)

BUNDLES, EMBEDDINGS, RUNS = "bundles", "embeddings", "runs"
"""Subfolders of the loop's folder."""


@dataclass(frozen=True, slots=True)
class BuiltBundle:
    """Bundle below the loop's folder."""

    name: str
    version: str
    model: str
    """Name of its recommender's kind, as the settings have it."""


class ChallengerBuilder:
    """Builder of the challengers of one run."""

    def __init__(
        self, sources: LoopSources, folder: StorageFolder, settings: Settings, journal: LoopJournal
    ) -> None:
        self._sources, self._folder, self._journal = sources, folder, journal
        self._settings = without_gates(settings)
        self._bundles = join_uri(folder.uri, BUNDLES)

    def build(self, cut: StepResult) -> list[BuiltBundle]:
        """Build a challenger for each model of the settings, from the part of the log that they may see.

        Args:
            cut: Result of `judge_and_cut`.
        """
        embeddings = self._embeddings()
        known = {
            "vrec": version("vrec"),
            "train": cut["train_digest"],
            "videos": videos_digest(self._sources),
            "embeddings": embeddings_digest(embeddings),
            **tables_of(self._sources),
            "events": self._settings.events.model_dump_json(),
        }
        train = join_uri(self._folder.uri, cut["train"])
        ranker = self._ranker(train, embeddings, known) if self._settings.loop.ranker else None
        models = self._settings.loop.models
        return [self._challenger(model, train, embeddings, known, ranker) for model in models]

    def _embeddings(self) -> str | None:
        if self._sources.embeddings is not None:
            return self._sources.embeddings
        if not self._settings.loop.embed:
            return None
        # Imported here: it loads Ray Data.
        from vrec.pipelines.embed.run import embed

        # It compares contents itself, which no fingerprint of names can.
        out = join_uri(self._folder.uri, EMBEDDINGS)
        embed(self._sources.videos, out, self._settings.embed, address=self._sources.address)
        return out

    def _ranker(self, train: str, embeddings: str | None, known: dict[str, Any]) -> dict[str, Any]:
        """Return the ranker's folder and fingerprint; the folder is None where the log cannot teach one."""
        inputs = known | {"train.ranker": self._settings.train.ranker.model_dump_json()}
        name = f"{RUNS}/{self._journal.run}/ranker"

        def work() -> StepResult:
            from vrec.pipelines.train.ranker import train_ranker

            paths, out = self._sources.paths(train, embeddings), join_uri(self._folder.uri, name)
            try:
                done = train_ranker(paths, out, self._settings, address=self._sources.address)
            except RankError as error:
                _log.warning("no ranker: %s", error)
                return {"folder": None, "why": str(error)}
            return {"folder": name, "test": done["test"], "key": digest(inputs)}

        return self._journal.step("train", inputs, work, _manifest_of("folder"))

    def _fit(self, model: str, train: str, embeddings: str | None, known: dict[str, Any]) -> StepResult:
        settings = self._settings
        parts = (settings.retrieval, settings.fit, settings.robustness, settings.privacy)
        inputs = known | {"model": model, "settings": [part.model_dump_json() for part in parts]}
        name = f"{RUNS}/{self._journal.run}/model-{model}"

        def work() -> StepResult:
            from vrec.pipelines.fit.run import fit

            paths, out = self._sources.paths(train, embeddings), join_uri(self._folder.uri, name)
            done = fit(paths, out, settings, model=model, address=self._sources.address)
            return {"folder": name, "chosen": done["chosen"], "key": digest(inputs)}

        return self._journal.step(f"fit {model}", inputs, work, _manifest_of("folder"))

    def _challenger(
        self,
        model: str,
        train: str,
        embeddings: str | None,
        known: dict[str, Any],
        ranker: dict[str, Any] | None,
    ) -> BuiltBundle:
        fitted = self._fit(model, train, embeddings, known)
        folder = None if ranker is None else ranker["folder"]
        inputs = known | {
            "recommender": fitted["key"],
            "ranker": None if ranker is None or folder is None else ranker["key"],
            "bundle": self._settings.bundle.model_dump_json(),
            "profiles": self._settings.train.ranker.profiles.model_dump_json(),
        }
        name = f"{self._journal.run}-{digest(inputs)[:6]}"

        def work() -> StepResult:
            from vrec.pipelines.bundle import make_bundle

            out = join_uri(self._bundles, name)
            # The name has a digest of all that goes in: one that a killed run has finished is this one.
            if StorageFolder(out).exists(MANIFEST):
                ServingBundle.load(out).check()
            else:
                make_bundle(
                    self._sources.paths(train, embeddings),
                    out,
                    self._settings,
                    ranker=None if folder is None else join_uri(self._folder.uri, folder),
                    recommender=join_uri(self._folder.uri, fitted["folder"]),
                )
            return {"bundle": name, "version": bundle_version_of(self._bundles, name)}

        def files(result: StepResult) -> list[str]:
            return [f"{BUNDLES}/{result['bundle']}/{MANIFEST}"]

        made = self._journal.step(f"bundle {model}", inputs, work, files)
        return BuiltBundle(made["bundle"], made["version"], model)


def _manifest_of(key: str) -> Callable[[StepResult], list[str]]:
    def files(result: StepResult) -> list[str]:
        return [] if result[key] is None else [f"{result[key]}/{MANIFEST}"]

    return files


def load_bundle(uri: str) -> ServingBundle:
    """Return the bundle in a folder; raises LoopError if the service's one cannot be read here."""
    if not StorageFolder(uri).exists(MANIFEST):
        raise LoopError(
            f"{uri}: there is no bundle to compare with",
            fix="give the folder of the bundle in service by --in-service",
        )
    return ServingBundle.load(uri)
