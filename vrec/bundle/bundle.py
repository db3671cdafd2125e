"""Bundles with their models, loaded completely and verified or not at all."""

from dataclasses import dataclass
from typing import Self

import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.catalog import (
    INDEX,
    LIVE,
    MOMENTS_FOLDER,
    RANKER,
    BundleCatalog,
    bundle_catalog_fields,
    bundle_errors,
    read_bundle,
)
from vrec.bundle.moments import CatalogMoments
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.smoke_requests import check_smoke_answers, requested_videos, run_smoke_requests
from vrec.core.artifact import Arrays
from vrec.core.errors import BundleError, VrecError
from vrec.core.uris import join_uri
from vrec.ranking.base import ProfileRanker
from vrec.ranking.registry import load_ranker
from vrec.retrieval.index.index import FaissIndex
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.live.online import OnlineLiveModel

NEIGHBOURS, WORDS = "neighbours.", "lexicon."
"""Prefixes of the names of arrays on disk."""


@dataclass(frozen=True, eq=False)
class ServingBundle(BundleCatalog):
    """A catalog with the models that serve it, all made together."""

    ranker: ProfileRanker
    """Ranker that knows all videos of the bundle."""
    neighbors: VideoNeighbors
    """Neighbors of all videos, in the order of VIDEOS, and of `other_videos`."""
    index: FaissIndex
    """Index of the fused embeddings."""
    text_index: Bm25Index
    """Text index of all videos."""
    live: OnlineLiveModel | None
    """Model of live streams, if there is one."""
    moments: CatalogMoments | None
    """Moments of the videos, if there are any."""
    smoke_answers: pa.Table
    """SMOKE_ANSWERS: made-up requests, and the answers when the bundle was made."""

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the bundle in a folder, and verify the digest of every file.

        Raises:
            BundleError: There is no bundle, or it is incomplete, damaged, or of another version of vrec.
        """
        with bundle_errors(uri):
            version, artifact = read_bundle(uri)
            fields = bundle_catalog_fields(uri, version, artifact)
            ids = artifact.tables["videos"].column("video_id").to_pylist()
            near, words = (_with_prefix(artifact.arrays, prefix) for prefix in (NEIGHBOURS, WORDS))
            return cls(
                **fields,
                ranker=load_ranker(join_uri(uri, RANKER)),
                neighbors=VideoNeighbors((*ids, *fields["other_videos"]), near["places"], near["scores"]),
                index=FaissIndex.load(join_uri(uri, INDEX)),
                text_index=Bm25Index.from_arrays(ids, words, artifact.tables["words"]),
                live=_live_model(uri) if LIVE in artifact.data["parts"] else None,
                moments=_moments(uri) if MOMENTS_FOLDER in artifact.data["parts"] else None,
                smoke_answers=artifact.tables["canaries"],
            )

    def check(self) -> None:
        """Check that the bundle answers its smoke requests as when it was made.

        Raises:
            BundleError: An answer is not finite, or differs by more than float rounding between machines.
        """
        try:
            check_smoke_answers(
                self.smoke_answers,
                run_smoke_requests(self, requested_videos(self.smoke_answers)),
                self.uri,
            )
        except BundleError:
            raise
        except VrecError as error:
            raise BundleError(f"{self.uri}: a smoke request cannot be answered: {error}") from error


def _live_model(uri: str) -> OnlineLiveModel:
    return OnlineLiveModel(LiveRecommender.load(join_uri(uri, LIVE)))


def _moments(uri: str) -> CatalogMoments:
    return CatalogMoments.load(join_uri(uri, MOMENTS_FOLDER))


def _with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
