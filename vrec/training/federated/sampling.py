"""Clients drawn for a round, and shards of shoppers for experiments."""

from math import ceil

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def draw_clients(names: list[str], share: float, least: int, *key: int) -> list[str]:
    """Return the sorted names of clients that take part in a round, the same for equal arguments.

    Args:
        names: All clients.
        share: Share that is drawn.
        least: Fewest that are drawn, if there are so many.
        key: Seed, round, and attempt.
    """
    count = min(len(names), max(least, ceil(share * len(names))))
    chosen = np.random.default_rng(list(key)).permutation(len(names))[:count]
    return sorted([names[int(place)] for place in chosen])


def dirichlet_shards(groups: npt.ArrayLike, clients: int, alpha: float, seed: int) -> Indices:
    """Return the (N,) client of each shopper, with groups spread over clients unevenly.

    The shares of the clients in each group are drawn from a symmetric Dirichlet distribution (Hsu, Qi and
    Brown 2019): a large α gives even shards, one near 0 gives each group to few clients. Every client gets at
    least one shopper where there are enough.

    Args:
        groups: (N,) group of each shopper, such as the category watched most.
        clients: Number of clients.
        alpha: Concentration α.
        seed: Seed of the draw.
    """
    groups, rng = np.asarray(groups), np.random.default_rng(seed)
    owners = np.empty(len(groups), np.int64)
    for group in np.unique(groups):
        rows = rng.permutation(np.flatnonzero(groups == group))
        ends = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * len(rows)).astype(np.int64)
        owners[rows] = np.minimum(np.searchsorted(ends, np.arange(len(rows)), side="right"), clients - 1)
    for client in range(clients):
        counts = np.bincount(owners, minlength=clients)
        if not counts[client] and counts.max() > 1:
            owners[np.flatnonzero(owners == counts.argmax())[0]] = client
    return owners
