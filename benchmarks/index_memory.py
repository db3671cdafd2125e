"""Bytes per vector, recall@10 and queries per second of each storage of the index, side by side.

    python benchmarks/index_memory.py clusters [--vectors 300000] [--dim 64] [--queries 500]
    python benchmarks/index_memory.py titles FOLDER [--kept FILE.npy] [--exact-up-to 50000]

`clusters`: those of benchmarks/index.py. `titles`: MicroLens-50k's, embedded by the default text encoder,
1,000 of them as queries; FOLDER holds `microlens50k/`, and the vectors are kept in FILE, or read from it.

Recall is against exact search among the float32 vectors, and lost is what the default index finds more. Bytes
are those of vectors, codes and lists; with ids, what a process grows by when it loads the saved index.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from harness import number_parser
from index import K, clustered, flat_search, recall, rounds_of

from vrec.core.types import Clip, Vectors
from vrec.encoders.text import TextEncoder, TextEncoderConfig, clip_text
from vrec.events.datasets import microlens_50k
from vrec.retrieval.index.config import (
    Float16StorageConfig,
    Float32StorageConfig,
    ProductQuantizerConfig,
    ScalarQuantizerConfig,
    StorageConfig,
)
from vrec.retrieval.index.index import FaissIndex, IndexConfig

HELD_OUT = 1000
STORAGES: dict[str, StorageConfig] = {
    "float32, the default": Float32StorageConfig(),
    "float16": Float16StorageConfig(),
    "scalar, 8 bits": ScalarQuantizerConfig(),
    "scalar, 6 bits": ScalarQuantizerConfig(bits=6),
    "scalar, 4 bits": ScalarQuantizerConfig(bits=4),
    "product, 2 dims": ProductQuantizerConfig(),
}
RESIDENT = """
import gc, sys
from vrec.retrieval.index.index import FaissIndex
def resident():
    gc.collect()
    with open("/proc/self/statm") as found:
        return int(found.read().split()[1]) * 4096
FaissIndex.load(sys.argv[2])
before = resident()
index = FaissIndex.load(sys.argv[1])
print(resident() - before)
"""


def resident_bytes(index: FaissIndex) -> int:
    """Return the bytes that a process grows by when it loads the index, after an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(f"{folder}/index")
        FaissIndex(index.config).save(f"{folder}/empty")
        command = [sys.executable, "-c", RESIDENT, f"{folder}/index", f"{folder}/empty"]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def title_vectors(folder: str, kept: str | None) -> Vectors:
    """Return the (N, dim) embeddings of all titles, in random order."""
    if kept is not None and Path(kept).exists():
        vectors = np.load(kept, allow_pickle=False)
    else:
        found = microlens_50k(folder).videos
        assert found is not None
        texts = [clip_text(title) for title in found["title"].to_pylist()]
        clips = [Clip(str(number), text=text) for number, text in enumerate(texts) if text is not None]
        vectors = TextEncoder(TextEncoderConfig()).encode(clips)
        if kept is not None:
            np.save(kept, vectors, allow_pickle=False)
    return vectors[np.random.default_rng(0).permutation(len(vectors))]


def compare(vectors: Vectors, queries: Vectors, rounds: int, exact_up_to: int) -> None:
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(np.ascontiguousarray(vectors))
    true = flat_search(flat, queries, blas=True)
    ids = [str(number) for number in range(len(vectors))]
    count, dim = vectors.shape
    print(f"{count:,} × {dim}, {len(queries)} queries, exact up to {exact_up_to:,}")
    print("  storage                 bytes   smaller   with ids   smaller   recall@10   lost, points   built")
    indexes: dict[str, FaissIndex] = {}
    first: tuple[float, float, float] | None = None
    for name, storage in STORAGES.items():
        index = FaissIndex(IndexConfig(storage=storage, exact_up_to=exact_up_to))
        begun = time.perf_counter()
        index.add(ids, vectors)
        built = time.perf_counter() - begun
        each, held = index.nbytes / count, resident_bytes(index) / count
        found = recall(index.search(queries, K)[0], true)
        first = first or (each, held, found)
        print(
            f"  {name:20} {each:8,.1f} {first[0] / each:8.2f}× {held:10,.1f} {first[1] / held:8.2f}× "
            f"{found:11.4f} {(first[2] - found) * 100:14.2f} {built:6.1f}s",
            flush=True,
        )
        indexes[name] = index
    systems: dict[str, Callable[[Vectors], object]] = {
        name: (lambda q, index=index: [index.search(one[None], K) for one in q])
        for name, index in indexes.items()
    }
    rounds_of(systems, queries[:200], rounds)


def main() -> None:
    parser = number_parser(__doc__, vectors=300_000, dim=64, queries=500, rounds=5)
    parser.add_argument("data", choices=["clusters", "titles"])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--kept")
    parser.add_argument("--exact-up-to", type=int, default=IndexConfig().exact_up_to)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(1)
    if arguments.data == "titles":
        if arguments.folder is None:
            parser.error("titles needs the folder that holds microlens50k/")
        rows = title_vectors(arguments.folder, arguments.kept)
        vectors, queries = rows[HELD_OUT:], rows[:HELD_OUT]
    else:
        centers = np.random.default_rng(0).standard_normal((1000, arguments.dim), dtype=np.float32)
        vectors = clustered(arguments.vectors, arguments.dim, centers, 1)
        queries = clustered(arguments.queries, arguments.dim, centers, 2)
    compare(vectors, queries, arguments.rounds, arguments.exact_up_to)


if __name__ == "__main__":
    main()
