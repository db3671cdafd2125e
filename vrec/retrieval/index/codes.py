"""Compressed storage of vectors as float16 or quantizer codes, flat or in inverted lists."""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from vrec.core.errors import FitError
from vrec.core.types import Vectors
from vrec.retrieval.index.config import CodesConfig, Float16StorageConfig, IndexConfig, ScalarQuantizerConfig
from vrec.retrieval.index.exact_search import BLOCK_ROWS, SPARE, RowIndices, enable_blas_search
from vrec.retrieval.index.probing import required_probes

MAX_SCALAR_TRAINING = 65_536
"""Maximum number of training vectors of scalar codes, drawn at random."""
TRAINING_PER_CENTROID = 64
"""Maximum number of training vectors of product codes per centroid, of which there are 256."""
MAX_FLOAT16 = 65_504
"""Greatest finite float16."""
_NO_MAP, _BY_SLOT = 0, 1
"""faiss's types of the map from slots to list entries; while there is a map, lists cannot be changed."""
_BITS = {
    4: faiss.ScalarQuantizer.QT_4bit,
    6: faiss.ScalarQuantizer.QT_6bit,
    8: faiss.ScalarQuantizer.QT_8bit,
}


class QuantizedVectors:
    """Compressed (N, dim) vectors by slot, 0 to N − 1, in one faiss index, flat or with lists.

    Vectors are float16 until there are `learn_from` of them. Then the quantizer is trained, once: later
    vectors use the same quantizer and lose precision if their distribution differs, so fill a new index when
    the encoder has changed. Moving vectors between slots and training lists again do not change codes, and an
    index that was emptied keeps its quantizer.

    `codes[slots]` are the decompressed vectors in these slots, float32.
    """

    def __init__(self, config: IndexConfig, storage: CodesConfig) -> None:
        self.config, self.storage = config, storage
        self.index: Any = None
        self.trained_on = 0
        """Number of vectors when the lists were trained; 0 without lists."""
        self.probes = 0
        """Lists that `min_recall` needs; 0 without lists."""
        self.longest = 0.0
        """Greatest norm that a stored vector has had."""

    def __len__(self) -> int:
        return 0 if self.index is None else self.index.ntotal

    @property
    def dim(self) -> int | None:
        """Length of the vectors; None until the first are put."""
        return None if self.index is None else self.index.d

    def __getitem__(self, slots: RowIndices | slice) -> Vectors:
        """Return the (..., dim) decompressed vectors at (...) slots; for slot −1 an arbitrary one."""
        if isinstance(slots, slice):
            slots = np.arange(*slots.indices(len(self)), dtype=np.int64)
        flat = np.maximum(slots.ravel(), 0)
        if self.trained_on:
            rows = self.index.reconstruct_batch(flat)
        else:
            rows = self.index.sa_decode(self._bytes()[flat])
        return rows.reshape(*slots.shape, self.index.d)

    def check(self, ids: list[str], rows: Vectors) -> None:
        """Check that (N, dim) rows can be compressed.

        Raises:
            FitError: A number is beyond float16, or the dimensions are no multiple of `dims`.
        """
        large = np.flatnonzero((np.abs(rows) > MAX_FLOAT16).any(axis=1))
        if len(large):
            raise FitError(
                f"index.add: {len(large):,} vectors have numbers beyond {MAX_FLOAT16:,}, which "
                f"{self.storage.kind} cannot store, such as that of {ids[int(large[0])]}",
                fix="scale the vectors, such as to length 1, or set index.storage.kind to float32",
            )
        if self.storage.kind == "product" and rows.shape[1] % self.storage.dims:
            raise FitError(
                f"index.add: vectors of {rows.shape[1]} dimensions cannot be split into subvectors of "
                f"{self.storage.dims}",
                fix="set index.storage.dims to a divisor of the dimensions",
            )

    def put(self, slots: RowIndices, rows: Vectors) -> None:
        """Store (n, dim) rows in their slots; slots from N on are new and must follow each other in order."""
        if self.index is None:
            self.index = self._flat(Float16StorageConfig(), rows.shape[1])
        before = len(self)
        total = max(before, int(slots.max()) + 1)
        new, old = slots >= before, slots < before
        if not self._is_trained() and total >= self._training_size():
            vectors = np.concatenate([self[:], rows[new]])
            vectors[slots] = rows
            self._train(vectors)
        elif not self.trained_on:
            if old.any():
                self._bytes()[slots[old]] = self.index.sa_encode(rows[old])
            if new.any():
                self.index.add(rows[new])
        else:
            self._update_lists(slots[old], slots, rows)
        self._update_longest(slots)
        if total > max(self.config.exact_up_to, self.trained_on * self.config.retrain_growth):
            self._build_lists()

    def compact(self, count: int, holes: list[int], moved: list[int]) -> None:
        """Move the vectors in slots `moved` to slots `holes`, and keep only the first `count` slots."""
        rows, target = self[np.array(moved, np.int64)], np.array(holes, np.int64)
        if self.trained_on:
            removed = np.concatenate([target, np.arange(count, len(self), dtype=np.int64)])
            self._update_lists(removed, target, rows)
            if count * 2 < self.config.exact_up_to:
                self._flatten_lists()
            return
        codes = self._bytes()
        codes[target] = codes[np.array(moved, np.int64)]
        self.index.remove_ids(faiss.IDSelectorRange(count, len(self)))

    def candidates(self, queries: Vectors, k: int, probes: int) -> RowIndices:
        """Return the (Q, c) slots of the c = k + SPARE nearest, or all; with lists, of `probes` lists."""
        enable_blas_search()
        wanted = min(k + SPARE, len(self))
        if not self.trained_on:
            return self.index.search(queries, wanted)[1]
        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = min(probes, self.index.nlist)
        return self.index.search(queries, wanted, params=parameters)[1]

    def _bytes(self) -> npt.NDArray[np.uint8]:
        """Return a writable view of the (N, bytes) codes of a flat index."""
        size = self.index.code_size
        if not len(self):
            return np.empty((0, size), np.uint8)
        return faiss.rev_swig_ptr(self.index.codes.data(), len(self) * size).reshape(-1, size)

    def _is_trained(self) -> bool:
        if isinstance(self.storage, Float16StorageConfig):
            return True
        quantizer = getattr(self.index, "sq", None)
        return quantizer is None or quantizer.qtype != faiss.ScalarQuantizer.QT_fp16

    def _training_size(self) -> int:
        return 0 if isinstance(self.storage, Float16StorageConfig) else self.storage.learn_from

    def _flat(self, storage: CodesConfig, dim: int) -> Any:
        if isinstance(storage, Float16StorageConfig | ScalarQuantizerConfig):
            is_float16 = isinstance(storage, Float16StorageConfig)
            kind = faiss.ScalarQuantizer.QT_fp16 if is_float16 else _BITS[storage.bits]
            return faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)
        index = faiss.IndexPQ(dim, dim // storage.dims, 8, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.seed = self.config.seed + 1
        index.pq.cp.max_points_per_centroid = TRAINING_PER_CENTROID
        index.pq.cp.min_points_per_centroid = 1
        return index

    def _train(self, rows: Vectors) -> None:
        """Train the quantizer on (N, dim) rows and store them with it."""
        index = self._flat(self.storage, rows.shape[1])
        most = TRAINING_PER_CENTROID * 256 if self.storage.kind == "product" else MAX_SCALAR_TRAINING
        drawn = np.random.default_rng(self.config.seed).permutation(len(rows))[:most]
        index.train(rows[np.sort(drawn)])
        index.add(rows)
        # Lists of the float16 vectors are dropped; `put` builds them again with the new codes.
        self.index, self.trained_on = index, 0

    def _update_longest(self, slots: RowIndices) -> None:
        for start in range(0, len(slots), BLOCK_ROWS):
            lengths = np.linalg.norm(self[slots[start : start + BLOCK_ROWS]], axis=1)
            self.longest = max(self.longest, float(lengths.max()))

    def _build_lists(self) -> None:
        """Train new lists and move all codes into them."""
        enable_blas_search()
        count, dim, config = len(self), self.index.d, self.config
        lists = min(config.lists or int(2 * count**0.5), count)
        drawn = np.random.default_rng(config.seed).permutation(count)
        index = self._empty_lists(lists, dim)
        index.cp.seed = config.seed + 1
        index.cp.max_points_per_centroid = config.training_per_list
        index.cp.min_points_per_centroid = 1
        sample = self[np.sort(drawn[: lists * config.training_per_list])]
        # Only the lists are trained: the quantizer is the present one.
        index.train_q1(len(sample), faiss.swig_ptr(sample), False, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True
        for start in range(0, count, BLOCK_ROWS):
            rows = self[start : start + BLOCK_ROWS]
            index.add_with_ids(rows, np.arange(start, start + len(rows), dtype=np.int64))
        index.set_direct_map_type(_BY_SLOT)
        self.index, self.trained_on = index, count
        self.probes = required_probes(index.quantizer, self.__getitem__, self._search_all, count, config)

    def _search_all(self, queries: Vectors, k: int) -> RowIndices:
        """Return the (Q, k) slots of the nearest vectors in all lists."""
        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = self.index.nlist
        return self.index.search(queries, k, params=parameters)[1]

    def _empty_lists(self, lists: int, dim: int) -> Any:
        """Return an empty index with lists and the present quantizer."""
        centroids, metric = faiss.IndexFlatIP(dim), faiss.METRIC_INNER_PRODUCT
        if hasattr(self.index, "pq"):
            index = faiss.IndexIVFPQ(centroids, dim, lists, self.index.pq.M, 8, metric)
            index.by_residual, index.pq = False, self.index.pq
            return index
        kind = self.index.sq.qtype
        index = faiss.IndexIVFScalarQuantizer(centroids, dim, lists, kind, metric, False)
        index.sq = self.index.sq
        return index

    def _flatten_lists(self) -> None:
        """Move all codes from the lists to a flat index."""
        rows = self[:]
        storage = self.storage if self._is_trained() else Float16StorageConfig()
        index = self._flat(storage, self.index.d)
        if hasattr(index, "pq"):
            index.pq = self.index.pq
        else:
            index.sq = self.index.sq
        index.is_trained = True
        index.add(rows)
        self.index, self.trained_on = index, 0

    def _update_lists(self, removed: RowIndices, slots: RowIndices, rows: Vectors) -> None:
        """Remove the slots `removed` from the lists, then add rows at `slots`."""
        self.index.set_direct_map_type(_NO_MAP)
        if len(removed):
            self.index.remove_ids(faiss.IDSelectorBatch(removed))
        if len(slots):
            self.index.add_with_ids(rows, slots)
        self.index.set_direct_map_type(_BY_SLOT)
