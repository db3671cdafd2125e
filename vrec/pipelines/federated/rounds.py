"""Rounds of a federated fit: draw clients, sum what they contribute, step, write a checkpoint."""

import io
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from typing import Any

import numpy as np

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError
from vrec.core.tables import StorageFolder
from vrec.pipelines.federated.client import SumTerms
from vrec.pipelines.federated.pool import ClientPool
from vrec.privacy.secure_sum.client import LEAST_CLIENTS, check_threshold
from vrec.privacy.secure_sum.coordinator import SumCoordinator, SumRecorder
from vrec.privacy.secure_sum.fixed_point import FixedPoint
from vrec.training.federated.config import FederatedConfig
from vrec.training.federated.layout import ArrayLayout
from vrec.training.federated.robust import robust_sums
from vrec.training.federated.sampling import draw_clients
from vrec.training.federated.task import FederatedTask

_log = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "federated"
"""Subfolder of `--out` for the checkpoint of an unfinished fit."""
_CHECKPOINT = f"{CHECKPOINT_FOLDER}/round.npz"
_META = "meta"
_SESSION_BYTES = 16


def _unrecorded(step: str, name: str, message: Any) -> None:
    pass


@dataclass(frozen=True, slots=True)
class FederatedRound:
    """Outcome of one round."""

    number: int
    """Number of the round, from 1."""
    clients: tuple[str, ...]
    """Clients in the sum."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Reasons of the clients that are not in the sum and were drawn or cannot be used, by client."""


@dataclass(frozen=True, slots=True)
class FederatedResult:
    """Outcome of a federated fit."""

    state: Arrays
    rounds: tuple[FederatedRound, ...]
    resumed_from: int
    """Last round of the interrupted run that this one continues; 0 for a new one."""


