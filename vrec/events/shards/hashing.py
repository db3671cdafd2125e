"""Hashes of ids that decide where a row goes: the same on every machine and in every version."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd base of the polynomial."""
BLOCK_ROWS = 1 << 16
"""Texts that are hashed at once: the numbers of their bytes take some 24 bytes each."""


def stable_hash(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    """Return (N,) hashes of texts without nulls.

    The bytes of a text, each plus one, are the coefficients of a polynomial at `BASE` modulo 2^64, whose
    value is mixed by the finalizer of SplitMix64 (Steele, Lea and Flood, 2014). The hashes of polars and of
    Python differ between versions and processes.
    """
    chunks = ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]
    blocks = [chunk.slice(i, BLOCK_ROWS) for chunk in chunks for i in range(0, len(chunk), BLOCK_ROWS)]
    return np.concatenate([np.empty(0, np.uint64), *map(_hash_block, blocks)])


def _hash_block(ids: pa.Array) -> Hashes:
    texts = ids.cast(pa.large_string())
    _, offset_buffer, byte_buffer = texts.buffers()
    # A cast may keep the offset of a slice.
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(ids) + 1]
    total = int(offsets[-1] - offsets[0])
    if not total:
        return _mix(np.zeros(len(ids), np.uint64))
    data = np.frombuffer(byte_buffer, np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64)
    ends = offsets - offsets[0]
    lengths = np.diff(ends)
    powers = np.multiply.accumulate(np.full(int(lengths.max()), BASE, np.uint64))
    place = np.arange(total) - np.repeat(ends[:-1], lengths)
    sums = np.zeros(total + 1, np.uint64)
    np.cumsum((data + np.uint64(1)) * powers[place], out=sums[1:])
    return _mix(sums[ends[1:]] - sums[ends[:-1]])


def _mix(value: Hashes) -> Hashes:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def shard_of(users: pa.Array | pa.ChunkedArray, shards: int) -> npt.NDArray[np.int64]:
    """Return the (N,) shards of users, from 0."""
    return (stable_hash(users) % np.uint64(shards)).astype(np.int64)


def bucket_of(event_ids: Hashes, buckets: int) -> npt.NDArray[np.int64]:
    """Return the (N,) buckets of hashes of event ids, from 0."""
    return (event_ids % np.uint64(buckets)).astype(np.int64)
