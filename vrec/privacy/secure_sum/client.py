"""Client of a secure sum: four messages, each of which tells the coordinator nothing about its numbers."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vrec.core.errors import FederatedError
from vrec.privacy.secure_sum.fixed_point import Words
from vrec.privacy.secure_sum.keys import (
    mask_words,
    new_private_key,
    public_key,
    seal,
    shared_key,
    unseal,
)
from vrec.privacy.secure_sum.shamir import SHARE_BYTES, split_secret

LEAST_CLIENTS = 3
"""Fewest clients of a sum: with two, each could subtract its own numbers from the sum."""


@dataclass(frozen=True, slots=True)
class SumKeys:
    """Public keys of a client for one sum."""

    seal: bytes
    """Key that seals messages between clients."""
    mask: bytes
    """Key that pairs of clients agree on masks with."""


@dataclass(frozen=True, slots=True)
class RevealedShares:
    """A client's shares of others' secrets after all masked vectors are in, by client."""

    seeds: Mapping[str, int]
    """Shares of the seeds of own masks, of clients whose vector is in the sum."""
    keys: Mapping[str, int]
    """Shares of the private keys of masks, of clients whose vector is missing."""


def check_threshold(threshold: int, clients: int) -> None:
    """Check the numbers of a sum's clients and of those that must stay to the end.

    Raises:
        FederatedError: There are too few clients, or half of them or fewer could uncover a vector, so that
            two halves could be told different things.
    """
    if clients < LEAST_CLIENTS:
        raise FederatedError(
            f"{clients} client{'s are' if clients != 1 else ' is'} too few for a masked sum, want "
            f"{LEAST_CLIENTS} or more",
            fix="add clients, or set federated.secure=false and trust the coordinator with each update",
        )
    if not clients // 2 < threshold <= clients:
        raise FederatedError(
            f"a threshold of {threshold} of {clients} clients is not above half of them",
            fix="set federated.threshold between 0.5 and 1",
        )


class SumClient:
    """Client of one masked sum; its methods are called once each, in the order in which they are defined.

    Bonawitz et al. 2017, "Practical secure aggregation for privacy-preserving machine learning", against a
    coordinator that follows the protocol and is curious. A vector is hidden by a mask of its own and by one
    per pair of clients; the latter cancel in the sum. A late vector stays hidden: the seed of a client's own
    mask is never revealed beside its private key.
    """

    def __init__(self, name: str, session: bytes) -> None:
        self.name, self.session = name, session
        self._step = 0
        self._seal_key, self._mask_key, self._seed = new_private_key(), new_private_key(), os.urandom(32)
        self._keys: dict[str, SumKeys] = {}
        self._threshold = 0
        self._held: dict[str, tuple[int, int]] = {}

    def advertise(self) -> SumKeys:
        """Return the public keys."""
        self._advance(1)
        return SumKeys(public_key(self._seal_key), public_key(self._mask_key))

    def share(self, keys: Mapping[str, SumKeys], threshold: int) -> dict[str, bytes]:
        """Return sealed shares of the own secrets, by receiver.

        Args:
            keys: Keys of all clients, this one's among them.
            threshold: Clients that can uncover masks together.

        Raises:
            FederatedError: There are too few clients, the own keys are not among the keys, or two clients
                have the same.
        """
        self._advance(2)
        check_threshold(threshold, len(keys))
        own = keys.get(self.name)
        if own is None or own.mask != public_key(self._mask_key) or own.seal != public_key(self._seal_key):
            raise FederatedError(f"{self.name}: its keys are not among those of the sum", fix="run it again")
        if len({key for one in keys.values() for key in (one.seal, one.mask)}) < 2 * len(keys):
            raise FederatedError("two clients of a sum have the same key", fix="run the round again")
        self._keys, self._threshold = dict(keys), threshold
        names = sorted(keys)
        seeds = split_secret(self._seed, threshold, len(names))
        private = split_secret(self._mask_key, threshold, len(names))
        sealed = {}
        for name, seed, key in zip(names, seeds, private, strict=True):
            if name == self.name:
                self._held[name] = (seed, key)
                continue
            data = seed.to_bytes(SHARE_BYTES, "big") + key.to_bytes(SHARE_BYTES, "big")
            sealed[name] = seal(self._sealing_key(name), data, _about(self.session, self.name, name))
        return sealed

    def mask(self, words: Words, shares: Mapping[str, bytes]) -> Words:
        """Return the masked vector: uniform words without the masks.

        Args:
            words: (N,) encoded numbers.
            shares: Sealed shares for this client, by sender; of clients that have left there are none.

        Raises:
            FederatedError: Fewer clients than the threshold are left, or a share cannot be opened.
        """
        self._advance(3)
        senders = set(shares) & set(self._keys) - {self.name}
        self._check_enough(len(senders) + 1)
        for name in senders:
            data = unseal(self._sealing_key(name), shares[name], _about(self.session, name, self.name))
            self._held[name] = (
                int.from_bytes(data[:SHARE_BYTES], "big"),
                int.from_bytes(data[SHARE_BYTES:], "big"),
            )
        masked = words + mask_words(self._seed, len(words))
        for name in senders:
            pair = mask_words(self._masking_key(name), len(words))
            masked = masked + pair if self.name < name else masked - pair
        return masked

    def reveal(self, survivors: Collection[str]) -> RevealedShares:
        """Return shares with which the masks that did not cancel can be taken off the sum.

        Of no client both secrets are revealed, and after that none.

        Raises:
            FederatedError: Fewer clients than the threshold are in the sum, or one that never was.
        """
        self._advance(4)
        inside = set(survivors)
        if not inside <= set(self._held):
            strangers = ", ".join(sorted(inside - set(self._held)))
            raise FederatedError(f"{strangers}: not a client of this sum", fix="run the round again")
        self._check_enough(len(inside))
        return RevealedShares(
            seeds={name: seed for name, (seed, _) in self._held.items() if name in inside},
            keys={name: key for name, (_, key) in self._held.items() if name not in inside},
        )

    def _advance(self, step: int) -> None:
        # A second call of a step could uncover both secrets of a client.
        if self._step != step - 1:
            raise FederatedError(
                f"{self.name}: step {step} of a masked sum after step {self._step}", fix="run the round again"
            )
        self._step = step

    def _check_enough(self, count: int) -> None:
        if count < self._threshold:
            raise FederatedError(
                f"{count} of {len(self._keys)} clients are left, and {self._threshold} are needed",
                fix="run the round again when more clients can be reached, or lower federated.threshold",
            )

    def _sealing_key(self, name: str) -> bytes:
        return shared_key(self._seal_key, self._keys[name].seal, self.session, "seal")

    def _masking_key(self, name: str) -> bytes:
        return shared_key(self._mask_key, self._keys[name].mask, self.session, "mask")


def _about(session: bytes, sender: str, receiver: str) -> bytes:
    parts = (session, sender.encode(), receiver.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
