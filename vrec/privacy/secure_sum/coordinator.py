"""Coordinator of a secure sum: collects the clients' messages and takes the masks off the sum alone."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.core.errors import FederatedError
from vrec.privacy.secure_sum.client import RevealedShares, SumKeys, check_threshold
from vrec.privacy.secure_sum.fixed_point import Words
from vrec.privacy.secure_sum.keys import KEY_BYTES, mask_words, public_key, shared_key
from vrec.privacy.secure_sum.shamir import join_secret

SumRecorder = Callable[[str, str, Any], None]
"""Function of a step's name, a client's name, and the message that the coordinator got from it."""


def _forget(step: str, name: str, message: Any) -> None:
    pass


class SumCoordinator:
    """Coordinator of one sum of (N,) words; its methods are called in the order in which they are defined.

    Each takes the messages of the clients that have sent one in time, by client. Fewer than `threshold` end
    the sum, and nothing is uncovered.
    """

    def __init__(self, session: bytes, length: int, threshold: int, record: SumRecorder = _forget) -> None:
        """Begin a sum.

        Args:
            session: Random bytes that no other sum has.
            length: N.
            threshold: Clients that must stay to the end.
            record: Function that gets every message, for audits.
        """
        self.session, self.length, self.threshold, self._record = session, length, threshold, record
        self.refused: dict[str, str] = {}
        """Reasons for which clients' messages were left out, by client."""
        self._keys: dict[str, SumKeys] = {}
        self._senders: list[str] = []
        self._vectors: dict[str, Words] = {}

    def take_keys(self, received: Mapping[str, SumKeys]) -> dict[str, SumKeys]:
        """Return the keys of all clients, for each of them."""
        check_threshold(self.threshold, len(received))
        self._note("keys", received)
        self._keys = dict(received)
        return self._keys

    def take_shares(self, received: Mapping[str, Mapping[str, bytes]]) -> dict[str, dict[str, bytes]]:
        """Return the sealed shares by receiver and sender, for the receivers that sent theirs."""
        self._note("shares", received)
        self._check_enough(received, "have sent shares")
        self._senders = sorted(received)
        return {
            name: {sender: received[sender][name] for sender in self._senders if sender != name}
            for name in self._senders
        }

    def take_vectors(self, received: Mapping[str, npt.NDArray[Any]]) -> list[str]:
        """Return the clients whose masked vectors are in the sum; those of another shape are left out."""
        self._note("vector", received)
        for name, vector in received.items():
            if vector.shape != (self.length,) or vector.dtype != np.uint64:
                self.refused[name] = (
                    f"its vector is {vector.shape} {vector.dtype}, want ({self.length},) uint64"
                )
            elif name in self._senders:
                self._vectors[name] = vector
        self._check_enough(self._vectors, "have sent a vector that can be used")
        return sorted(self._vectors)

    def take_reveals(self, received: Mapping[str, RevealedShares]) -> Words:
        """Return the (N,) sum of the vectors of the clients that `take_vectors` gave.

        Raises:
            FederatedError: Fewer clients than the threshold have revealed shares, or these do not fit.
        """
        self._note("reveal", received)
        self._check_enough(received, "have revealed shares")
        points = {name: place for place, name in enumerate(sorted(self._keys), 1)}
        some = sorted(received)[: self.threshold]
        total = np.zeros(self.length, np.uint64)
        for name, vector in self._vectors.items():
            seed = self._join(name, {points[one]: received[one].seeds.get(name) for one in some})
            total = total + vector - mask_words(seed, self.length)
        for name in set(self._senders) - set(self._vectors):
            key = self._join(name, {points[one]: received[one].keys.get(name) for one in some})
            if public_key(key) != self._keys[name].mask:
                raise FederatedError(f"the revealed key of {name} is not its own", fix="run the round again")
            for other in self._vectors:
                pair = mask_words(shared_key(key, self._keys[other].mask, self.session, "mask"), self.length)
                # The mask that `other` put on for the client that has left.
                total = total - pair if other < name else total + pair
        return total

    def _join(self, name: str, shares: Mapping[int, int | None]) -> bytes:
        known = {point: share for point, share in shares.items() if share is not None}
        if len(known) < self.threshold:
            raise FederatedError(
                f"{len(known)} shares of a secret of {name} were revealed, and {self.threshold} are needed",
                fix="run the round again",
            )
        return join_secret(known, KEY_BYTES)

    def _note(self, step: str, received: Mapping[str, Any]) -> None:
        for name, message in received.items():
            self._record(step, name, message)

    def _check_enough(self, received: Mapping[str, Any], what: str) -> None:
        if len(received) < self.threshold:
            gone = ", ".join(sorted(set(self._keys) - set(received)))
            raise FederatedError(
                f"{len(received)} of {len(self._keys)} clients {what}, and {self.threshold} are needed; "
                f"missing: {gone}",
                fix="run it again when more clients can be reached, or lower federated.threshold",
            )
