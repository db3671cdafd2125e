"""Hashes of ids against the same polynomial in Python's whole numbers."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.events.shards.hashing import BLOCK_ROWS, shard_of, stable_hash

MASK = (1 << 64) - 1


def reference(text: str) -> int:
    base, value, power = 0x9E3779B97F4A7C15, 0, 1
    for byte in text.encode():
        power = power * base & MASK
        value = (value + (byte + 1) * power) & MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


@settings(max_examples=30)
@given(st.lists(st.text(max_size=9)), st.integers(0, 3))
def test_hashes_are_those_of_the_formula(texts, skipped):
    ids = pa.array(texts, pa.string())[skipped:]
    assert stable_hash(ids).tolist() == [reference(text) for text in texts[skipped:]]
    assert stable_hash(pa.chunked_array([ids, ids], pa.string())).tolist() == 2 * stable_hash(ids).tolist()


def test_hashes_stay_the_same_in_every_version():
    """A shard on disk is found by them."""
    assert stable_hash(pa.array(["", "u1", "购物者"])).tolist() == [0, reference("u1"), reference("购物者")]
    assert shard_of(pa.array(["u1", "u2", "u3"]), 16).tolist() == [
        int(reference(u) % 16) for u in ("u1", "u2", "u3")
    ]


def test_users_are_spread_evenly():
    count = BLOCK_ROWS + 5
    shards = shard_of(pa.array([f"user-{n}" for n in range(count)]), 16)
    sizes = [int((shards == number).sum()) for number in range(16)]
    assert max(sizes) < 1.1 * count / 16
    assert min(sizes) > 0.9 * count / 16
