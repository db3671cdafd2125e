"""Every index against the battery of the VectorIndex protocol."""

import pytest

from tests.contracts.index_battery import CHECKS, Build, make_points
from vrec.retrieval.index import ExactIndex, FaissIndex, IndexConfig

POINTS = make_points()
INDEXES: dict[str, Build] = {
    "exact": ExactIndex,
    "faiss": FaissIndex,
    "faiss-lists": lambda: FaissIndex(IndexConfig(exact_up_to=100)),
    "faiss-lists-hold-less-than-wanted": lambda: FaissIndex(IndexConfig(exact_up_to=100, rerank=100)),
    "faiss-lists-retrained": lambda: FaissIndex(IndexConfig(exact_up_to=20, retrain_growth=1.01, lists=20)),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", INDEXES)
def test_index_holds_the_contract(kind: str, check):
    check(INDEXES[kind], POINTS)
