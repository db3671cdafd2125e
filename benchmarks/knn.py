"""Item-KNN's speed and memory beside `implicit` and plain loops, on synthetic shops of several shapes.

Run as `OPENBLAS_NUM_THREADS=1 python benchmarks/knn.py`, or with `--shapes sparse bot`. Rounds are
interleaved, so that whatever else the machine does falls on all sides; medians of CPU time and of each
round's ratio are printed (above 1: vrec is faster). Memory is measured in processes of their own: of fits
with given settings, and of one that chooses them first. `--recommend` measures recommending instead.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from harness import interleaved_times, number_parser
from implicit.nearest_neighbours import CosineRecommender
from scipy import sparse

from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.retrieval.config import ItemKnnConfig, SimilarityConfig, WeightingKind
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.models.item_knn import ItemKnn, similar_videos, video_similarity_task
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.similarity import SimilarityFormula
from vrec.retrieval.similarity_choice import choose_video_formula

TOP = 20
SHAPES = {
    "dense": (100_000, 20_000, 5_000_000),
    "sparse": (59_000, 50_000, 1_000_000),
    "bot": (59_000, 50_000, 1_000_000),
    "watched by all": (59_000, 50_000, 1_000_000),
    "10k videos": (59_000, 10_000, 1_000_000),
    "30k videos": (59_000, 30_000, 1_000_000),
    "large": (1_000_000, 500_000, 10_000_000),
}
"""Users, videos and interactions. A bot has 10,000 videos more, and in another shop all have one video."""
BOT_VIDEOS = 10_000


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


def make_shape(name: str) -> Matrix:
    """Draw the shop of a shape."""
    matrix = make_shop(*SHAPES[name])
    if name == "bot":
        bot = np.zeros((1, matrix.shape[1]), np.float32)
        bot[0, np.random.default_rng(1).choice(matrix.shape[1], BOT_VIDEOS, replace=False)] = 1
        matrix = sparse.vstack([matrix, sparse.csr_matrix(bot)], format="csr")
    if name == "watched by all":
        all_watched = sparse.csr_matrix(np.ones((matrix.shape[0], 1), np.float32))
        matrix = sparse.hstack([all_watched, matrix[:, 1:]], format="csr")
    return sparse.csr_matrix(matrix)


def fit_loop(matrix: Matrix, neighbours: int) -> list[np.ndarray]:
    """Find the nearest videos by a loop over SciPy's products of one video's row and the matrix."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel())
    lengths[lengths == 0] = np.inf
    unit = sparse.csr_matrix(matrix @ sparse.diags(1 / lengths, dtype=np.float32))
    rows = unit.T.tocsr()
    found = []
    for video in range(matrix.shape[1]):
        row = rows[video] @ unit
        row.data[row.indices == video] = 0
        best = np.argsort(-row.data, kind="stable")[:neighbours]
        found.append(row.indices[best])
    return found


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
    """Print each side's median CPU seconds, and its ratio to the first side's."""
    times = interleaved_times(sides, rounds)
    taken = {name: [cpu for _, cpu in each] for name, each in times.items()}
    first = next(iter(sides))
    for name, seconds in taken.items():
        # Of each round's pair, since a busy minute slows both.
        ratio = statistics.median(b / a for a, b in zip(taken[first], seconds, strict=True))
        print(f"  {name:32} {statistics.median(seconds):7.2f} s   {ratio:5.2f} × {first}", flush=True)


