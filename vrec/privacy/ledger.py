"""Ledger of a data set: what every private fit on it has spent, written before any noise is drawn."""

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from vrec.core.errors import ConfigError, OutputError, PrivacyError, os_error_reason
from vrec.core.uris import local_path
from vrec.privacy.accounting import MechanismCost, composed_epsilon

LEDGER_FORMAT = 1
DEFAULT_BUDGET = 10.0
"""Budget of a new ledger for which the settings give none."""
LEDGER_ENDING = ".privacy.jsonl"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One fit in a ledger."""

    number: int
    """From 1 on."""
    at: str
    """Time at which it was written, in ISO 8601."""
    model: str
    costs: tuple[MechanismCost, ...]
    data: str
    """Fingerprint of the data at the time."""
    digest: str
    """SHA-256 of this entry and, through the digest before it, of all earlier ones."""


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Contents of a ledger."""

    ledger: str
    """Id of the ledger."""
    budget: float
    delta: float
    entries: tuple[LedgerEntry, ...]
    digest: str
    """Digest of the last line."""

    def spent(self, more: Sequence[MechanismCost] = ()) -> float:
        """Return the ε of all entries together, with further mechanisms."""
        return composed_epsilon(
            [*(cost for entry in self.entries for cost in entry.costs), *more], self.delta
        )


@dataclass(frozen=True, slots=True)
class LedgerReceipt:
    """Proof of what a fit has spent, which its manifest keeps."""

    ledger: str
    """Id of the ledger."""
    entry: int
    digest: str
    spent: float
    """ε of all fits up to this one together."""
    budget: float
    delta: float


