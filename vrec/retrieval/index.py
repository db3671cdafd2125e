"""Nearest vectors by inner product: exact up to a size, approximate beyond it, and exact under a filter."""

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from vrec.core.artefact import Artefact, blob_path, read_artefact, write_artefact
from vrec.core.config import Config
from vrec.core.errors import FitError
from vrec.core.protocols import Vectors
from vrec.retrieval.nearest import SPARE, Places, exact_candidates, rescore, search_with_blas, settle

Found = tuple[list[list[str]], list[list[float]]]
KIND = "index"
_READ_FOR_EACH = 32
"""Vectors read for each of the k asked for, at least: a large k needs more lists than `probes`."""


class IndexConfig(Config):
    """When the search becomes approximate, and how well it then finds."""

    exact_up_to: int = Field(default=50_000, ge=1)
    """Vectors up to which every search is exact; with more, unfiltered ones go through inverted lists."""
    lists: int | None = Field(default=None, ge=1)
    """Inverted lists; twice the square root of the number of vectors by default."""
    probes: int = Field(default=16, ge=1)
    """Lists read for a query: more find more and take longer, in proportion."""
    rerank: int = Field(default=3, ge=1)
    """Candidates taken from the lists for each of the k asked for, and scored again by the exact vectors."""
    retrain_growth: float = Field(default=2.0, gt=1)
    """How many times the vectors of the last training there must be before the lists are learned anew."""
    training_per_list: int = Field(default=64, ge=39)
    """Vectors that the lists are learned from, for each list; drawn at random."""
    seed: int = Field(default=0, ge=0)
    """Draws the training vectors and the first centres."""


def checked_vectors(ids: Sequence[str], vectors: Vectors, dim: int | None) -> Vectors:
    """The (N, dim) vectors as contiguous float32; raises FitError naming what is wrong, and an id."""
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    if found.ndim != 2 or len(found) != len(ids):
        raise FitError(f"index.add: {len(ids):,} ids with vectors of shape {found.shape}", mend=_ROWS)
    strange = next((name for name in ids if not isinstance(name, str)), None)
    if strange is not None:
        raise FitError(f"index.add: id {strange!r} is {type(strange).__name__}, want str", mend=_ROWS)
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise FitError(f"index.add: {len(ids) - len(set(ids)):,} ids come twice, such as {twice}", mend=_ROWS)
    if dim is not None and len(found) and found.shape[1] != dim:
        raise FitError(
            f"index.add: {len(found):,} vectors have {found.shape[1]} dimensions, such as that of {ids[0]}; "
            f"the index has {dim}",
            mend="add vectors of the same encoder, or build the index anew",
        )
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise FitError(
            f"index.add: {len(bad):,} of {len(found):,} vectors are not finite, such as that of "
            f"{ids[int(bad[0])]}",
            mend="leave these ids out, or embed them again",
        )
    return found


_ROWS = "give one id, a string, and one row for each vector"


def checked_queries(queries: Vectors, k: int, dim: int | None) -> Vectors:
    """The (Q, dim) queries as contiguous float32; raises FitError for k < 1, another dim or NaN."""
    found = np.ascontiguousarray(queries, dtype=np.float32)
    if k < 1:
        raise FitError(f"index.search: k is {k}", mend="ask for at least 1")
    if found.ndim != 2 or (dim is not None and len(found) and found.shape[1] != dim):
        raise FitError(
            f"index.search: queries of shape {found.shape}, want (queries, {dim or 'dim'})",
            mend="ask with vectors of the encoder that the index was filled from",
        )
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise FitError(
            f"index.search: {len(bad):,} of {len(found):,} queries are not finite, such as row {bad[0]}",
            mend="leave these queries out",
        )
    return found


