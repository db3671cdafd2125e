"""Seconds and peak memory for every user's row of W = (U Uᵀ) C V, in a process of its own.

Prints both for the modes whose time grows with users and not with their square, the memory beside that of
U, V and W themselves.

    python benchmarks/propagate.py [--users 1000000] [--videos 1000000] [--dim 64] [--rounds 3]
"""

import json
import multiprocessing
import resource
import statistics
import sys
import time

import numpy as np
from harness import number_parser
from threadpoolctl import threadpool_limits

from vrec.core.types import Vectors
from vrec.retrieval.models.propagate import BLOCK_ROWS, GramSums, propagate_by_degree, propagate_plain

MODES = {"plain": propagate_plain, "degree": propagate_by_degree}


def drawn(count: int, dim: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


def run(users: int, videos: int, dim: int, mode: str) -> tuple[float, float, float]:
    """Return seconds of the sums and W, peak MiB above the start, and MiB of U, V and W alone."""
    with threadpool_limits(1):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tastes, vectors = drawn(users, dim, 0), drawn(videos, dim, 1)
        begun = time.perf_counter()
        sums, video_sums = GramSums.from_all_rows(tastes), GramSums.from_all_rows(vectors)
        refreshed = np.empty_like(tastes)
        for start in range(0, users, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            refreshed[rows] = MODES[mode](tastes[rows], sums, video_sums)
        took = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    arrays = (tastes.nbytes + vectors.nbytes + refreshed.nbytes) / 2**20
    return took, peak / 1024, arrays


def main() -> None:
    parser = number_parser(__doc__, users=1_000_000, videos=1_000_000, dim=64, rounds=3)
    arguments = parser.parse_args()
    size = (arguments.users, arguments.videos, arguments.dim)
    context = multiprocessing.get_context("spawn")
    found: dict[str, list[tuple[float, float, float]]] = {mode: [] for mode in MODES}
    for number in range(arguments.rounds):
        for mode in list(MODES) if number % 2 == 0 else reversed(MODES):
            # A process each: the peak of one run must not hide that of the next.
            with context.Pool(1) as pool:
                found[mode].append(pool.apply(run, (*size, mode)))
    for mode, runs in found.items():
        took, peak, arrays = (statistics.median(column) for column in zip(*runs, strict=True))
        print(
            f"{mode:8} {took:6.2f} s for W, one thread   peak {peak:,.0f} MiB, {peak / arrays:.2f}× "
            f"the {arrays:,.0f} MiB of U, V and W"
        )
    json.dump(found, sys.stdout)
    print()


if __name__ == "__main__":
    main()
