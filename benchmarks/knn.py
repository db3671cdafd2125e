"""Item-KNN's speed and memory beside `implicit` and a plain loop, on a synthetic shop.

Run as `OPENBLAS_NUM_THREADS=1 python benchmarks/knn.py`. Rounds are interleaved, so that whatever else the
machine does falls on both sides; medians and their ratios are printed (above 1: vrec is faster).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from harness import interleaved_times, number_parser
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse

from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.retrieval.config import ItemKnnConfig, SimilarityConfig
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.models.item_knn import ItemKnn, similar_videos
from vrec.retrieval.models.user_knn import UserKnn

TOP = 20


def make_shop(users: int, videos: int, interactions: int, seed: int = 0) -> Matrix:
    """Draw (users, videos) float32 weights from 1 to 4: power-law popularity, log-normal activity."""
    rng = np.random.default_rng(seed)
    popularity = (np.arange(videos) + 50.0) ** -0.9
    activity = rng.lognormal(0, 1, users)
    draws = int(interactions * 1.15)
    rows = rng.choice(users, draws, p=activity / activity.sum())
    columns = rng.permutation(videos)[rng.choice(videos, draws, p=popularity / popularity.sum())]
    cells = rng.permutation(np.unique(rows.astype(np.int64) * videos + columns))[:interactions]
    cells.sort()
    weights = rng.integers(1, 5, len(cells)).astype(np.float32)
    return sparse.csr_matrix((weights, np.divmod(cells, videos)), shape=(users, videos))


def to_table(matrix: Matrix) -> pa.Table:
    """Return INTERACTIONS with ids in the order of the matrix."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    names = [pa.array([f"{n:07d}" for n in range(size)]) for size in matrix.shape]
    columns = [
        names[0].take(pa.array(rows)),
        names[1].take(pa.array(matrix.indices)),
        pa.array(matrix.data),
        pa.array(np.zeros(matrix.nnz, np.int64)).cast(TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def loop(matrix: Matrix, similarities: Matrix, users: range, top: int) -> list[np.ndarray]:
    """Recommend by a plain loop: per user a dense row of scores, seen videos masked, the best sorted."""
    found = []
    for user in users:
        start, end = matrix.indptr[user], matrix.indptr[user + 1]
        history = matrix.indices[start:end]
        scores = np.zeros(matrix.shape[1], np.float32)
        for video, weight in zip(history, matrix.data[start:end], strict=True):
            first, last = similarities.indptr[video], similarities.indptr[video + 1]
            scores[similarities.indices[first:last]] += weight * similarities.data[first:last]
        scores[history] = -np.inf
        best = np.argpartition(-scores, top)[:top]
        found.append(best[np.argsort(-scores[best])])
    return found


def product_loop(matrix: Matrix, similarities: Matrix, users: range, top: int) -> list[np.ndarray]:
    """Recommend by the same loop, with SciPy's sparse product for the scores of each user."""
    found = []
    for user in users:
        row = matrix[user]
        scores = (row @ similarities).toarray().ravel()
        scores[row.indices] = -np.inf
        best = np.argpartition(-scores, top)[:top]
        found.append(best[np.argsort(-scores[best])])
    return found


def race(rounds: int, sides: dict[str, Callable[[], object]]) -> None:
    """Print each side's median seconds, and its ratio to the first side's."""
    times = interleaved_times(sides, rounds)
    taken = {name: [wall for wall, _ in each] for name, each in times.items()}
    first = next(iter(sides))
    for name, seconds in taken.items():
        # Of each round's pair, since a busy minute slows both.
        ratio = statistics.median(b / a for a, b in zip(taken[first], seconds, strict=True))
        print(f"  {name:32} {statistics.median(seconds):7.2f} s   {ratio:5.2f} × {first}")


def most_resident() -> int:
    """Return the peak resident bytes of this process; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def measure_memory(path: Path, weighting: str, neighbours: int) -> None:
    """Print the peak memory of a fit above that of the matrix; run in a process of its own."""
    matrix = sparse.csr_matrix(sparse.load_npz(path))
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    config = ItemKnnConfig(neighbours=neighbours, weighting=weighting)  # type: ignore[arg-type]
    before = most_resident()
    tracemalloc.start()
    found = similar_videos(matrix, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    grown = most_resident() - before
    results = found.data.nbytes + found.indices.nbytes + found.indptr.nbytes
    print(
        f"  {weighting:6} matrix {size / 1e6:.0f} MB, results {results / 1e6:.0f} MB, "
        f"allocated {peak / 1e6:.0f} MB, process grew {grown / 1e6:.0f} MB: "
        f"{(peak - results) / size:.2f} and {(grown - results) / size:.2f} × the matrix besides the results"
    )


def main() -> None:
    parser = number_parser(
        __doc__, users=100_000, videos=20_000, interactions=5_000_000, neighbours=100, rounds=5
    )
    parser.add_argument("--scored", type=int, default=20_000, help="users to recommend to")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--weighting", default="none", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        measure_memory(given.memory, given.weighting, given.neighbours)
        return
    matrix = make_shop(given.users, given.videos, given.interactions)
    config = ItemKnnConfig(neighbours=given.neighbours)
    print(f"fit, {matrix.shape[0]:,} users × {matrix.shape[1]:,} videos, {matrix.nnz:,} interactions")
    # implicit counts a video itself among its neighbours.
    oracle = CosineRecommender(K=given.neighbours + 1)
    sides: dict[str, Callable[[], object]] = {
        "vrec": lambda: similar_videos(matrix, config),
        "implicit": lambda: oracle.fit(matrix, show_progress=False),
    }
    race(given.rounds, sides)

    table = to_table(matrix)
    model = ItemKnn(config).fit(table)
    users, names = range(given.scored), model.users.ids.slice(0, given.scored).to_pylist()
    print(f"recommend {TOP} to {given.scored:,} users")
    sides = {
        "vrec": lambda: model.recommend(names, TOP),
        "loop of NumPy": lambda: loop(matrix, model.similarities, users, TOP),
        "loop of sparse products": lambda: product_loop(matrix, model.similarities, users, TOP),
    }
    race(max(1, given.rounds // 2), sides)
    nearest = UserKnn(SimilarityConfig(neighbours=given.neighbours)).fit(table)
    begun = time.perf_counter()
    nearest.recommend(names[:1000], TOP)
    print(f"  user-KNN, 1,000 users: {time.perf_counter() - begun:.2f} s")

    print("memory of a fit")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.npz"
        sparse.save_npz(path, matrix, compressed=False)
        for weighting in ("none", "bm25"):
            options = ["--memory", str(path), "--weighting", weighting, "--neighbours", str(given.neighbours)]
            subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
