"""Blocks of users against the matrix of all of them."""

from hypothesis import given
from hypothesis import strategies as st

from tests.events.rows import some_interactions
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions
from vrec.events.shards.hashing import shard_of
from vrec.events.shards.stages import split_table
from vrec.retrieval.interaction_blocks import InteractionBlock, merge_blocks
from vrec.retrieval.interaction_matrix import to_interactions


@given(some_interactions(), st.sampled_from([1, 2, 16]))
def test_merged_blocks_are_the_matrix_of_all_users(interactions, shards):
    pairs = aggregate_interactions(interactions, InterestConfig())
    whole = InteractionBlock.from_interactions(pairs)
    split = split_table(pairs, shard_of(pairs["user_id"], shards), shards)
    merged = merge_blocks([InteractionBlock.from_interactions(part) for part in split if part.num_rows])
    assert merged.users.ids.equals(whole.users.ids)
    assert merged.videos.ids.equals(whole.videos.ids)
    for field in ("data", "indices", "indptr"):
        one, other = (getattr(block.histories.weights, field) for block in (merged, whole))
        assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    assert merged.histories.at.tobytes() == whole.histories.at.tobytes()
    assert to_interactions(merged.histories, merged.users, merged.videos).equals(pairs)
