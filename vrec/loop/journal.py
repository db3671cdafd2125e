"""Journal of a loop: its run in progress, and its finished steps with the fingerprints of their inputs.

A step is skipped if its inputs are those of the last time it was done and its files are still there,
whichever run did it. So a run that was killed goes on with the step at which it was, and a run without
anything new does nothing. The journal is one file that is replaced in one piece after each step.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from vrec.core.digest import digest
from vrec.core.errors import OutputError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri

_log = logging.getLogger(__name__)

JOURNAL = "loop.json"
"""File in the loop's folder."""
FORMAT = 1
RUN_FORMAT = "%Y%m%dT%H%M%SZ"
"""Format of the id of a run: its beginning in UTC."""
RESUME_S = 43_200.0
"""Age of a run in progress from which another one begins: the next night's has a newer log."""

StepResult = dict[str, Any]
"""Result of a step as JSON values."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Finished step."""

    fingerprint: str
    """Digest of its inputs."""
    result: StepResult
    files: tuple[str, ...]
    """Files below the loop's folder without which it has to be done again."""
    run: str
    """Run that did it."""
    seconds: float


@dataclass(slots=True)
class LoopState:
    """Content of the journal."""

    run: str | None = None
    """Run in progress."""
    pending: dict[str, Any] | None = None
    """Challenger that waits for later events; see `vrec.loop.confirm`."""
    steps: dict[str, StepRecord] = field(default_factory=dict)


class LoopJournal:
    """Journal in a folder."""

    def __init__(
        self,
        folder: StorageFolder,
        check_lock: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Read the journal.

        Args:
            folder: The loop's folder.
            check_lock: Function that is called before each write, and raises if another loop may run.
            now: Function that returns the time in seconds since 1970.

        Raises:
            OutputError: There is a journal that is not this version's.
        """
        self._folder, self._check_lock, self._now = folder, check_lock, now
        self.state = _read(folder)
        self.done: list[str] = []
        """Steps that were done since this process began."""
        self.skipped: list[str] = []

    @property
    def run(self) -> str:
        """Id of the run in progress."""
        assert self.state.run is not None
        return self.state.run

    def begin(self, resume_s: float = RESUME_S) -> str:
        """Go on with the run in progress, or begin one; return its id, the time of its beginning.

        Args:
            resume_s: Age in seconds from which a run in progress is given up, as its log is old.
        """
        now = datetime.fromtimestamp(self._now(), UTC)
        if self.state.run is not None:
            begun = datetime.strptime(self.state.run, RUN_FORMAT).replace(tzinfo=UTC)
            if 0 <= (now - begun).total_seconds() < resume_s:
                _log.info("going on with the run %s", self.state.run)
                return self.state.run
        used = {record.run for record in self.state.steps.values()}
        while (run := now.strftime(RUN_FORMAT)) in used:
            # Two runs in one second: steps that are done once in each run would count as done.
            now += timedelta(seconds=1)
        self.state.run = run
        self._write()
        return run

    def step(
        self,
        name: str,
        inputs: Mapping[str, Any],
        work: Callable[[], StepResult],
        files: Callable[[StepResult], Sequence[str]] = lambda _: (),
    ) -> StepResult:
        """Return the result of a step, which is done unless it was with the same inputs.

        Args:
            name: Name of the step.
            inputs: JSON values that the result depends on.
            work: Function that does it. It may have been killed half-way before.
            files: Function that returns the names of the result's files below the loop's folder.
        """
        fingerprint, known = digest(inputs), self.state.steps.get(name)
        if known is not None and known.fingerprint == fingerprint and self._has(known.files):
            _log.info("%s: unchanged", name)
            self.skipped.append(name)
            return known.result
        _log.info("%s", name)
        begun = time.perf_counter()
        result = work()
        seconds = round(time.perf_counter() - begun, 3)
        self.state.steps[name] = StepRecord(fingerprint, result, tuple(files(result)), self.run, seconds)
        self._write()
        self.done.append(name)
        return result

    def end(self, pending: dict[str, Any] | None) -> None:
        """End the run in progress, with the challenger that waits for the next one."""
        self.state.run, self.state.pending = None, pending
        self._write()

    def _has(self, files: Sequence[str]) -> bool:
        return all(self._folder.exists(name) for name in files)

    def _write(self) -> None:
        self._check_lock()
        state = asdict(self.state)
        self._folder.write_json(JOURNAL, {"format": FORMAT, **state})


def _read(folder: StorageFolder) -> LoopState:
    try:
        found = json.loads(folder.read(JOURNAL))
    except (FileNotFoundError, NotADirectoryError):
        return LoopState()
    except ValueError:
        found = {}
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise OutputError(
            f"{join_uri(folder.uri, JOURNAL)} is not the journal of this version's loop",
            fix="give another --out",
        )
    steps = {
        name: StepRecord(**{**record, "files": tuple(record["files"])})
        for name, record in found["steps"].items()
    }
    return LoopState(found["run"], found["pending"], steps)
