"""Vector indexes by inner product: exact, or approximate from a size on; always exact under a filter."""

import io
from collections.abc import Sequence
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import ModelArtifact, blob_path, read_artifact, write_artifact
from vrec.core.blocks import MapBlocks, equal_blocks, map_in_turn
from vrec.core.errors import FitError
from vrec.core.tables import StorageFolder
from vrec.core.types import Vectors
from vrec.retrieval.index.codes import QuantizedVectors
from vrec.retrieval.index.config import Float32StorageConfig, IndexConfig
from vrec.retrieval.index.exact_search import (
    SPARE,
    RowIndices,
    enable_blas_search,
    exact_candidates,
    exact_topk,
    rescore,
)
from vrec.retrieval.index.probing import required_probes
from vrec.retrieval.index.validate import checked_queries, checked_vectors

FILL_ROWS = 65_536
"""Vectors that are put into the lists at once."""
SearchResult = tuple[list[list[str]], list[list[float]]]
KIND = "index"
VECTORS, LISTS, CODES = "vectors.npy", "lists.faiss", "codes.faiss"
_VECTORS_PER_RESULT = 32
"""Minimum number of vectors read per result: a large k needs more lists than `probes`."""

_MAX_LISTS_SHARE = 1 / 6
"""Share of the lists from which on exact search is faster (`benchmarks/index_curve.py`)."""


class ExactIndex:
    """VectorIndex for a few thousand vectors by one float64 product; the reference for other indexes."""

    def __init__(self) -> None:
        self._rows: dict[str, npt.NDArray[np.float32]] = {}

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace vectors; see `VectorIndex`."""
        dim = len(next(iter(self._rows.values()))) if self._rows else None
        self._rows.update(zip(ids, checked_vectors(ids, vectors, dim).copy(), strict=True))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors; see `VectorIndex`."""
        for name in ids:
            self._rows.pop(name, None)

    def search(self, queries: Vectors, k: int, allowed: Sequence[str] | None = None) -> SearchResult:
        """Return the k nearest vectors of each query; see `VectorIndex`."""
        names = sorted(self._rows if allowed is None else self._rows.keys() & set(allowed))
        dim = len(next(iter(self._rows.values()))) if self._rows else None
        queries = checked_queries(queries, k, dim)
        if not names:
            return [[] for _ in queries], [[] for _ in queries]
        matrix = np.stack([self._rows[name] for name in names])
        # One row at a time and in float64, so that equal vectors have equal scores in any position.
        scores = np.einsum("qd,nd->qn", queries.astype(np.float64), matrix.astype(np.float64))
        scores = scores.astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        return [[names[place] for place in row] for row in order], best.tolist()