class ExactIndex:
    """The VectorIndex for a few thousand vectors: one product in float64, and the others' reference."""

    def __init__(self) -> None:
        self._rows: dict[str, npt.NDArray[np.float32]] = {}

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Adds or replaces vectors; see `VectorIndex`."""
        dim = len(next(iter(self._rows.values()))) if self._rows else None
        self._rows.update(zip(ids, checked_vectors(ids, vectors, dim).copy(), strict=True))

    def remove(self, ids: Sequence[str]) -> None:
        """Removes vectors; see `VectorIndex`."""
        for name in ids:
            self._rows.pop(name, None)

    def search(self, queries: Vectors, k: int, allowed: Sequence[str] | None = None) -> Found:
        """The k nearest of each query; see `VectorIndex`."""
        names = sorted(self._rows if allowed is None else self._rows.keys() & set(allowed))
        dim = len(next(iter(self._rows.values()))) if self._rows else None
        queries = checked_queries(queries, k, dim)
        if not names:
            return [[] for _ in queries], [[] for _ in queries]
        matrix = np.stack([self._rows[name] for name in names])
        # One row at a time and in float64, so that equal vectors have equal scores wherever they stand.
        scores = np.einsum("qd,nd->qn", queries.astype(np.float64), matrix.astype(np.float64))
        scores = scores.astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        return [[names[place] for place in row] for row in order], best.tolist()


class FaissIndex:
    """The VectorIndex for a shop of any size.

    Up to `exact_up_to` vectors every search is exact. With more, a search goes through faiss's inverted lists
    of 8-bit vectors (IVF, SQ8), and the best `rerank` × k are scored again by the float32 vectors, which are
    kept: 5 bytes for each dimension of a vector, and about 150 for its id. Scores are always those of the
    float32 vectors. With `allowed`, the search is exact whatever its size: a product with the allowed vectors
    alone. What is never to be found, such as videos sold out, is better removed than filtered by each search.

    Searches may run side by side; `add` and `remove` may not run beside anything: fill another index
    and swap it in.
    """

    def __init__(self, config: IndexConfig | None = None) -> None:
        self.config = config if config is not None else IndexConfig()
        self._ids: list[str] = []
        self._slots: dict[str, int] = {}
        self._vectors = np.empty((0, 0), np.float32)
        self._longest = 0.0
        self._lists: Any = None
        self._trained_on = 0
        self._read_only = False

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def dim(self) -> int | None:
        """The vectors' length; None until the first are added."""
        return self._vectors.shape[1] or None

    def add(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Adds or replaces vectors; see `VectorIndex`. Learns the lists when they are due."""
        self._check_writable()
        ids = list(ids)
        rows = checked_vectors(ids, vectors, self.dim)
        if not ids:
            return
        replaced = [slot for name in ids if (slot := self._slots.get(name)) is not None]
        for name in ids:
            if name not in self._slots:
                self._slots[name] = len(self._ids)
                self._ids.append(name)
        slots = np.array([self._slots[name] for name in ids], np.int64)
        self._reserve(len(self._ids), rows.shape[1])
        self._vectors[slots] = rows
        self._longest = max(self._longest, float(np.linalg.norm(rows, axis=1).max()))
        if len(self) > max(self.config.exact_up_to, self._trained_on * self.config.retrain_growth):
            self._train()
        elif self._lists is not None:
            self._forget(replaced)
            self._lists.add_with_ids(rows, slots)

    def remove(self, ids: Sequence[str]) -> None:
        """Removes vectors; see `VectorIndex`. The search is exact again below half of `exact_up_to`."""
        self._check_writable()
        gone = [slot for name in dict.fromkeys(ids) if (slot := self._slots.pop(name, None)) is not None]
        if not gone:
            return
        count = len(self) - len(gone)
        # The rows stay without holes: those at the end move into the places that became free.
        holes = [slot for slot in gone if slot < count]
        shut = set(gone)
        moved = [slot for slot in range(count, len(self)) if slot not in shut]
        for slot, old in zip(holes, moved, strict=True):
            self._ids[slot] = self._ids[old]
            self._slots[self._ids[slot]] = slot
        self._vectors[holes] = self._vectors[moved]
        del self._ids[count:]
        if self._lists is None:
            return
        if count * 2 < self.config.exact_up_to:
            self._lists, self._trained_on = None, 0
            return
        self._forget([*gone, *moved])
        if holes:
            self._lists.add_with_ids(self._vectors[holes], np.array(holes, np.int64))

    def search(self, queries: Vectors, k: int, allowed: Sequence[str] | None = None) -> Found:
        """The k nearest of each query; see `VectorIndex`."""
        queries = checked_queries(queries, k, self.dim)
        places = None
        if allowed is not None:
            slots = {slot for name in allowed if (slot := self._slots.get(name)) is not None}
            places = np.array(sorted(slots), np.int64)
        total = len(self) if places is None else len(places)
        if not total or not len(queries):
            return [[] for _ in queries], [[] for _ in queries]
        vectors, ids, k = self._vectors[: len(self)], self._ids, min(k, total)
        exact = self._lists is None or places is not None
        found = exact_candidates(queries, vectors, k, places) if exact else self._from_lists(queries, k)
        scores = rescore(queries, vectors, found)
        # How far a float32 product can be from the true one, twice: for two scores to have changed places.
        slack = np.linalg.norm(queries, axis=1) * np.float32(2 * vectors.shape[1] * 2.0**-23 * self._longest)
        return settle(queries, vectors, found, scores, k=k, slack=slack, exact=exact, places=places, ids=ids)

    def _from_lists(self, queries: Vectors, k: int) -> Places:
        wanted = min(k * self.config.rerank + SPARE, len(self))
        lists = self._lists.nlist
        probes = max(self.config.probes, -(-_READ_FOR_EACH * k * lists // len(self)))
        parameters: Any = faiss.SearchParametersIVF()
        parameters.nprobe = min(probes, lists)
        return self._lists.search(queries, wanted, params=parameters)[1]

    def save(self, uri: str) -> None:
        """Writes the index as a folder: ids, float32 vectors and lists."""
        vectors = io.BytesIO()
        np.save(vectors, self._vectors[: len(self)], allow_pickle=False)
        blobs = {"vectors.npy": vectors.getvalue()}
        if self._lists is not None:
            blobs["lists.faiss"] = faiss.serialize_index(self._lists).tobytes()
        state = {"trained_on": np.array(self._trained_on), "longest": np.array(self._longest)}
        tables = {"ids": pa.table({"id": pa.array(self._ids, pa.string())})}
        data = {"vectors": len(self), "dim": self.dim}
        write_artefact(uri, Artefact(KIND, self.config.model_dump(mode="json"), state, tables, blobs, data))

    @classmethod
    def load(cls, uri: str, *, mmap: bool = False) -> Self:
        """The index that `save` wrote; raises ModelError where the folder is not a sound one.

        With `mmap`, a local folder's vectors and lists are mapped: processes on one machine share them, only
        what is searched is read, their digests are not checked, and the index cannot be changed.
        """
        path = blob_path(uri, "vectors.npy") if mmap else None
        found = read_artefact(uri, KIND, blobs=path is None)
        index = cls(IndexConfig.model_validate(found.config))
        index._ids = found.tables["ids"].column("id").to_pylist()
        index._slots = {name: slot for slot, name in enumerate(index._ids)}
        index._trained_on = int(found.arrays["trained_on"])
        index._longest = float(found.arrays["longest"])
        index._read_only = path is not None
        if path is not None:
            index._vectors = np.load(path, mmap_mode="r", allow_pickle=False)
            if index._trained_on:
                read: Any = faiss.read_index
                index._lists = read(blob_path(uri, "lists.faiss"), faiss.IO_FLAG_MMAP)
        else:
            index._vectors = np.load(io.BytesIO(found.blobs["vectors.npy"]), allow_pickle=False)
            if index._trained_on:
                raw = np.frombuffer(found.blobs["lists.faiss"], np.uint8)
                index._lists = faiss.deserialize_index(raw)
        return index

    def _reserve(self, count: int, dim: int) -> None:
        if count > len(self._vectors):
            room = np.empty((max(count, len(self._vectors) * 3 // 2), dim), np.float32)
            room[: len(self._vectors)] = self._vectors.reshape(len(self._vectors), dim)
            self._vectors = room

    def _train(self) -> None:
        search_with_blas()
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
        index.add_with_ids(vectors, np.arange(count, dtype=np.int64))
        self._lists, self._trained_on = index, count

    def _forget(self, slots: Sequence[int]) -> None:
        if slots:
            self._lists.remove_ids(faiss.IDSelectorBatch(np.array(slots, np.int64)))

    def _check_writable(self) -> None:
        if self._read_only:
            raise FitError("the index is mapped from its file", mend="load it with mmap=False to change it")
