"""A bundle in memory, and how it is read: whole and sound, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.catalog import (
    INDEX,
    RANKER,
    BundleCatalog,
    bundle_catalog_fields,
    bundle_errors,
    read_bundle,
)
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.smoke_requests import check_smoke_answers, run_smoke_requests
from vrec.core.errors import BundleError, VrecError
from vrec.core.tables import join_uri
from vrec.ranking.base import ProfileRanker
from vrec.ranking.registry import load_ranker
from vrec.retrieval.index.index import FaissIndex

NEIGHBOURS, WORDS = "neighbours.", "lexicon."
"""What the names of arrays begin with."""


@dataclass(frozen=True, eq=False)
class ServingBundle(BundleCatalog):
    """What serving needs of a catalogue and its models, all of it made together."""

    ranker: ProfileRanker
    """Knows all videos of the bundle."""
    neighbors: VideoNeighbors
    """Of all videos, in the order of VIDEOS."""
    index: FaissIndex
    """The fused embeddings."""
    text_index: Bm25Index
    """The words of all videos."""
    smoke_answers: pa.Table
    """CANARIES: made-up requests and their answers when the bundle was made."""

    @classmethod
    def load(cls, uri: str) -> Self:
        """The bundle in a folder; the digest of every file is checked.

        Raises BundleError where there is none, or it is half-written, damaged, or of another version of vrec.
        """
        with bundle_errors(uri):
            version, found = read_bundle(uri)
            ids = found.tables["videos"].column("video_id").to_pylist()
            near, words = (_with_prefix(found.arrays, prefix) for prefix in (NEIGHBOURS, WORDS))
            return cls(
                **bundle_catalog_fields(uri, version, found),
                ranker=load_ranker(join_uri(uri, RANKER)),
                neighbors=VideoNeighbors(tuple(ids), near["places"], near["scores"]),
                index=FaissIndex.load(join_uri(uri, INDEX)),
                text_index=Bm25Index.from_arrays(ids, words, found.tables["words"]),
                smoke_answers=found.tables["canaries"],
            )

    def check(self) -> None:
        """Returns where the bundle answers its canaries as it did when it was made.

        Raises BundleError where an answer is not finite, or differs by more than floats do between machines.
        """
        try:
            check_smoke_answers(
                self.smoke_answers,
                run_smoke_requests(self, self.smoke_answers.column("of").unique().to_pylist()),
                self.uri,
            )
        except BundleError:
            raise
        except VrecError as error:
            raise BundleError(f"{self.uri}: a canary cannot be answered: {error}") from error


def _with_prefix(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
