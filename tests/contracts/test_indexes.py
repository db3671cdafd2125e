"""Every index against the battery of the VectorIndex protocol."""

import faiss
import pytest

from vrec.retrieval.index.config import (
    Float16StorageConfig,
    ProductQuantizerConfig,
    ScalarQuantizerConfig,
    StorageConfig,
)
from vrec.retrieval.index.index import ExactIndex, FaissIndex, IndexConfig
from vrec.testing.indexes import CHECKS, Build, Points, make_points

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


STORAGES: dict[str, StorageConfig] = {
    "float16": Float16StorageConfig(),
    "scalar-8": ScalarQuantizerConfig(bits=8),
    "scalar-6": ScalarQuantizerConfig(bits=6),
    "scalar-4": ScalarQuantizerConfig(bits=4),
    "product-1": ProductQuantizerConfig(dims=1, learn_from=1000),
    "product-4": ProductQuantizerConfig(dims=4, learn_from=1000),
}
SIZES = {
    "flat": IndexConfig(),
    "lists": IndexConfig(exact_up_to=100, probes=24, min_recall=0),
    "retrained": IndexConfig(exact_up_to=20, retrain_growth=1.01, lists=20),
}


def kept_so(config: IndexConfig) -> tuple[Build, Points]:
    """Indexes with codes learned of the battery's points, and these points as such an index keeps them."""
    learned = FaissIndex(config.model_copy(update={"exact_up_to": 10_000}))
    learned.add(POINTS.ids, POINTS.vectors)
    assert learned._codes is not None
    queries, codes = POINTS.queries.copy(), learned._codes.index
    kept = learned._codes[:]
    queries[0] = kept[0]

    def build() -> FaissIndex:
        index = FaissIndex(config)
        assert index._codes is not None
        index._codes.index = faiss.clone_index(codes)
        index._codes.index.reset()
        return index

    return build, Points(POINTS.ids, kept, queries)


KEPT = [
    (name, size) for name in STORAGES for size in SIZES if size == "flat" or name in {"scalar-8", "product-4"}
]
"""Every storage in a flat index, and one of each quantizer in lists, which take the codes as they are."""


@pytest.fixture(scope="module", params=KEPT, ids="-".join)
def kept(request: pytest.FixtureRequest) -> tuple[Build, Points]:
    name, size = request.param
    return kept_so(SIZES[size].model_copy(update={"storage": STORAGES[name]}))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_index_of_codes_holds_the_contract_for_what_it_keeps(kept: tuple[Build, Points], check):
    check(*kept)
