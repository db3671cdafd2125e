"""Blocks of an interaction matrix, each of other users and with a vocabulary of its own, and their merge."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, build_interaction_matrix


@dataclass(frozen=True, slots=True)
class InteractionBlock:
    """Interactions of some users, at 16 bytes each and the ids once."""

    users: IdVocabulary
    videos: IdVocabulary
    """Videos with interactions of these users."""
    histories: InteractionMatrix

    @classmethod
    def from_interactions(cls, interactions: pa.Table) -> Self:
        """Return the block of INTERACTIONS."""
        users = IdVocabulary.from_columns(interactions.column("user_id"))
        videos = IdVocabulary.from_columns(interactions.column("video_id"))
        return cls(users, videos, build_interaction_matrix(interactions, users, videos))


def merge_blocks(blocks: Sequence[InteractionBlock]) -> InteractionBlock:
    """Return the block of all users, to the bit that of the INTERACTIONS of all blocks together.

    Args:
        blocks: At least one; no user is in two of them.
    """
    videos = IdVocabulary.from_columns(*(block.videos.ids for block in blocks))
    ids = pa.concat_arrays([block.users.ids for block in blocks])
    order = np.asarray(pc.sort_indices(ids)).astype(np.int64)
    # Both vocabularies ascend, so that columns stay ascending within a row.
    columns = [videos.find(block.videos.ids)[block.histories.weights.indices] for block in blocks]
    counts = np.concatenate([np.diff(block.histories.weights.indptr) for block in blocks])
    stacked = sparse.csr_matrix(
        (
            np.concatenate([block.histories.weights.data for block in blocks]),
            np.concatenate(columns).astype(np.int32),
            np.concatenate([[0], np.cumsum(counts)]),
        ),
        shape=(len(ids), len(videos)),
    )
    at = np.concatenate([block.histories.at for block in blocks])
    users = IdVocabulary(ids.take(pa.array(order)))
    return InteractionBlock(users, videos, InteractionMatrix(stacked, at).rows(order))
