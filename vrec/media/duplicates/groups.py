"""Groups of near-duplicates in a catalog of any size."""

import tempfile
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from vrec.media.duplicates.alignment import FingerprintPictures, align, is_copy
from vrec.media.duplicates.candidates import candidate_pairs
from vrec.media.duplicates.fingerprint import GRID, decode_fingerprint

MAX_FAILURES = 4
"""Number of candidates in a row, in falling order of likeness, after which a video's others are not tried."""
MAX_ROUNDS = 4
HELD_FINGERPRINTS = 4096
"""Decoded fingerprints that are in memory at once, about 70 kB each."""


class FingerprintRow(NamedTuple):
    """Video as the grouping reads it."""

    video_id: str
    content_hash: str
    """Hash of its bytes: equal bytes are duplicates without further comparison."""
    fingerprint: bytes | None
    """None where there is no fingerprint."""


def near_duplicates(rows: Iterable[FingerprintRow]) -> list[list[str]]:
    """Group videos that show the same recording, whatever was cut off, laid over it or added.

    The rows are read once. In memory are ids, hashes and a mean picture of each video (about 700 bytes); the
    fingerprints lie in a temporary file. Candidates come from an index, and each is verified.

    Returns:
        Sorted groups of two or more sorted video ids.

    Raises:
        ValueError: A fingerprint is damaged; the message names the video.
    """
    with tempfile.TemporaryFile() as file:
        store = _FingerprintStore(file)
        for row in rows:
            store.add(row)
        return _find_groups(store)


class _FingerprintStore:
    """Fingerprints of distinct contents on disk, and what is in memory of each."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows: dict[str, int] = {}
        self._offsets = [0]
        self._means: list[npt.NDArray[np.float16]] = []
        self.video_ids: list[list[str]] = []
        self.get = lru_cache(HELD_FINGERPRINTS)(self._read)

    def add(self, row: FingerprintRow) -> None:
        """Add a video; a second one of the same bytes joins the first."""
        known = self._rows.setdefault(row.content_hash, len(self.video_ids))
        if known < len(self.video_ids):
            self.video_ids[known].append(row.video_id)
            return
        self.video_ids.append([row.video_id])
        mean = np.zeros(GRID * GRID, np.float16)
        if row.fingerprint is not None:
            try:
                pictures = decode_fingerprint(row.fingerprint)
            except ValueError as error:
                raise ValueError(f"{row.video_id}: {error}") from None
            mean = pictures.mean(axis=0).reshape(-1).astype(np.float16)
            self._file.write(row.fingerprint)
        self._means.append(mean)
        self._offsets.append(self._offsets[-1] + len(row.fingerprint or b""))

    def means(self) -> npt.NDArray[np.float16]:
        """Return the (N, GRID²) mean pictures; 0 without a fingerprint, which is like nothing."""
        return np.array(self._means, np.float16).reshape(-1, GRID * GRID)

    def _read(self, row: int) -> FingerprintPictures:
        start, end = self._offsets[row : row + 2]
        self._file.seek(start)
        return FingerprintPictures.of(decode_fingerprint(self._file.read(end - start)))


class _Groups:
    """Disjoint groups of rows; the smallest row of a group is its root."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, row: int) -> int:
        """Return the root of a row's group."""
        parent = self._parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, one: int, other: int) -> None:
        """Join the groups of two rows."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low

    def roots(self) -> npt.NDArray[np.int64]:
        """Return the (N,) root of every row."""
        return np.array([self.root(row) for row in range(len(self._parent))], np.int64)


def _find_groups(store: _FingerprintStore) -> list[list[str]]:
    means = store.means()
    groups = _Groups(len(means))
    rows = queries = np.arange(len(means))
    for _ in range(MAX_ROUNDS):
        if not len(queries):
            break
        grown = _join_copies(store, means, rows, queries, groups)
        # In a crowd of copies each finds some of the others: what grew is compared again, one member each.
        rows = np.unique(groups.roots())
        queries = np.searchsorted(rows, np.unique([groups.root(row) for row in grown]).astype(np.int64))
    named: dict[int, list[str]] = defaultdict(list)
    for root, names in zip(groups.roots().tolist(), store.video_ids, strict=True):
        named[root].extend(names)
    return sorted(sorted(group) for group in named.values() if len(group) > 1)


def _join_copies(
    store: _FingerprintStore,
    means: npt.NDArray[np.float16],
    rows: npt.NDArray[np.int64],
    queries: npt.NDArray[np.int64],
    groups: _Groups,
) -> list[int]:
    """Join the groups of verified candidates, the most alike first, and return a row of each join.

    Args:
        store: The fingerprints.
        means: Mean pictures of all rows of the store.
        rows: Rows of the store that are compared, one per group.
        queries: Places in `rows` of those whose candidates are looked up.
        groups: Changed in place.
    """
    found = list(candidate_pairs(means[rows], queries))
    one, other, likeness = (np.concatenate([part[n] for part in found]) for n in range(3))
    mirrored = np.repeat([part[3] for part in found], [len(part[0]) for part in found])
    order = np.lexsort((other, one, mirrored, -likeness))
    failures: dict[tuple[int, bool], int] = defaultdict(int)
    tried: set[tuple[int, int, bool]] = set()
    grown: list[int] = []
    columns = (rows[one[order]].tolist(), rows[other[order]].tolist(), mirrored[order].tolist())
    for a, b, flipped in zip(*columns, strict=True):
        pair = (min(a, b), max(a, b), flipped)
        if failures[a, flipped] >= MAX_FAILURES or groups.root(a) == groups.root(b) or pair in tried:
            continue
        tried.add(pair)
        alike = align(store.get(a), store.get(b).mirrored if flipped else store.get(b))
        if alike is not None and is_copy(alike):
            failures[a, flipped] = 0
            groups.join(a, b)
            grown.append(a)
        else:
            failures[a, flipped] += 1
    return grown
