"""Secret sharing over a prime field: any `threshold` shares give the secret, fewer say nothing about it.

Shamir 1979, "How to share a secret". Shares are values of a random polynomial at 1, 2, …; its value at 0 is
the secret.
"""

import secrets
from collections.abc import Callable, Mapping

from vrec.core.errors import FederatedError

PRIME = 2**521 - 1
"""Order of the field, a Mersenne prime above all secrets of up to 65 bytes."""
SHARE_BYTES = 66
"""Bytes of a share."""


def split_secret(
    secret: bytes, threshold: int, count: int, draw: Callable[[int], int] = secrets.randbelow
) -> list[int]:
    """Return `count` shares of a secret, those at the points 1 to `count`.

    Args:
        secret: Up to 65 bytes.
        threshold: Shares that give the secret back.
        count: Number of shares.
        draw: Function that returns a uniform integer from 0 to below its argument.

    Raises:
        ValueError: The threshold is not between 1 and `count`, or the secret is too long.
    """
    if not 1 <= threshold <= count or len(secret) >= SHARE_BYTES:
        raise ValueError(f"{threshold} of {count} shares of {len(secret)} bytes")
    coefficients = [int.from_bytes(secret, "big"), *(draw(PRIME) for _ in range(threshold - 1))]
    return [_evaluate(coefficients, point) for point in range(1, count + 1)]


def join_secret(shares: Mapping[int, int], length: int) -> bytes:
    """Return the secret of `length` bytes from its shares by point: as many as the threshold, or more.

    Raises:
        FederatedError: The shares are of different secrets, or fewer than the threshold. That is found with
            overwhelming probability for secrets of 56 bytes or fewer, but not with certainty.
    """
    total = 0
    for point, share in shares.items():
        above = below = 1
        for other in shares:
            if other != point:
                above = above * -other % PRIME
                below = below * (point - other) % PRIME
        total = (total + share * above * pow(below, -1, PRIME)) % PRIME
    if total >= 1 << (8 * length):
        raise FederatedError(
            f"{len(shares)} shares of a secret do not belong together, or are too few",
            fix="run the round again; leave out clients that run another version",
        )
    return total.to_bytes(length, "big")


def _evaluate(coefficients: list[int], point: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % PRIME
    return value
