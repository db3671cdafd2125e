"""A small shop with everything that a bundle is made of, and its bundle on disk."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.core.compute import pc
from vrec.core.schema import EMBEDDINGS, conform
from vrec.core.types import CatalogContent
from vrec.encoders.config import EmbedConfig
from vrec.events.config import InterestConfig
from vrec.events.creators import follows_from_events
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.profiles.creators import creator_statistics
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.config import LabelsConfig, LogSplitConfig
from vrec.ranking.labels import build_labels, split_log
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.networks.config import LogisticRegressionConfig, NetworkConfig
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.synthetic.shop.simulate import ShopSimulation, simulate
from vrec.testing.ranking_shop import SHOP as SMALL_SHOP
from vrec.testing.ranking_shop import network

SHOP = SMALL_SHOP.model_copy(
    update={
        "users": 80,
        "videos": 100,
        "requests_per_user": 8,
        "dim": 16,
        "categories": 5,
        "creators": 12,
        "tags": 20,
    }
)
CONFIG = BundleConfig(neighbours=20, popular=30)


@dataclass(frozen=True, eq=False)
class ShopBundle:
    """A written bundle, and what it was made of."""

    uri: str
    """The bundle's folder. Not to be changed: copy it."""
    version: str
    events: pa.Table
    """EVENTS of 80 shoppers."""
    parts: BundleInputs


@dataclass(frozen=True, eq=False)
class _Impressions:
    """What `network` asks for of a shop."""

    content: CatalogContent
    events: pa.Table
    train: tuple
    valid: tuple


@cache
def shop() -> ShopSimulation:
    """The simulated shop, always the same."""
    return simulate(SHOP)


@cache
def shop_parts(kind: NetworkConfig = LogisticRegressionConfig()) -> BundleInputs:  # noqa: B008
    """Parts that belong together, with a ranker of that network and an item_knn."""
    found = shop()
    return parts_of(found, found.embeddings, text_embeddings(found.videos), kind)


def parts_of(
    found: ShopSimulation,
    fused: pa.Table,
    texts: pa.Table,
    kind: NetworkConfig = LogisticRegressionConfig(),  # noqa: B008
    embed: EmbedConfig | None = None,
) -> BundleInputs:
    """Parts of a simulated shop, with a ranker of that network and an item_knn fitted on its events."""
    interest = InterestConfig()
    rows = aggregate_interactions(weigh_events(found.events, interest, found.videos), interest)
    return BundleInputs(
        videos=found.videos,
        ranker=_ranker(found, fused, kind),
        profiles=ProfilesConfig(),
        fused=fused,
        texts=texts,
        recommender=ItemKnn().fit(rows),
        interactions=rows,
        embed=embed,
        creators=creator_statistics(
            found.events, found.videos, follows_from_events(found.events, found.videos)
        ),
    )


def text_embeddings(videos: pa.Table, dim: int = 8) -> pa.Table:
    """EMBEDDINGS of modality text, drawn, of all videos but the first."""
    ids = videos.column("video_id").combine_chunks()[1:]
    vectors = np.random.default_rng(5).normal(size=(len(ids), dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return embeddings_of(ids, "text", "simulated-text", vectors)


def embeddings_of(ids, modality: str, encoder: str, vectors: np.ndarray) -> pa.Table:
    """EMBEDDINGS rows of (N, dim) float32 vectors."""
    columns = {
        "entity_id": ids,
        "modality": pa.repeat(modality, len(ids)),
        "encoder": pa.repeat(encoder, len(ids)),
        "content_hash": ids,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
    }
    return conform(pa.table(columns), EMBEDDINGS, stage="tests")


def write_shop_bundle(folder: Path, config: BundleConfig = CONFIG) -> ShopBundle:
    """The shop's bundle, written to a folder."""
    parts = shop_parts()
    version = write_bundle(str(folder), parts, config)
    return ShopBundle(str(folder), version, shop().events, parts)


def _ranker(found: ShopSimulation, fused: pa.Table, kind: NetworkConfig) -> NetworkRanker:
    content, config = CatalogContent(found.videos, fused), ProfilesConfig()
    facts = video_metadata(content)
    requests = list(
        replay_requests(found.events, replay_video_counts(found.events, facts, config), facts, config)
    )
    labels = build_labels(found.events, found.videos, LabelsConfig())
    parts = split_log(labels.at, LogSplitConfig(validation_share=0.25))
    of_request = parts.split_of(np.array([request.context.at for request in requests]))
    of_label = parts.split_of(labels.at)
    train, valid = (
        (
            [r for r, p in zip(requests, of_request, strict=True) if p == n],
            labels.take(np.flatnonzero(of_label == n)),
        )
        for n in (0, 1)
    )
    at = found.events.column("at").cast(pa.int64())
    log = found.events.filter(pc.less(at, parts.validation_from))
    return network(_Impressions(content, log, train, valid), network=kind)
