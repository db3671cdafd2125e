"""Protocols of federated fits: a coordinator's state moves by sums of what clients contribute."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from vrec.core.artifact import Arrays

UPDATE, WEIGHT = "update", "weight"
"""Names of the contributions of an optimization by averages: a client's update times its weight, (D,), and
its weight, (1,). All other contributions are plain sums."""


class FederatedTask(Protocol):
    """Coordinator's part of a federated fit. It has no data of the clients."""

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        ...

    def start(self) -> Arrays:
        """Return the state before the first round."""
        ...

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the sums of a round, which is counted from 1."""
        ...

    def step(self, state: Arrays, sums: Arrays, number: int) -> Arrays:
        """Return the state after a round, from the state before it and the sums over its clients.

        Raises:
            VrecError: The sums cannot be used.
        """
        ...


@runtime_checkable
class NoisedShard(Protocol):
    """Client's part of a federated fit with differential privacy, with its data."""

    def contribute_noised(self, state: Arrays, number: int, stay: int) -> Arrays:
        """Return what the client adds to the sums of a round, with its share of the noise.

        Args:
            state: State before the round.
            number: Round, from 1.
            stay: Fewest clients in the sum, whose shares together are the noise of the fit.

        Raises:
            VrecError: The client has no data that can be used.
        """
        ...


class FederatedShard(Protocol):
    """Client's part of a federated fit, with its data."""

    def contribute(self, state: Arrays, number: int) -> Arrays:
        """Return what the client adds to the sums of a round.

        Equal arguments give equal results, so that a round can be repeated.

        Raises:
            VrecError: The client has no data that can be used.
        """
        ...