class PrivacyLedger:
    """File of JSON lines beside a data set: one with its budget, then one per fit.

    A fit is added under a lock and by renaming a whole new file that is on disk, before its noise is drawn:
    fits that race each see what the other has spent, and a killed fit has spent. Each line has a digest of
    itself and of the line before, so that a damaged or edited file is refused.
    """

    def __init__(self, path: str) -> None:
        local = local_path(path)
        if local is None:
            raise ConfigError(
                f"privacy.ledger {path}: want a local file, since only there two fits cannot spend at once",
                fix="give privacy.ledger a local path",
            )
        self.path = Path(local)

    def read(self) -> LedgerState:
        """Return the ledger's contents.

        Raises:
            PrivacyError: There is no ledger, it cannot be read, or it is damaged.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            raise PrivacyError(
                f"{self.path}: there is no ledger",
                fix="give the ledger of a data set on which `vrec fit --privacy.epsilon` ran",
            ) from None
        except OSError as error:
            raise PrivacyError(
                f"{self.path}: {os_error_reason(error)}", fix="make the ledger readable"
            ) from None
        return _parse(data, self.path)

    def charge(
        self,
        model: str,
        costs: Sequence[MechanismCost],
        data: str,
        *,
        delta: float,
        budget: float | None = None,
    ) -> LedgerReceipt:
        """Add a fit, if the budget allows it, and return the receipt; the noise may be drawn after that.

        Args:
            model: Name of the model.
            costs: Its mechanisms.
            data: Fingerprint of the data.
            delta: δ of the ledger, which all fits share.
            budget: Budget of a new ledger, or the one that it must have; None for any.

        Raises:
            PrivacyError: The budget does not allow it, or the ledger is damaged, or has another δ or budget.
            OutputError: The ledger cannot be written.
        """
        with self._writing(), self._locked():
            return self._charge(model, costs, data, delta, budget)

    def check(self, costs: Sequence[MechanismCost], *, delta: float, budget: float | None = None) -> None:
        """Check that `charge` would add a fit now; nothing is spent. Arguments and errors are those of it."""
        with self._writing(), self._locked():
            self._allowed(costs, delta, budget)

    def _charge(
        self,
        model: str,
        costs: Sequence[MechanismCost],
        data: str,
        delta: float,
        budget: float | None,
    ) -> LedgerReceipt:
        text, state, spent = self._allowed(costs, delta, budget)
        number = len(state.entries) + 1
        values = {
            "entry": number,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": model,
            "costs": [cost.as_json() for cost in costs],
            "data": data,
            # Manifests have the digest of this line: without it, who guesses the data could confirm them.
            "nonce": uuid.uuid4().hex,
        }
        line, digest = _line(values, state.digest)
        self._replace(text + line)
        return LedgerReceipt(state.ledger, number, digest, spent, state.budget, state.delta)

    def _allowed(
        self, costs: Sequence[MechanismCost], delta: float, budget: float | None
    ) -> tuple[bytes, LedgerState, float]:
        """Return the ledger's text and contents, and the ε that is spent with another fit.

        Raises:
            PrivacyError: The budget does not allow the fit.
        """
        is_new = not self.path.exists()
        text = _header(budget or DEFAULT_BUDGET, delta) if is_new else self.path.read_bytes()
        state = _parse(text, self.path)
        self._check_terms(state, delta, budget)
        spent = state.spent(costs)
        if spent > state.budget:
            before = state.spent()
            raise PrivacyError(
                f"{self.path}: with this fit ε would be {spent:.3g}, and the budget is {state.budget:g}; "
                f"{len(state.entries)} earlier fits have spent {before:.3g}",
                fix="fit with a larger noise, that is a lower privacy.epsilon, or use an earlier model",
            )
        return text, state, spent

    def _check_terms(self, state: LedgerState, delta: float, budget: float | None) -> None:
        if state.delta != delta:
            raise PrivacyError(
                f"{self.path}: the ledger adds up ε at δ = {state.delta:g}, and privacy.delta is {delta:g}",
                fix=f"set privacy.delta to {state.delta:g}",
            )
        if budget is not None and budget != state.budget:
            raise PrivacyError(
                f"{self.path}: the ledger's budget is {state.budget:g}, and privacy.budget is {budget:g}; a "
                "budget is fixed when its ledger is made",
                fix="leave privacy.budget out",
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write the ledger: {os_error_reason(error)}",
                fix="give privacy.ledger a path in a folder that can be written",
            ) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # A file of its own, since the ledger is replaced by each charge.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f"{self.path.name}.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _replace(self, data: bytes) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _line(values: Mapping[str, Any], previous: str) -> tuple[bytes, str]:
    """Return a line of the ledger with its digest, and the digest."""
    text = json.dumps({**values, "previous": previous}, sort_keys=True, ensure_ascii=False, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    line = json.dumps(
        {**values, "previous": previous, "digest": digest},
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
    )
    return line.encode() + b"\n", digest


def _header(budget: float, delta: float) -> bytes:
    values = {"ledger": uuid.uuid4().hex, "format": LEDGER_FORMAT, "budget": budget, "delta": delta}
    return _line(values, "")[0]


def _parse(data: bytes, path: Path) -> LedgerState:
    previous, rows = "", []
    try:
        if not data.endswith(b"\n"):
            raise ValueError("its last line is cut")
        for line in data.splitlines():
            row = json.loads(line)
            digest = row.pop("digest")
            if row["previous"] != previous or _line(_without_previous(row), previous)[1] != digest:
                raise ValueError(f"line {len(rows) + 1} is not what was written")
            previous = digest
            rows.append((row, digest))
        header = rows[0][0]
        if header["format"] != LEDGER_FORMAT:
            raise ValueError(f"its format is {header['format']}")
        entries = tuple(_entry(row, digest, number) for number, (row, digest) in enumerate(rows[1:], 1))
        state = LedgerState(header["ledger"], header["budget"], header["delta"], entries, previous)
        if not (isfinite(state.budget) and state.budget > 0 and 0 < state.delta < 1):
            raise ValueError("its budget or δ is out of range")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise PrivacyError(
            f"{path}: the ledger is damaged: {error}",
            fix="put back the last intact copy; without one, count the budget of this data set as spent",
        ) from None
    return state


def _without_previous(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "previous"}


def _entry(row: Mapping[str, Any], digest: str, number: int) -> LedgerEntry:
    if row["entry"] != number:
        raise ValueError(f"entry {number} is missing")
    costs = tuple(MechanismCost.from_json(cost) for cost in row["costs"])
    return LedgerEntry(number, row["at"], row["model"], costs, row["data"], digest)
