"""Numbers as integers modulo 2⁶⁴, in which masks are uniform and sums exact."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.errors import FederatedError

Words = npt.NDArray[np.uint64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Fixed-point numbers modulo 2⁶⁴ of which a given number can be added without overflow."""

    bits: int
    """Bits after the point: the numbers are multiples of 2^−bits."""
    clients: int
    """Most numbers that are added."""

    @property
    def limit(self) -> float:
        """Absolute value up to which a number can be encoded."""
        return float((2**63 - 1) // self.clients) / 2.0**self.bits * (1 - 1e-9)

    def encode(self, values: npt.NDArray[np.floating], *, truncate: bool = False) -> Words:
        """Return (N,) words of (N,) numbers.

        Args:
            values: Numbers.
            truncate: Round toward 0, so that no norm grows, and not to the nearest.

        Raises:
            FederatedError: A number is not finite, or its absolute value is above `limit`.
        """
        numbers = np.asarray(values, np.float64)
        bad = np.flatnonzero(~(np.abs(numbers) <= self.limit))
        if len(bad):
            raise FederatedError(
                f"{len(bad):,} of {len(numbers):,} numbers are not finite or above {self.limit:.3g}",
                fix="lower the learning rate, check the client's events, or lower federated.fraction_bits",
            )
        scaled = numbers * 2.0**self.bits
        return (np.trunc(scaled) if truncate else np.rint(scaled)).astype(np.int64).view(np.uint64)

    def decode(self, total: Words) -> Doubles:
        """Return (N,) float64 numbers of a sum of words, exact where they have up to 53 bits."""
        return total.view(np.int64).astype(np.float64) / 2.0**self.bits