def most_resident() -> int:
    """Return the peak resident bytes of this process; Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def measure_memory(path: Path, weighting: WeightingKind | Literal["chosen"], neighbours: int) -> None:
    """Print the peak memory of a fit above that of the matrix; run in a process of its own."""
    matrix = sparse.csr_matrix(sparse.load_npz(path))
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    # Libraries that the first fit loads are not counted.
    ItemKnn(ItemKnnConfig(neighbours=neighbours)).fit(to_table(make_shop(200, 100, 2000)))
    before = most_resident()
    if weighting == "chosen":
        config = SimilarityConfig(neighbours=neighbours)
        formula = choose_video_formula(matrix, config, video_similarity_task)
    else:
        formula = SimilarityFormula(neighbours=neighbours, weighting=weighting)
    found = similar_videos(matrix, formula)
    grown = most_resident() - before
    results = found.data.nbytes + found.indices.nbytes + found.indptr.nbytes
    print(
        f"  memory, {weighting:6} matrix {size / 1e6:.0f} MB, results {results / 1e6:.0f} MB, process grew "
        f"{grown / 1e6:.0f} MB: {(grown - results) / size:.2f} × the matrix besides the results"
    )


def measure_fit(name: str, rounds: int, neighbours: int, *, loops: bool) -> None:
    """Print the CPU time and memory of fits in one shape."""
    matrix = make_shape(name)
    lengths = np.diff(matrix.indptr).astype(float)
    print(
        f"{name}: {matrix.shape[0]:,} users × {matrix.shape[1]:,} videos, {matrix.nnz:,} interactions, "
        f"{(lengths**2).sum() / 1e6:.0f}M co-occurrences",
        flush=True,
    )
    # implicit counts a video itself among its neighbours.
    oracle = CosineRecommender(K=neighbours + 1)
    formula = SimilarityFormula(neighbours=neighbours)

    def choose() -> Matrix:
        config = SimilarityConfig(neighbours=neighbours)
        return similar_videos(matrix, choose_video_formula(matrix, config, video_similarity_task))

    sides: dict[str, Callable[[], object]] = {
        "vrec": lambda: similar_videos(matrix, formula),
        "implicit": lambda: oracle.fit(matrix, show_progress=False),
        "vrec, settings chosen": choose,
    }
    if loops:
        sides["loop of SciPy products"] = lambda: fit_loop(matrix, neighbours)
    race(rounds, sides)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.npz"
        sparse.save_npz(path, matrix, compressed=False)
        for weighting in ("none", "bm25", "chosen"):
            options = ["--memory", str(path), "--weighting", weighting, "--neighbours", str(neighbours)]
            subprocess.run([sys.executable, __file__, *options], check=True)


def measure_recommending(rounds: int, neighbours: int, scored: int) -> None:
    """Print the CPU time of recommending in the dense shape."""
    matrix = make_shape("dense")
    table = to_table(matrix)
    model = ItemKnn(ItemKnnConfig(neighbours=neighbours)).fit(table)
    users, names = range(scored), model.users.ids.slice(0, scored).to_pylist()
    print(f"recommend {TOP} to {scored:,} users")
    sides: dict[str, Callable[[], object]] = {
        "vrec": lambda: model.recommend(names, TOP),
        "loop of NumPy": lambda: loop(matrix, model.similarities, users, TOP),
        "loop of sparse products": lambda: product_loop(matrix, model.similarities, users, TOP),
    }
    race(rounds, sides)
    nearest = UserKnn(SimilarityConfig(neighbours=neighbours)).fit(table)
    begun = time.process_time()
    nearest.recommend(names[:1000], TOP)
    print(f"  user-KNN, 1,000 users: {time.process_time() - begun:.2f} s")


def main() -> None:
    parser = number_parser(__doc__, neighbours=100, rounds=5)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--loops", action="store_true", help="measure a loop of SciPy products too")
    parser.add_argument("--recommend", action="store_true", help="measure recommending instead")
    parser.add_argument("--scored", type=int, default=20_000, help="users to recommend to")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--weighting", default="none", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        measure_memory(given.memory, given.weighting, given.neighbours)
    elif given.recommend:
        measure_recommending(given.rounds, given.neighbours, given.scored)
    else:
        for name in given.shapes:
            measure_fit(name, given.rounds, given.neighbours, loops=given.loops)


if __name__ == "__main__":
    main()
