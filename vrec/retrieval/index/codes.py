"""Vectors kept as float16 or as codes, and nothing else: what is read and found is what was kept of them."""

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from vrec.core.errors import FitError
from vrec.core.types import Vectors
from vrec.retrieval.index.config import CodesConfig, Float16StorageConfig, IndexConfig, ScalarQuantizerConfig
from vrec.retrieval.index.exact_search import BLOCK_ROWS, SPARE, Places, enable_blas_search

MAX_SCALAR_TRAINING = 65_536
"""Vectors that scalar codes are learned from at most, drawn at random."""
TRAINING_PER_CENTROID = 64
"""Vectors that product codes are learned from at most, for each of the 256 learned runs of a dimension."""
MAX_FLOAT16 = 65_504
_NO_MAP, _BY_SLOT = 0, 1
"""faiss's names for what finds a vector in the lists; while there is such a map, lists cannot be changed."""
_BITS = {
    4: faiss.ScalarQuantizer.QT_4bit,
    6: faiss.ScalarQuantizer.QT_6bit,
    8: faiss.ScalarQuantizer.QT_8bit,
}


class QuantizedVectors:
    """(N, dim) vectors by their slot, 0 to N − 1, each kept once: in one faiss index, flat or with lists.

    Numbers are float16 until there are `learn_from` vectors. Then the codes are learned, once and for good:
    vectors that come later are kept by them too, and if they lie elsewhere they are kept worse, so fill an
    index anew when the encoder's vectors have changed. Moving between slots and learning lists anew keep a
    code as it is, and an index that was emptied keeps its codes.

    `codes[places]` is what was kept of the vectors in these slots, float32.
    """

    def __init__(self, config: IndexConfig, storage: CodesConfig) -> None:
        self.config, self.storage = config, storage
        self.index: Any = None
        self.trained_on = 0
        """Vectors that there were when the lists were learned; 0 without lists."""
        self.longest = 0.0
        """The greatest length that a kept vector has had."""

    def __len__(self) -> int:
        return 0 if self.index is None else self.index.ntotal

    @property
    def dim(self) -> int | None:
        """The vectors' length; None until the first are put."""
        return None if self.index is None else self.index.d

    def __getitem__(self, places: Places | slice) -> Vectors:
        """The (..., dim) kept vectors at (...) places; for a place of −1 another one's."""
        if isinstance(places, slice):
            places = np.arange(*places.indices(len(self)), dtype=np.int64)
        flat = np.maximum(places.ravel(), 0)
        if self.trained_on:
            rows = self.index.reconstruct_batch(flat)
        else:
            rows = self.index.sa_decode(self._bytes()[flat])
        return rows.reshape(*places.shape, self.index.d)

    def check(self, ids: list[str], rows: Vectors) -> None:
        """Raises FitError for (N, dim) rows that cannot be kept so."""
        large = np.flatnonzero((np.abs(rows) > MAX_FLOAT16).any(axis=1))
        if len(large):
            raise FitError(
                f"index.add: {len(large):,} vectors have numbers beyond {MAX_FLOAT16:,}, which "
                f"{self.storage.kind} cannot keep, such as that of {ids[int(large[0])]}",
                fix="scale the vectors, such as to length 1, or set index.storage.kind to float32",
            )
        if self.storage.kind == "product" and rows.shape[1] % self.storage.dims:
            raise FitError(
                f"index.add: vectors of {rows.shape[1]} dimensions cannot be cut into runs of "
                f"{self.storage.dims}",
                fix="set index.storage.dims to a number that divides the dimensions",
            )

    def put(self, slots: Places, rows: Vectors) -> None:
        """Keeps (n, dim) rows in their slots: those from N on are new and follow each other in order."""
        if self.index is None:
            self.index = self._flat(Float16StorageConfig(), rows.shape[1])
        before = len(self)
        total = max(before, int(slots.max()) + 1)
        new, old = slots >= before, slots < before
        if not self._learned() and total >= self._learn_from():
            whole = np.concatenate([self[:], rows[new]])
            whole[slots] = rows
            self._learn(whole)
        elif not self.trained_on:
            if old.any():
                self._bytes()[slots[old]] = self.index.sa_encode(rows[old])
            if new.any():
                self.index.add(rows[new])
        else:
            self._update_lists(slots[old], slots, rows)
        self._update_longest(slots)
        if total > max(self.config.exact_up_to, self.trained_on * self.config.retrain_growth):
            self._make_lists()

    def compact(self, count: int, holes: list[int], moved: list[int]) -> None:
        """Leaves the first `count` slots, after what was in the slots `moved` went to the slots `holes`."""
        rows, into = self[np.array(moved, np.int64)], np.array(holes, np.int64)
        if self.trained_on:
            gone = np.concatenate([into, np.arange(count, len(self), dtype=np.int64)])
            self._update_lists(gone, into, rows)
            if count * 2 < self.config.exact_up_to:
                self._flatten_lists()
            return
        codes = self._bytes()
        codes[into] = codes[np.array(moved, np.int64)]
        self.index.remove_ids(faiss.IDSelectorRange(count, len(self)))

    def candidates(self, queries: Vectors, k: int, probes: int) -> Places:
        """The (Q, c) slots of the c = k + SPARE nearest, or all; of `probes` lists where there are lists."""
        enable_blas_search()
        wanted = min(k + SPARE, len(self))
        if not self.trained_on:
            return self.index.search(queries, wanted)[1]
        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = min(probes, self.index.nlist)
        return self.index.search(queries, wanted, params=parameters)[1]

    def _bytes(self) -> npt.NDArray[np.uint8]:
        """The (N, bytes) codes of a flat index, to be read and written in place."""
        size = self.index.code_size
        if not len(self):
            return np.empty((0, size), np.uint8)
        return faiss.rev_swig_ptr(self.index.codes.data(), len(self) * size).reshape(-1, size)

    def _learned(self) -> bool:
        if isinstance(self.storage, Float16StorageConfig):
            return True
        half = getattr(self.index, "sq", None)
        return half is None or half.qtype != faiss.ScalarQuantizer.QT_fp16

    def _learn_from(self) -> int:
        return 0 if isinstance(self.storage, Float16StorageConfig) else self.storage.learn_from

    def _flat(self, storage: CodesConfig, dim: int) -> Any:
        if isinstance(storage, Float16StorageConfig | ScalarQuantizerConfig):
            half = isinstance(storage, Float16StorageConfig)
            kind = faiss.ScalarQuantizer.QT_fp16 if half else _BITS[storage.bits]
            return faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)
        index = faiss.IndexPQ(dim, dim // storage.dims, 8, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.seed = self.config.seed + 1
        index.pq.cp.max_points_per_centroid = TRAINING_PER_CENTROID
        index.pq.cp.min_points_per_centroid = 1
        return index

    def _learn(self, rows: Vectors) -> None:
        """Learns the codes from (N, dim) rows and keeps them so."""
        index = self._flat(self.storage, rows.shape[1])
        most = TRAINING_PER_CENTROID * 256 if self.storage.kind == "product" else MAX_SCALAR_TRAINING
        drawn = np.random.default_rng(self.config.seed).permutation(len(rows))[:most]
        index.train(rows[np.sort(drawn)])
        index.add(rows)
        # Lists that the float16 vectors were in are made anew, by the new codes.
        self.index, self.trained_on = index, 0

    def _update_longest(self, slots: Places) -> None:
        for start in range(0, len(slots), BLOCK_ROWS):
            lengths = np.linalg.norm(self[slots[start : start + BLOCK_ROWS]], axis=1)
            self.longest = max(self.longest, float(lengths.max()))

    def _make_lists(self) -> None:
        """Moves all codes into newly learned lists."""
        enable_blas_search()
        count, dim, config = len(self), self.index.d, self.config
        lists = min(config.lists or int(2 * count**0.5), count)
        drawn = np.random.default_rng(config.seed).permutation(count)
        index = self._empty_lists(lists, dim)
        index.cp.seed = config.seed + 1
        index.cp.max_points_per_centroid = config.training_per_list
        index.cp.min_points_per_centroid = 1
        sample = self[np.sort(drawn[: lists * config.training_per_list])]
        # The lists alone are learned: the codes are those that the vectors have already.
        index.train_q1(len(sample), faiss.swig_ptr(sample), False, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True
        for start in range(0, count, BLOCK_ROWS):
            rows = self[start : start + BLOCK_ROWS]
            index.add_with_ids(rows, np.arange(start, start + len(rows), dtype=np.int64))
        index.set_direct_map_type(_BY_SLOT)
        self.index, self.trained_on = index, count

    def _empty_lists(self, lists: int, dim: int) -> Any:
        """An index with lists that makes the same codes as the present one."""
        centres, metric = faiss.IndexFlatIP(dim), faiss.METRIC_INNER_PRODUCT
        if hasattr(self.index, "pq"):
            index = faiss.IndexIVFPQ(centres, dim, lists, self.index.pq.M, 8, metric)
            index.by_residual, index.pq = False, self.index.pq
            return index
        kind = self.index.sq.qtype
        index = faiss.IndexIVFScalarQuantizer(centres, dim, lists, kind, metric, False)
        index.sq = self.index.sq
        return index

    def _flatten_lists(self) -> None:
        """Moves all codes out of the lists."""
        rows = self[:]
        storage = self.storage if self._learned() else Float16StorageConfig()
        index = self._flat(storage, self.index.d)
        if hasattr(index, "pq"):
            index.pq = self.index.pq
        else:
            index.sq = self.index.sq
        index.is_trained = True
        index.add(rows)
        self.index, self.trained_on = index, 0

    def _update_lists(self, gone: Places, slots: Places, rows: Vectors) -> None:
        """Takes the slots `gone` out of the lists and puts rows into them."""
        self.index.set_direct_map_type(_NO_MAP)
        if len(gone):
            self.index.remove_ids(faiss.IDSelectorBatch(gone))
        if len(slots):
            self.index.add_with_ids(rows, slots)
        self.index.set_direct_map_type(_BY_SLOT)
