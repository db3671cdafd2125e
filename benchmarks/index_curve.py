"""Recall and speed of the approximate index over sizes and numbers of clusters.

For each size and number of clusters (1 means no clusters at all) prints recall@10 and queries per second with
16 lists per query, and with as many as the index takes by itself (`min_recall`), beside faiss's exact search
with BLAS on the same threads.

    python benchmarks/index_curve.py [--vectors 50000,100000,1000000] [--clusters 1,100,1000,10000]
"""

import statistics
import time
from collections.abc import Callable

import faiss
import numpy as np
from harness import number_parser
from index import K, clustered, flat_search, query_rates, recall

from vrec.core.types import Vectors
from vrec.retrieval.index.index import FaissIndex, IndexConfig


def rates_of(
    systems: dict[str, Callable[[Vectors], object]], queries: Vectors, rounds: int
) -> dict[str, float]:
    """Return queries per second of each system, medians over interleaved rounds."""
    rates = query_rates(systems, queries, rounds)
    return {name: statistics.median(values) for name, values in rates.items()}


def measure(count: int, clusters: int, dim: int, queries: int, rounds: int) -> str:
    """Return a table's row for one size and number of clusters."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((clusters, dim), dtype=np.float32) * (clusters > 1)
    vectors, asked = clustered(count, dim, centers, 1), clustered(queries, dim, centers, 2)
    begun = time.perf_counter()
    # From 50,000 vectors on searches are approximate; "50k" is measured as if it were just above.
    index = FaissIndex(IndexConfig(exact_up_to=min(50_000, count - 1)))
    index.add([str(number) for number in range(count)], vectors)
    built = time.perf_counter() - begun
    flat = faiss.IndexFlatIP(dim)
    flat.add(vectors)
    true = flat_search(flat, asked, blas=True)
    required = index._required_probes
    lists = "all, exactly" if index._exact_is_faster else f"{index._probes(K)} of {index._lists.nlist:,}"

    def search(queries: Vectors, probes: int) -> list[list[str]]:
        index._required_probes = probes
        return index.search(queries, K)[0]

    few, found = (recall(search(asked, probes), true) for probes in (16, required))
    rates = rates_of(
        {
            "few": lambda q: search(q, 16),
            "ours": lambda q: search(q, required),
            "flat": lambda q: flat_search(flat, q, blas=True),
        },
        asked,
        rounds,
    )
    return (
        f"| {count:,} | {clusters:,} | {few:.4f} | {rates['few'] / rates['flat']:.1f} × "
        f"| {lists} | **{found:.4f}** | {rates['ours']:,.0f} "
        f"| {rates['ours'] / rates['flat']:.1f} × | {built:.0f} s |"
    )


def main() -> None:
    parser = number_parser(__doc__, dim=64, queries=300, rounds=3)
    parser.add_argument("--vectors", default="50000,100000,1000000")
    parser.add_argument("--clusters", default="1,100,1000,10000")
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    print("| vectors | clusters | recall@10, 16 lists | against exact | lists | recall@10 | queries/s "
          "| against exact | built |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for count in map(int, arguments.vectors.split(",")):
        for clusters in map(int, arguments.clusters.split(",")):
            print(
                measure(count, clusters, arguments.dim, arguments.queries, arguments.rounds),
                flush=True,
            )


if __name__ == "__main__":
    main()