class FederatedRun:
    """Coordinator of a federated fit."""

    def __init__(
        self,
        task: FederatedTask,
        pool: ClientPool,
        config: FederatedConfig,
        *,
        folder: StorageFolder | None = None,
        key: str = "",
        record: SumRecorder = _unrecorded,
    ) -> None:
        """Prepare the rounds.

        Args:
            task: Coordinator's part of the fit.
            pool: Clients.
            config: Settings.
            folder: Folder for checkpoints; None writes none.
            key: Text that only runs of the same task, settings and clients share.
            record: Function that gets every message of the clients, for audits.
        """
        self.task, self.pool, self.config = task, pool, config
        self._folder, self._key, self._record = folder, key, record
        self._refused: dict[str, str] = {}

    def run(self) -> FederatedResult:
        """Run all rounds that are left, and return the last state.

        Raises:
            FederatedError: A round had too few clients, more often than `retries` allows. The same run then
                continues from its last round.
        """
        state, rounds = self._restore()
        resumed_from = len(rounds)
        self._prepare()
        for number in range(resumed_from + 1, self.task.rounds + 1):
            state, done = self._round_with_retries(state, number)
            rounds.append(done)
            self._save(state, rounds)
            _log_round(done, self.task.rounds)
        return FederatedResult(state, tuple(rounds), resumed_from)

    def _prepare(self) -> None:
        arguments = dict.fromkeys(self.pool.names, ())
        _, refusals = self.pool.call("prepare", arguments, self.config.deadline_s)
        # A client that is lost now may be there when its round begins.
        self._refused = {name: one.reason for name, one in refusals.items() if not one.is_lost}
        for name, reason in self._refused.items():
            _log.warning("%s is left out: %s", name, reason)
        if (usable := len(self.pool.names) - len(self._refused)) < (least := self._least_clients()):
            # Another attempt would find the same clients.
            raise FederatedError(
                f"{usable} of {len(self.pool.names)} clients can be used, want {least} or more"
                f"{_shown(self._refused)}",
                fix="correct the data of the clients that are named, or add clients",
            )

    def _least_clients(self) -> int:
        return LEAST_CLIENTS if self.config.secure else 1

    def _round_with_retries(self, state: Arrays, number: int) -> tuple[Arrays, FederatedRound]:
        attempt = 0
        while True:
            left_out: dict[str, str] = {}
            try:
                sums, names = self._sum(state, number, attempt, left_out)
                state = self.task.step(state, sums, number)
                return state, FederatedRound(number, tuple(names), {**self._refused, **left_out})
            except FederatedError as error:
                if attempt == self.config.retries:
                    reasons = _shown({**self._refused, **left_out})
                    raise FederatedError(f"round {number}: {error}{reasons}", fix=error.fix) from None
                _log.warning("round %d is repeated: %s", number, error)
                attempt += 1

    def _sum(
        self, state: Arrays, number: int, attempt: int, left_out: dict[str, str]
    ) -> tuple[Arrays, list[str]]:
        """Return the sums of a round and the clients in them; put the reasons of others to `left_out`."""
        config = self.config
        usable = [name for name in self.pool.names if name not in self._refused]
        names = draw_clients(usable, config.clients, LEAST_CLIENTS, config.seed, number, attempt)
        layout = ArrayLayout(self.task.shapes(number))
        terms = SumTerms(number, layout, FixedPoint(config.fraction_bits, max(1, len(names))))
        threshold = max(len(names) // 2 + 1, ceil(config.threshold * len(names) - 1e-9))
        if config.secure:
            check_threshold(threshold, len(names))
            return self._masked_sum(state, names, terms, threshold, left_out)
        return self._plain_sum(state, names, terms, threshold, left_out)

    def _masked_sum(
        self, state: Arrays, names: list[str], terms: SumTerms, threshold: int, left_out: dict[str, str]
    ) -> tuple[Arrays, list[str]]:
        session = os.urandom(_SESSION_BYTES)
        hub = SumCoordinator(session, terms.layout.length, threshold, self._record)
        shown = self.pool.hand_out(state)

        def call(step: str, arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
            answers, refusals = self.pool.call(step, arguments, self.config.deadline_s)
            left_out.update({name: one.reason for name, one in refusals.items()})
            return answers

        keys = hub.take_keys(call("advertise", dict.fromkeys(names, (session,))))
        shares = hub.take_shares(call("share", dict.fromkeys(keys, (session, keys, threshold))))
        masked = call("mask", {name: (session, shares[name], shown, terms) for name in shares})
        survivors = hub.take_vectors(masked)
        left_out.update(hub.refused)
        # A client that is lost only now has its vector in the sum.
        reveals, _ = self.pool.call(
            "reveal", dict.fromkeys(survivors, (session, survivors)), self.config.deadline_s
        )
        total = terms.codec.decode(hub.take_reveals(reveals))
        return terms.layout.unflatten(total), survivors

    def _plain_sum(
        self, state: Arrays, names: list[str], terms: SumTerms, threshold: int, left_out: dict[str, str]
    ) -> tuple[Arrays, list[str]]:
        shown = self.pool.hand_out(state)
        arguments = dict.fromkeys(names, (shown, terms))
        vectors, refusals = self.pool.call("contribute", arguments, self.config.deadline_s)
        left_out.update({name: one.reason for name, one in refusals.items()})
        good: dict[str, Arrays] = {}
        for name, vector in vectors.items():
            self._record("contribution", name, vector)
            shape = np.shape(vector)
            if shape != (terms.layout.length,):
                left_out[name] = f"its vector is {shape}, want ({terms.layout.length},)"
            elif not (np.abs(vector) <= terms.codec.limit).all():
                left_out[name] = "its numbers are not finite, or too large"
            else:
                good[name] = terms.layout.unflatten(vector)
        if len(good) < threshold:
            raise FederatedError(
                f"{len(good)} of {len(names)} clients have contributed, and {threshold} are needed",
                fix="run it again when more clients can be reached, or lower federated.threshold",
            )
        return robust_sums(good, self.config), sorted(good)

    def _restore(self) -> tuple[Arrays, list[FederatedRound]]:
        """Return the state and the rounds of the checkpoint, or those before the first round."""
        folder = self._folder
        if folder is None or not folder.exists(_CHECKPOINT):
            return self.task.start(), []
        with np.load(io.BytesIO(folder.read(_CHECKPOINT)), allow_pickle=False) as arrays:
            state = {name: arrays[name] for name in arrays.files}
        meta = json.loads(state.pop(_META).tobytes())
        if meta["key"] != self._key:
            _log.warning(
                "%s: its unfinished fit had other clients or settings, so this one begins", folder.uri
            )
            return self.task.start(), []
        rounds = [
            FederatedRound(one["number"], tuple(one["clients"]), one["left_out"]) for one in meta["rounds"]
        ]
        return {name.removeprefix("state."): array for name, array in state.items()}, rounds

    def _save(self, state: Arrays, rounds: list[FederatedRound]) -> None:
        if self._folder is None:
            return
        meta = json.dumps({"key": self._key, "rounds": [asdict(one) for one in rounds]}).encode()
        arrays = {f"state.{name}": array for name, array in state.items()}
        sink = io.BytesIO()
        np.savez(sink, **arrays, **{_META: np.frombuffer(meta, np.uint8)})  # type: ignore[arg-type]
        self._folder.write(_CHECKPOINT, sink.getvalue())


def _shown(reasons: Mapping[str, str]) -> str:
    """Return the reasons of a few clients, in brackets; nothing for none."""
    shown = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items())[:5])
    return f" ({shown})" if shown else ""


def _log_round(done: FederatedRound, rounds: int) -> None:
    out = "; ".join(f"without {name}: {reason}" for name, reason in done.left_out.items())
    _log.info("round %d of %d: %d clients%s", done.number, rounds, len(done.clients), out and f"; {out}")
