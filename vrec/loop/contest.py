"""Tests of challengers on the log: of tonight's on its held-out part, of last night's on what came since."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from vrec.bundle.catalog import read_bundle_manifest
from vrec.config.settings import Settings
from vrec.core.errors import EvaluationError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.evaluation.promotion.decision import PairedGain, PromotionDecision, decide
from vrec.evaluation.promotion.leak import check_leak
from vrec.loop.build import BUNDLES, BuiltBundle, load_bundle
from vrec.loop.errors import LoopError
from vrec.loop.evaluation.compare import BundleComparison, compare_bundles
from vrec.loop.evaluation.log import EvaluationLog, split_log
from vrec.loop.journal import LoopJournal, StepResult
from vrec.loop.sources import LoopSources, without_gates
from vrec.pipelines.inputs import InputData, read_inputs

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BaselineBundle:
    """Bundle in service as a loop sees it."""

    name: str | None
    """Name below the loop's folder of bundles; None for one from elsewhere."""
    version: str
    uri: str
    """Folder."""


class BundleContest:
    """Tests of one run."""

    def __init__(
        self,
        sources: LoopSources,
        folder: StorageFolder,
        settings: Settings,
        journal: LoopJournal,
        cut: StepResult,
    ) -> None:
        """Build it over the result of `judge_and_cut`."""
        self._sources, self._folder, self._journal, self._cut = sources, folder, journal, cut
        self._settings = without_gates(settings)

    @cached_property
    def _data(self) -> InputData:
        log = join_uri(self._folder.uri, self._cut["log"])
        # Links and follows are inputs of fits; what shoppers watched here is the same without them.
        paths = self._sources.paths(log, None)
        return read_inputs(replace(paths, links=None, follows=None), self._settings.events, "fused")

    def test(self, challenger: BuiltBundle, base: BaselineBundle, tests: int) -> StepResult:
        """Test a challenger on the held-out part of the log.

        Returns:
            `verdict`, `reasons`, and what was measured as JSON values.

        Raises:
            LoopError: A bundle has seen a part of what it would be tested on, or all of it.
        """
        inputs = self._inputs(challenger.version, base) | {"tests": tests, "since": self._cut["cut"]}

        def work() -> StepResult:
            uri = join_uri(self._folder.uri, BUNDLES, challenger.name)
            self._refuse_newer(uri)
            since = max(self._cut["cut"], newest_event(base.uri) or 0)
            return self._compared(uri, base.uri, since, tests)[0]

        return self._journal.step(f"test {challenger.model}", inputs, work)

    def confirm(self, pending: dict[str, Any], base: BaselineBundle) -> StepResult:
        """Test a challenger of an earlier run on the events that came after it was made, and look for a leak.

        Returns:
            As `test`, with `leak`, the leak check in words, or None without one.
        """
        inputs = self._inputs(pending["version"], base) | {"since": pending["end"]}

        def work() -> StepResult:
            uri = join_uri(self._folder.uri, BUNDLES, pending["bundle"])
            since = max(pending["end"], newest_event(base.uri) or 0)
            found, comparison = self._compared(uri, base.uri, since, 1)
            if comparison is None:
                return found | {"leak": None, "leak_suspected": False}
            leak = check_leak(PairedGain(**pending["gain"]), comparison.gain)
            return found | {"leak": str(leak), "leak_suspected": leak.suspected}

        return self._journal.step("confirm", inputs, work)

    def _inputs(self, version: str, base: BaselineBundle) -> dict[str, Any]:
        serve = self._settings.serve
        return {
            "challenger": version,
            "in_service": base.version,
            "log": self._cut["log_digest"],
            "promotion": self._settings.loop.promotion.model_dump_json(),
            "serve": [serve.candidates.model_dump_json(), serve.rerank.model_dump_json()],
        }

    def _refuse_newer(self, uri: str) -> None:
        """Raise LoopError if a challenger was made of events after the cut, as its manifest says."""
        newest = newest_event(uri)
        if newest is not None and newest > self._cut["cut"]:
            raise LoopError(
                f"{uri} was made of events after the cut of this run: a test on them would say nothing",
                fix="give no tables that have later events than the log",
            )

    def _compared(
        self, challenger: str, base: str, since: int, tests: int
    ) -> tuple[StepResult, BundleComparison | None]:
        config = self._settings.loop.promotion
        try:
            log = self._log(since)
        except EvaluationError as error:
            return {"verdict": "too few", "reasons": [str(error)], "since": since}, None
        found = compare_bundles(
            load_bundle(challenger), load_bundle(base), log, config, serve=self._settings.serve, tests=tests
        )
        decision = decide(found.gain, found.guards, found.policy)
        return _result(found, decision) | {"since": since}, found

    def _log(self, since: int) -> EvaluationLog:
        data, most = self._data, self._settings.loop.promotion.most_shoppers
        return split_log(data.events, data.interactions, since, self._settings.events.interest, most)


def newest_event(uri: str) -> int | None:
    """Return the time of the newest event that a bundle was made of, µs since 1970; None if unknown.

    For a bundle whose manifest does not say it is the time at which it was made.
    """
    data = read_bundle_manifest(StorageFolder(uri))["data"]
    if "log_newest" in data:
        return data["log_newest"]
    return int(data["made_at"])


def best_of(results: Sequence[tuple[BuiltBundle, StepResult]]) -> tuple[BuiltBundle, StepResult] | None:
    """Return the challenger with the largest gain of those that are better, the first of equal ones."""
    better = [one for one in results if one[1]["verdict"] == "better"]
    return max(better, key=lambda one: one[1]["gain"]["difference"], default=None)


def _result(found: BundleComparison, decision: PromotionDecision) -> StepResult:
    return {
        "verdict": decision.verdict,
        "reasons": list(decision.reasons),
        "gain": asdict(found.gain),
        "guards": [asdict(guard) | {"is_worse": guard.is_worse} for guard in found.guards],
        "policy": None if found.policy is None else asdict(found.policy),
        "no_policy": found.no_policy,
    }
