"""Recall and speed of the approximate index, compared with faiss's exact search on the same threads.

Prints recall@10 and ratios of queries per second from interleaved rounds on clustered unit vectors, and
whether filtered searches are exact. faiss's Flat runs twice: as it comes, and with BLAS, which faiss 1.15
leaves off below 128,000 queries and which is the faster of the two.

    python benchmarks/index.py [--vectors 1000000] [--dim 64] [--queries 500] [--rounds 5]
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import faiss
import numpy as np
from harness import number_parser

from vrec.core.types import Vectors
from vrec.retrieval.index.index import FaissIndex, IndexConfig

K = 10


def clustered(count: int, dim: int, centers: Vectors, seed: int) -> Vectors:
    """Draw (count, dim) unit vectors around centers, about as far from them as these are apart."""
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(len(centers), size=count)]
    rows = rows + rng.standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def flat_search(flat: faiss.IndexFlatIP, queries: Vectors, *, blas: bool) -> list[list[int]]:
    faiss.cvar.distance_compute_blas_threshold = 20 if blas else 128_000
    faiss.cvar.distance_compute_blas_database_bs = 4096 if blas else 1024
    return flat.search(queries, K)[1].tolist()


def query_rates(
    systems: dict[str, Callable[[Vectors], object]], queries: Vectors, rounds: int
) -> dict[str, list[float]]:
    """Return queries per second of each system in interleaved rounds."""
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds):
        for name in list(systems) if number % 2 == 0 else reversed(systems):
            begun = time.perf_counter()
            systems[name](queries)
            rates[name].append(len(queries) / (time.perf_counter() - begun))
    return rates


def rounds_of(
    systems: dict[str, Callable[[Vectors], object]], queries: Vectors, rounds: int
) -> dict[str, float]:
    """Return queries per second of each system, medians over interleaved rounds."""
    rates = query_rates(systems, queries, rounds)
    ours = next(iter(systems))
    for name, values in rates.items():
        each = [mine / other for mine, other in zip(rates[ours], values, strict=True)]
        print(
            f"  {name:24} {statistics.median(values):10,.0f} queries/s   {ours} is "
            f"{statistics.median(each):.1f}× ({min(each):.1f} to {max(each):.1f} by round)"
        )
    return {name: statistics.median(values) for name, values in rates.items()}


def recall(found: list[list[str]], true: list[list[int]]) -> float:
    hits = [len({int(name) for name in row} & set(right)) for row, right in zip(found, true, strict=True)]
    return sum(hits) / (K * len(true))


def filtered(index: FaissIndex, vectors: Vectors, queries: Vectors) -> dict[str, float]:
    """Return milliseconds per query by the share of vectors allowed; fail if an answer is not exact."""
    found: dict[str, float] = {}
    for share in (0.0001, 0.01, 0.3, 0.95):
        keep = np.random.default_rng(7).random(len(vectors)) < share
        slots = np.flatnonzero(keep)
        allowed = [str(slot) for slot in slots]
        begun = time.perf_counter()
        ids, scores = index.search(queries, K, allowed=allowed)
        took = (time.perf_counter() - begun) / len(queries) * 1e3
        products = queries.astype(np.float64) @ vectors[slots].astype(np.float64).T
        best = -np.sort(-products, axis=1)[:, :K].astype(np.float32)
        assert np.array_equal(np.array(scores, np.float32), best), "a filtered search is not exact"
        assert all(keep[int(name)] for row in ids for name in row)
        print(f"  {len(slots):9,} allowed: {took:7.2f} ms a query, answers exact")
        found[str(share)] = took
    return found


def main() -> None:
    parser = number_parser(__doc__, vectors=1_000_000, dim=64, queries=500, rounds=5, threads=1)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(arguments.threads)
    centers = np.random.default_rng(0).standard_normal((1000, arguments.dim), dtype=np.float32)
    vectors = clustered(arguments.vectors, arguments.dim, centers, 1)
    queries = clustered(arguments.queries, arguments.dim, centers, 2)

    begun = time.perf_counter()
    index = FaissIndex(IndexConfig())
    index.add([str(number) for number in range(len(vectors))], vectors)
    built = time.perf_counter() - begun
    flat = faiss.IndexFlatIP(arguments.dim)
    flat.add(vectors)

    true = flat_search(flat, queries, blas=True)
    found = recall(index.search(queries, K)[0], true)
    print(f"{len(vectors):,} × {arguments.dim}, {arguments.threads} thread(s), built in {built:.0f} s")
    print(f"recall@{K}: {found:.4f}")
    systems: dict[str, Callable[[Vectors], object]] = {
        "vrec's index": lambda q: index.search(q, K),
        "faiss Flat with BLAS": lambda q: flat_search(flat, q, blas=True),
        "faiss Flat as it comes": lambda q: flat_search(flat, q, blas=False),
    }
    rates = rounds_of(systems, queries, arguments.rounds)
    filters = filtered(index, vectors, queries[:50])
    json.dump({"recall": found, "built_s": built, "queries_per_s": rates, "filtered_ms": filters}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
