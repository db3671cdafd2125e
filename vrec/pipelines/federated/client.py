"""A client of federated fits: its shard, and its side of each sum. On a cluster it is an actor of Ray."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vrec.core.artifact import Arrays
from vrec.core.errors import (
    ConfigError,
    FederatedError,
    ModelError,
    OutputError,
    PrivacyError,
    SourceError,
    VrecError,
)
from vrec.privacy.secure_sum.client import SumClient
from vrec.privacy.secure_sum.fixed_point import FixedPoint
from vrec.training.federated.layout import ArrayLayout
from vrec.training.federated.task import FederatedShard, NoisedShard

_log = logging.getLogger(__name__)
_TELLABLE = (FederatedError, SourceError, ConfigError, ModelError, OutputError, PrivacyError)
"""Errors whose messages have nothing of a client's rows in them."""


class ShardSource(Protocol):
    """Place of a client's data, which travels to the client in its place."""

    def load(self) -> FederatedShard | NoisedShard:
        """Return the shard; raises VrecError where it cannot be used."""
        ...


@dataclass(frozen=True, slots=True)
class ClientRefusal:
    """Answer of a client that cannot take part."""

    reason: str
    is_lost: bool = False
    """Whether the client could not be reached in time, and may be back later."""


@dataclass(frozen=True, slots=True)
class SumTerms:
    """Numbers that all clients of one sum share."""

    number: int
    """Round, from 1."""
    layout: ArrayLayout
    codec: FixedPoint


class FederatedClient:
    """Client with a shard; every method returns what goes to the coordinator, or why there is nothing."""

    def __init__(self, name: str, source: ShardSource) -> None:
        self.name, self._source = name, source
        self._shard: FederatedShard | NoisedShard | None = None
        self._stay = 1
        self._sums: dict[bytes, SumClient] = {}
        self._number = 0
        self._released: set[int] = set()
        """Rounds whose noised sums may be known to the coordinator."""

    def answer(self, step: str, *arguments: Any) -> Any:
        """Return the result of a step by its name, or a ClientRefusal where it raises a VrecError."""
        try:
            return getattr(self, step)(*arguments)
        except _TELLABLE as error:
            return ClientRefusal(str(error))
        except VrecError as error:
            # Such a message may name a row, with a shopper's id: it stays here.
            _log.error("%s: %s", self.name, error)
            return ClientRefusal(f"cannot use its data, {type(error).__name__}: its own log says why")

    def prepare(self) -> None:
        """Read the shard."""
        self._load()

    def advertise(self, session: bytes) -> Any:
        """Begin a masked sum; return the public keys."""
        # Of an older sum nothing is needed any more.
        self._sums = {session: SumClient(self.name, session)}
        return self._sums[session].advertise()

    def share(self, session: bytes, keys: Mapping[str, Any], threshold: int) -> Any:
        """Return sealed shares of the secrets of a masked sum."""
        self._stay = threshold
        return self._of(session).share(keys, threshold)

    def mask(self, session: bytes, shares: Mapping[str, bytes], state: Arrays, terms: SumTerms) -> Any:
        """Return the masked contribution to a round."""
        words = terms.codec.encode(self._contribution(state, terms, self._stay))
        return self._of(session).mask(words, shares)

    def reveal(self, session: bytes, survivors: Collection[str]) -> Any:
        """Return shares for the masks of a sum."""
        shares = self._of(session).reveal(survivors)
        self._released.add(self._number)
        return shares

    def contribute(self, state: Arrays, terms: SumTerms) -> Any:
        """Return the contribution to a round without a mask, as one vector."""
        vector = self._contribution(state, terms, 1)
        self._released.add(terms.number)
        return vector

    def _contribution(self, state: Arrays, terms: SumTerms, stay: int) -> Any:
        """Return the contribution as a vector; that of a private fit has noise for `stay` clients or more."""
        shard, self._number = self._load(), terms.number
        if not isinstance(shard, NoisedShard):
            return terms.layout.flatten(shard.contribute(state, terms.number))
        if terms.number in self._released:
            # With other noise it would be a release that no ledger has.
            raise FederatedError(
                f"its noised sums of round {terms.number} may be known already",
                fix="run the command again: each run is charged to the clients' ledgers",
            )
        return terms.layout.flatten(shard.contribute_noised(state, terms.number, stay))

    def _load(self) -> FederatedShard | NoisedShard:
        if self._shard is None:
            self._shard = self._source.load()
        return self._shard

    def _of(self, session: bytes) -> SumClient:
        if session not in self._sums:
            return SumClient(self.name, session)
        return self._sums[session]
