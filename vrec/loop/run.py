"""`vrec loop`: one night, from the export of the log to the watch over the service.

`LoopRun` reads in the order of its steps: in service → export → gates and cut → confirm last night's → embed,
fit, train, bundle → test tonight's → promote → watch → roll back or stay → record → remove old.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from vrec.bundle.catalog import bundle_version, read_bundle_manifest
from vrec.config.settings import Settings
from vrec.core.errors import VrecError
from vrec.core.masking import mask_values
from vrec.core.secrets import read_secret
from vrec.core.tables import MANIFEST, StorageFolder, tables_digest
from vrec.core.uris import join_uri
from vrec.loop.build import BUNDLES, RUNS, ChallengerBuilder
from vrec.loop.contest import BaselineBundle, BundleContest, best_of
from vrec.loop.errors import LeaseLost, LoopError
from vrec.loop.event_log import EventLog, LogPosition
from vrec.loop.journal import LoopJournal, StepResult
from vrec.loop.live import ServiceWatch
from vrec.loop.lock import CheckLock, hold_lock
from vrec.loop.mlflow_export import check_mlflow, export_run
from vrec.loop.promotions import PromotionHistory, PromotionKind, rolled_back
from vrec.loop.retention import remove_old
from vrec.loop.service import ServiceClient
from vrec.loop.sources import LoopSources, judge_and_cut, read_table_log, videos_digest
from vrec.pipelines.output import open_output
from vrec.privacy.config import require_no_epsilon

_log = logging.getLogger(__name__)

HISTORY = "history"
"""Subfolder with a record of each run."""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """Move to another bundle that a run has decided on."""

    kind: PromotionKind
    bundle: str
    version: str
    why: str


@dataclass(slots=True)
class NightPlan:
    """Outcome of the tests of a run, before anything is changed."""

    outcome: str
    move: PlannedMove | None = None
    pending: dict[str, Any] | None = None
    """Challenger that waits for the next run."""


def run_loop(
    sources: LoopSources,
    out: str,
    settings: Settings,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
) -> dict[str, Any]:
    """Run one night of the loop, or go on with one that was killed; return its record.

    Args:
        sources: The inputs.
        out: The loop's folder; a path or a URI.
        settings: `loop`, and the settings of each step.
        sleep: Function that waits for some seconds.
        now: Function that returns the time in seconds since 1970.

    Raises:
        ConfigError: `privacy.epsilon` is set: a fit each night would spend it each night.
        LoopRuns: Another loop runs on the folder.
        LeaseLost: Another loop may have taken the place of this one, which has stopped.
        GateError: The log is at fault; the bundle in service stays.
        LoopError, ServiceRefused: The loop cannot go on.
        VrecError: A step failed, as its own command does.
    """
    require_no_epsilon(settings.privacy, "`vrec loop`")
    check_mlflow(settings.loop.mlflow)
    folder = open_output(out, RUNS)
    with hold_lock(folder, settings.loop.lease_s) as check_lock:
        return LoopRun(sources, folder, settings, check_lock, sleep=sleep, now=now).run()


class LoopRun:
    """One run of the loop, by the holder of its lock."""

    def __init__(
        self,
        sources: LoopSources,
        folder: StorageFolder,
        settings: Settings,
        check_lock: CheckLock,
        *,
        sleep: Callable[[float], None],
        now: Callable[[], float],
    ) -> None:
        self._sources, self._folder, self._settings = sources, folder, settings
        self._check_lock, self._sleep, self._now = check_lock, sleep, now
        self._config = settings.loop
        self._journal = LoopJournal(folder, check_lock, now)
        self._event_log = EventLog(folder, now)
        self._bundles = join_uri(folder.uri, BUNDLES)
        self._history = PromotionHistory(self._bundles)
        self._client = None
        if sources.service is not None:
            key = read_secret(self._config.key_variable)
            self._client = ServiceClient(sources.service, key, self._config.timeout_s)

    def run(self) -> dict[str, Any]:
        """Run the night; see `run_loop`."""
        run, begun = self._journal.begin(), time.perf_counter()
        try:
            record = self._night()
        except LeaseLost:
            raise
        except VrecError as error:
            # Its inputs are those of this run: the next one begins with what is there then.
            failed = {"outcome": "failed", "why": str(error), "tests": {}, "bundle": None}
            self._write_record(failed)
            self._journal.end(self._journal.state.pending)
            raise
        record |= {
            "run": run,
            "seconds": round(time.perf_counter() - begun, 3),
            "steps": {"done": self._journal.done, "skipped": self._journal.skipped},
        }
        return record

    def _night(self) -> dict[str, Any]:
        base = self._in_service()
        cut = self._cut()
        contest = BundleContest(self._sources, self._folder, self._settings, self._journal, cut)
        tests: dict[str, StepResult] = {}
        plan = self._confirmed(contest, base, tests)
        plan = self._tested(contest, base, plan, cut, tests)
        record: dict[str, Any] = {"tests": tests, "log": _log_figures(cut)}
        if plan.move is not None:
            record |= self._make_move(plan, base)
        bundle = plan.move.bundle if plan.move else None if plan.pending is None else plan.pending["bundle"]
        record |= {"outcome": plan.outcome, "bundle": bundle, "why": plan.move.why if plan.move else None}
        record |= {"in_service": None if base is None else asdict(base)}
        written = self._write_record(record)
        record["mlflow"] = self._export(written)
        self._journal.end(plan.pending)
        entries = self._history.entries()
        in_service = None if base is None else base.name
        record["removed"] = remove_old(self._folder, self._journal, entries, in_service, self._config.keep)
        return mask_values(record)

    def _in_service(self) -> BaselineBundle | None:
        """Return the bundle that was in service when the run began; None without any."""

        def work() -> StepResult:
            if self._client is not None:
                found = self._client.in_service()
                return {"name": found.name, "version": found.version}
            current = self._history.current
            if current is not None:
                return {"name": current.bundle, "version": current.version}
            if self._sources.in_service is None:
                return {}
            manifest = read_bundle_manifest(StorageFolder(self._sources.in_service))
            return {"name": None, "version": bundle_version(manifest)}

        found = self._journal.step("in service", {"run": self._journal.run}, work)
        return self._baseline(found["name"], found["version"]) if found else None

    def _baseline(self, name: str | None, version: str) -> BaselineBundle:
        """Return a bundle with its folder, which may have credentials and is in no file; raises LoopError."""
        uri = self._sources.in_service
        if name is not None and StorageFolder(self._bundles).exists(f"{name}/{MANIFEST}"):
            uri = join_uri(self._bundles, name)
        if uri is None:
            raise LoopError(
                f"the bundle in service, {name or version}, is not below {self._bundles}",
                fix="give its folder by --in-service, and start the service with serve.bundles="
                f"{self._bundles}, so that it can be moved",
            )
        return BaselineBundle(name, version, uri)

    def _cut(self) -> StepResult:
        def export() -> StepResult:
            if self._sources.events is not None:
                return {"table": tables_digest(read_table_log(self._sources, self._settings))}
            if self._client is None:
                raise LoopError("there is no log", fix="give --service, or a table by --events")
            return asdict(self._event_log.update(self._client.export, self._config.full_export_days))

        log = self._journal.step("export", {"run": self._journal.run}, export)

        def cut() -> StepResult:
            if self._sources.events is not None:
                events = read_table_log(self._sources, self._settings)
            else:
                events = self._event_log.read(LogPosition(**log))
            return judge_and_cut(events, self._sources, self._folder, self._journal.run, self._settings)

        inputs = {
            "log": log,
            "videos": videos_digest(self._sources),
            "hold_out_hours": self._config.hold_out_hours,
            "gates": [self._config.gates, self._settings.events.gates.model_dump_json()],
        }
        return self._journal.step("gates", inputs, cut, lambda result: [result["log"], result["train"]])

    def _confirmed(
        self, contest: BundleContest, base: BaselineBundle | None, tests: dict[str, StepResult]
    ) -> NightPlan:
        """Judge the challenger of an earlier run on the events since."""
        plan, pending = NightPlan("kept"), self._journal.state.pending
        if pending is None or base is None:
            return plan
        promoted = pending["promoted"]
        if promoted != (pending["version"] == base.version):
            # Somebody has moved the service meanwhile.
            return plan
        against = self._baseline(*pending["against"]) if promoted else base
        tests["confirm"] = found = contest.confirm(pending, against)
        why = "; ".join([*found["reasons"], *([found["leak"]] if found["leak"] else [])])
        if found["verdict"] == "too few":
            plan.pending, plan.outcome = pending, "waits"
        elif promoted and found["leak_suspected"] and against.name is not None:
            plan.outcome, plan.move = "leak", PlannedMove("rollback", against.name, against.version, why)
        elif not promoted and found["verdict"] == "better":
            plan.outcome = "promoted"
            plan.move = PlannedMove("promotion", pending["bundle"], pending["version"], why)
        elif not promoted:
            plan.outcome = "leak" if found["leak_suspected"] else "not confirmed"
        return plan

    def _tested(
        self,
        contest: BundleContest,
        base: BaselineBundle | None,
        plan: NightPlan,
        cut: StepResult,
        tests: dict[str, StepResult],
    ) -> NightPlan:
        """Build tonight's challengers, and test them against the bundle that will be in service."""
        if plan.move is not None and plan.move.kind == "rollback":
            # Tonight's inputs are likely to leak as last night's did.
            return plan
        built = ChallengerBuilder(self._sources, self._folder, self._settings, self._journal).build(cut)
        if base is None:
            first = built[0]
            why = "the first bundle: there is none to compare with"
            return NightPlan("first", PlannedMove("promotion", first.name, first.version, why))
        target = base if plan.move is None else self._baseline(plan.move.bundle, plan.move.version)
        barred = rolled_back(self._history.entries())
        new = [one for one in built if one.version != target.version and one.name not in barred]
        results = [(one, contest.test(one, target, len(new))) for one in new]
        tests |= {f"test {one.model}": found for one, found in results}
        best = best_of(results)
        if best is None:
            return plan
        challenger, found = best
        pending = {
            "bundle": challenger.name,
            "version": challenger.version,
            "run": self._journal.run,
            "end": cut["end"],
            "gain": found["gain"],
            "promoted": not self._config.promotion.confirm,
            "against": [target.name, target.version],
        }
        if self._config.promotion.confirm:
            plan.pending = pending
            plan.outcome = "waits" if plan.outcome == "kept" else plan.outcome
            return plan
        why = "; ".join(found["reasons"])
        move = PlannedMove("promotion", challenger.name, challenger.version, why)
        return NightPlan("promoted", move, pending)

    def _make_move(self, plan: NightPlan, base: BaselineBundle | None) -> dict[str, Any]:
        """Move the service, watch it, and roll back if it falls; return what was seen."""
        move = plan.move
        assert move is not None
        self._move_to(move.kind, move, base)
        if self._client is None or move.kind == "rollback" or not self._config.watch.minutes:
            return {"watch": None}
        watched = self._watch(move)
        if watched["fallen"] is None:
            return {"watch": watched}
        plan.outcome, plan.pending = "rolled back", None
        if base is None or base.name is None:
            plan.outcome = "fallen"
            _log.error("the service has fallen, and there is no bundle in its folder to roll back to")
            return {"watch": watched}
        back = PlannedMove("rollback", base.name, base.version, watched["fallen"])
        self._move_to("back", back, self._baseline(move.bundle, move.version))
        return {"watch": watched}

    def _move_to(self, step: str, move: PlannedMove, before: BaselineBundle | None) -> None:
        """Move the service to a bundle once, and record it in the history."""

        def work() -> StepResult:
            self._check_lock()
            if self._client is not None:
                found = self._client.in_service()
                if found.version != move.version:
                    if before is not None and found.version != before.version:
                        raise LoopError(
                            f"the service was moved to {found.name or found.version} while the loop ran, and "
                            "stays there",
                            fix="run the loop again to test against that one",
                        )
                    self._client.move(move.bundle, self._config.move_s)
            name = None if before is None else before.name
            entry = self._history.add(move.kind, move.bundle, name, by=self._journal.run, why=move.why)
            return {"at": entry.at}

        self._journal.step(step, {"run": self._journal.run, "bundle": move.bundle}, work)

    def _watch(self, move: PlannedMove) -> StepResult:
        client = self._client
        assert client is not None
        moved_at = self._journal.state.steps[move.kind].result["at"]

        def read() -> pa.Table:
            if self._sources.events is not None:
                return read_table_log(self._sources, self._settings)
            return self._event_log.read(self._event_log.update(client.export, self._config.full_export_days))

        def work() -> StepResult:
            watch = ServiceWatch(client, read, self._config.watch, sleep=self._sleep, now=self._now)
            return watch.run(move.version, moved_at).as_json()

        return self._journal.step("watch", {"run": self._journal.run, "bundle": move.bundle}, work)

    def _write_record(self, record: dict[str, Any]) -> dict[str, Any]:
        """Write the record of the run, again the same after a kill; return it."""
        config = self._config
        settings = {
            "models": ", ".join(config.models),
            "hold_out_hours": config.hold_out_hours,
            "metric": f"{config.promotion.metric}@{config.promotion.k}",
            "level": config.promotion.level,
            "confirm": config.promotion.confirm,
        }
        written = mask_values(record | {"run": self._journal.run, "settings": settings})
        self._check_lock()
        self._folder.write_json(f"{HISTORY}/{self._journal.run}.json", written)
        return written

    def _export(self, written: dict[str, Any]) -> str | None:
        """Export the run to MLflow; what is done already does not fail for want of it."""
        try:
            return export_run(written, self._config.mlflow)
        except Exception as error:  # whatever MLflow raises
            reason = " ".join(str(error).split())[:300]
            _log.warning("the run is not in MLflow: %s: %s", type(error).__name__, reason)
            return None


def _log_figures(cut: StepResult) -> dict[str, Any]:
    return {name: cut[name] for name in ("events", "train_events", "cut", "end", "gates") if name in cut}