class FaissIndex:
    """VectorIndex for catalogs of any size, built on faiss.

    Up to `exact_up_to` vectors every search is exact. With more, searches use faiss's inverted lists, as many
    as `min_recall` needs, except those with `allowed`, which are exact at any size: a product with the
    allowed vectors alone. Vectors without clusters need so many lists that all searches stay exact. Vectors
    that must never be returned, such as those of sold-out videos, should be removed instead of filtered out
    by every search.

    With storage `float32` the lists hold 8-bit vectors (IVF, SQ8), the best `rerank` × k are scored again by
    the float32 vectors, which are stored as well, and scores are always those of the added vectors: 4 bytes
    per dimension, with lists 5, and 8 more per vector.

    With any other storage, only float16 numbers or codes are stored (see `QuantizedVectors`), with lists and
    without: exactness, filters and scores refer to the compressed vectors, and products are those of the
    uncompressed query with them. A vector takes 2 bytes per dimension with `float16`, bits / 8 with `scalar`,
    1 / `dims` with `product`, and with lists 16 more.

    An id takes about 150 bytes with any storage. Searches may run concurrently; `add` and `remove` may not
    run concurrently with anything: fill another index and swap it in.
    """

    def __init__(self, config: IndexConfig | None = None) -> None:
        self.config = config if config is not None else IndexConfig()
        self._ids: list[str] = []
        self._slots: dict[str, int] = {}
        self._vectors = np.empty((0, 0), np.float32)
        self._longest = 0.0
        self._lists: Any = None
        self._trained_on = 0
        self._required_probes = 0
        self._read_only = False
        storage = self.config.storage
        self._codes = (
            None if isinstance(storage, Float32StorageConfig) else QuantizedVectors(self.config, storage)
        )

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dim(self) -> int | None:
        """Length of the vectors; None until the first are added."""
        return (self._vectors.shape[1] or None) if self._codes is None else self._codes.dim

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors or codes and of the lists, as `save` writes them, without ids."""
        faiss_index = self._lists if self._codes is None else self._codes.index
        return len(self) * self._vectors.shape[1] * 4 + (
            0 if faiss_index is None else _serialize(faiss_index).nbytes
        )

    def add(self, ids: Sequence[str], vectors: Vectors, map_blocks: MapBlocks = map_in_turn) -> None:
        """Add or replace vectors, see `VectorIndex`, and train the lists when necessary.

        The lists are trained on a sample, and with storage `float32` filled by blocks of vectors, which
        `map_blocks` may run elsewhere.
        """
        self._check_writable()
        ids = list(ids)
        rows = checked_vectors(ids, vectors, self.dim)
        if not ids:
            return
        if self._codes is not None:
            self._codes.check(ids, rows)
        replaced = [slot for name in ids if (slot := self._slots.get(name)) is not None]
        for name in ids:
            if name not in self._slots:
                self._slots[name] = len(self._ids)
                self._ids.append(name)
        slots = np.array([self._slots[name] for name in ids], np.int64)
        if self._codes is not None:
            self._codes.put(slots, rows)
            return
        self._reserve(len(self._ids), rows.shape[1])
        self._vectors[slots] = rows
        self._longest = max(self._longest, float(np.linalg.norm(rows, axis=1).max()))
        if len(self) > max(self.config.exact_up_to, self._trained_on * self.config.retrain_growth):
            self._train(map_blocks)
        elif self._lists is not None:
            self._remove_slots(replaced)
            self._lists.add_with_ids(rows, slots)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove vectors, see `VectorIndex`; below half of `exact_up_to` the search is exact again."""
        self._check_writable()
        removed = [slot for name in dict.fromkeys(ids) if (slot := self._slots.pop(name, None)) is not None]
        if not removed:
            return
        count = len(self) - len(removed)
        # Slots stay contiguous: the rows at the end move into the slots that became free.
        holes = [slot for slot in removed if slot < count]
        removed_set = set(removed)
        moved = [slot for slot in range(count, len(self)) if slot not in removed_set]
        for slot, old in zip(holes, moved, strict=True):
            self._ids[slot] = self._ids[old]
            self._slots[self._ids[slot]] = slot
        del self._ids[count:]
        if self._codes is not None:
            self._codes.compact(count, holes, moved)
            return
        self._vectors[holes] = self._vectors[moved]
        if self._lists is None:
            return
        if count * 2 < self.config.exact_up_to:
            self._lists, self._trained_on = None, 0
            return
        self._remove_slots([*removed, *moved])
        if holes:
            self._lists.add_with_ids(self._vectors[holes], np.array(holes, np.int64))

    def search(self, queries: Vectors, k: int, allowed: Sequence[str] | None = None) -> SearchResult:
        """Return the k nearest vectors of each query; see `VectorIndex`."""
        queries = checked_queries(queries, k, self.dim)
        allowed_slots = None
        if allowed is not None:
            slots = {slot for name in allowed if (slot := self._slots.get(name)) is not None}
            allowed_slots = np.array(sorted(slots), np.int64)
        total = len(self) if allowed_slots is None else len(allowed_slots)
        if not total or not len(queries):
            return [[] for _ in queries], [[] for _ in queries]
        k, codes = min(k, total), self._codes
        vectors = self._vectors[: len(self)] if codes is None else codes
        trained_on = self._trained_on if codes is None else codes.trained_on
        exact = allowed_slots is not None or not trained_on or self._exact_is_faster
        if codes is not None and allowed_slots is None:
            candidates = codes.candidates(queries, k, self._probes(k))
        elif exact:
            candidates = exact_candidates(queries, vectors, k, allowed_slots)
        else:
            candidates = self._search_lists(queries, k)
        scores = rescore(queries, vectors, candidates)
        longest = self._longest if codes is None else codes.longest
        # Twice the maximum error of a float32 product: two scores that are closer may be in the wrong order.
        slack = np.linalg.norm(queries, axis=1) * np.float32(2 * queries.shape[1] * 2.0**-23 * longest)
        return exact_topk(
            queries,
            vectors,
            candidates,
            scores,
            k=k,
            slack=slack,
            exact=exact,
            allowed=allowed_slots,
            ids=self._ids,
        )

    @property
    def _exact_is_faster(self) -> bool:
        """True where the recall wanted needs so many lists that exact search takes less time."""
        if self._codes is not None or self._lists is None:
            return False
        return self._required_probes > max(self.config.probes, self._lists.nlist * _MAX_LISTS_SHARE)

    def _probes(self, k: int) -> int:
        faiss_index = self._lists if self._codes is None else self._codes.index
        lists = getattr(faiss_index, "nlist", 1)
        required = self._required_probes if self._codes is None else self._codes.probes
        return min(lists, max(self.config.probes, required, -(-_VECTORS_PER_RESULT * k * lists // len(self))))

    def _search_lists(self, queries: Vectors, k: int) -> RowIndices:
        wanted = min(k * self.config.rerank + SPARE, len(self))
        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = self._probes(k)
        return self._lists.search(queries, wanted, params=parameters)[1]

    def part(self, ids: Sequence[str]) -> Self:
        """Return an index of those of some videos that this one has, in their order.

        Float32 vectors keep this index's lists and number of probes: together, parts find at least what it
        finds. Compressed vectors are compressed again.
        """
        known = [name for name in ids if name in self._slots]
        slots = np.array([self._slots[name] for name in known], np.int64)
        other = type(self)(self.config)
        if self._codes is not None:
            other.add(known, self._codes[slots])
            return other
        other._ids, other._slots = known, {name: slot for slot, name in enumerate(known)}
        other._vectors, other._longest = self._vectors[slots], self._longest
        other._trained_on, other._required_probes = self._trained_on, self._required_probes
        if self._lists is not None:
            other._lists = faiss.clone_index(self._lists)
            other._lists.reset()
            other._lists.add_with_ids(other._vectors, np.arange(len(known), dtype=np.int64))
        return other

    def save(self, uri: str) -> None:
        """Write the index as a folder: ids, and float32 vectors and lists, or codes in their lists."""
        blobs: dict[str, bytes] = {}
        trained_on, longest, faiss_index = self._trained_on, self._longest, self._lists
        probes = self._required_probes
        if self._codes is not None:
            trained_on, longest, probes = self._codes.trained_on, self._codes.longest, self._codes.probes
            faiss_index = self._codes.index
        else:
            vectors = io.BytesIO()
            np.save(vectors, self._vectors[: len(self)], allow_pickle=False)
            blobs[VECTORS] = vectors.getvalue()
        if faiss_index is not None:
            blobs[LISTS if self._codes is None else CODES] = _serialize(faiss_index).tobytes()
        numbers = {"trained_on": trained_on, "longest": longest, "probes": probes}
        state = {name: np.array(number) for name, number in numbers.items()}
        tables = {"ids": pa.table({"id": pa.array(self._ids, pa.string())})}
        data = {"vectors": len(self), "dim": self.dim}
        write_artifact(
            uri, ModelArtifact(KIND, self.config.model_dump(mode="json"), state, tables, blobs, data)
        )

    @classmethod
    def load(cls, uri: str, *, mmap: bool = False) -> Self:
        """Load the index that `save` wrote; searches give the same results.

        Args:
            uri: The folder.
            mmap: Whether to map the vectors and lists of a local folder: processes on one machine share them,
                only what is searched is read, their digests are not checked, and the index cannot be changed.

        Raises:
            ModelError: The folder is missing, damaged or of another kind.
        """
        mapped = mmap and StorageFolder(uri).local
        artifact = read_artifact(uri, KIND, blobs=not mapped)
        index = cls(IndexConfig.model_validate(artifact.config))
        index._ids = artifact.tables["ids"].column("id").to_pylist()
        index._slots = {name: slot for slot, name in enumerate(index._ids)}
        index._read_only = mapped
        trained_on, longest = int(artifact.arrays["trained_on"]), float(artifact.arrays["longest"])
        probes = int(artifact.arrays["probes"]) if "probes" in artifact.arrays else 0
        if index._codes is not None:
            index._codes.trained_on, index._codes.longest, index._codes.probes = trained_on, longest, probes
            if artifact.data["dim"] is not None:
                index._codes.index = _deserialize(uri, CODES, artifact)
            return index
        index._trained_on, index._longest, index._required_probes = trained_on, longest, probes
        if mapped:
            index._vectors = np.load(str(blob_path(uri, VECTORS)), mmap_mode="r", allow_pickle=False)
        else:
            index._vectors = np.load(io.BytesIO(artifact.blobs[VECTORS]), allow_pickle=False)
        if trained_on:
            index._lists = _deserialize(uri, LISTS, artifact)
        return index

    def _reserve(self, count: int, dim: int) -> None:
        if count > len(self._vectors):
            larger = np.empty((max(count, len(self._vectors) * 3 // 2), dim), np.float32)
            larger[: len(self._vectors)] = self._vectors.reshape(len(self._vectors), dim)
            self._vectors = larger

    def _train(self, map_blocks: MapBlocks) -> None:
        enable_blas_search()
        count, dim = len(self), self._vectors.shape[1]
        vectors = self._vectors[:count]
        lists = min(self.config.lists or int(2 * count**0.5), count)
        drawn = np.random.default_rng(self.config.seed).permutation(count)
        drawn = np.sort(drawn[: lists * self.config.training_per_list])
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim), dim, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = self.config.seed + 1
        index.cp.max_points_per_centroid = self.config.training_per_list
        index.cp.min_points_per_centroid = 1
        index.train(vectors[drawn])
        empty = _serialize(index)
        for filled in map_blocks(_fill_block, (empty, vectors), equal_blocks(count, FILL_ROWS)):
            # In the order of the blocks, so that each list is as one process fills it.
            index.merge_from(faiss.deserialize_index(np.array(filled)), 0)
        self._lists, self._trained_on = index, count
        self._required_probes = required_probes(
            index.quantizer,
            vectors.__getitem__,
            lambda queries, k: faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)[1],
            count,
            self.config,
        )

    def _remove_slots(self, slots: Sequence[int]) -> None:
        if slots:
            self._lists.remove_ids(faiss.IDSelectorBatch(np.array(slots, np.int64)))

    def _check_writable(self) -> None:
        if self._read_only:
            raise FitError("the index is mapped from its file", fix="load it with mmap=False to change it")


def _fill_block(shared: tuple[npt.NDArray[np.uint8], Vectors], block: range) -> npt.NDArray[np.uint8]:
    """Return empty lists, filled with the vectors of a block."""
    empty, vectors = shared
    enable_blas_search()
    index = faiss.deserialize_index(np.array(empty))
    rows = np.ascontiguousarray(vectors[block.start : block.stop])
    index.add_with_ids(rows, np.arange(block.start, block.stop, dtype=np.int64))
    return _serialize(index)


def _serialize(index: Any) -> npt.NDArray[np.uint8]:
    return faiss.serialize_index(index)


def _deserialize(uri: str, name: str, artifact: ModelArtifact) -> Any:
    """Return the faiss index in a blob, mapped from its file if the blob was not read."""
    if name in artifact.blobs:
        return faiss.deserialize_index(np.frombuffer(artifact.blobs[name], np.uint8))
    read: Any = faiss.read_index
    return read(blob_path(uri, name), faiss.IO_FLAG_MMAP)
