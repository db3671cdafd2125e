"""Writer of bundles from their inputs."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.bundle import NEIGHBOURS, WORDS, ServingBundle
from vrec.bundle.catalog import (
    ABOUT,
    CREATOR_MODEL,
    FINGERPRINTS,
    FORMAT,
    INDEX,
    KIND,
    LIVE,
    MOMENTS_FOLDER,
    RANKER,
    bundle_version,
    component_digest,
)
from vrec.bundle.config import BundleConfig
from vrec.bundle.fingerprints import save_fingerprints
from vrec.bundle.held_back import unwatched
from vrec.bundle.inputs import BundleInputs, embeddings_encoder, validate_inputs
from vrec.bundle.models import copy_encoder_models, replace_model_folders
from vrec.bundle.moments import CatalogMoments, index_moments
from vrec.bundle.neighbors import VideoNeighbors, ignores_history
from vrec.bundle.other_domains import OtherDomains
from vrec.bundle.smoke_requests import (
    SMOKE_ANSWERS,
    check_smoke_answers,
    run_smoke_requests,
    smoke_request_videos,
)
from vrec.core.artifact import ModelArtifact, write_artifact
from vrec.core.blocks import MapBlocks, map_in_turn
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.core.schema import CREATORS
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import join_uri
from vrec.encoders.build import encoder_names
from vrec.encoders.moments.encode import moment_encoder_names
from vrec.profiles.update import embedding_matrix
from vrec.ranking.neighbor_ranker import NeighborRanker
from vrec.ranking.reranking.popularity import Popularity
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.index.index import FaissIndex
from vrec.retrieval.live.online import OnlineLiveModel
from vrec.retrieval.models.popular import PopularRecommender

__all__ = ["BundleConfig", "BundleInputs", "write_bundle"]


def write_bundle(
    uri: str, inputs: BundleInputs, config: BundleConfig, map_blocks: MapBlocks = map_in_turn
) -> str:
    """Make a bundle, and write it to a folder.

    The manifest is written last: without it there is no bundle, and another writer may complete the folder of
    a killed one. A folder that holds a bundle is refused, since services may be reading it.

    Args:
        uri: The folder.
        inputs: Tables, models and settings of the bundle.
        config: Settings for its contents.
        map_blocks: Runner of the blocks of videos whose neighbors are found, and of vectors for the index.

    Returns:
        The bundle's version.

    Raises:
        BundleError: The folder holds a bundle, the inputs do not belong together, or an answer is not finite.
        OutputError: The folder cannot be written.
        SchemaError: The columns of a table are not those of its schema.
    """
    folder = check_new_folder(uri)
    if inputs.ranker is None and inputs.recommender is None:
        raise BundleError(
            "a bundle needs a ranker, or a recommender to rank in the order of",
            fix="give --recommender, or --ranker where the log has impressions to train one on",
        )
    bundle = _make(folder.uri, validate_inputs(inputs), config, map_blocks)
    requests = smoke_request_videos(bundle.videos.column("video_id").to_pylist(), config.smoke_requests)
    bundle = replace(bundle, smoke_answers=run_smoke_requests(bundle, requests))
    # Answers that are not finite are an error now, not when the bundle is loaded.
    check_smoke_answers(bundle.smoke_answers, bundle.smoke_answers, uri)
    _write(folder, bundle, config, inputs)
    return bundle_version(json.loads(folder.read(MANIFEST)))


def check_new_folder(uri: str) -> StorageFolder:
    """Return a folder that can take a bundle.

    Raises:
        BundleError: It holds a bundle.
        OutputError: It cannot be written.
    """
    folder = StorageFolder(uri)
    if folder.exists(MANIFEST):
        raise BundleError(
            f"{uri}: there is a {MANIFEST} already, and a bundle is never changed",
            fix="give a new folder; a running service moves to it with a reload",
        )
    folder.check_writable()
    return folder


def _make(uri: str, inputs: BundleInputs, config: BundleConfig, map_blocks: MapBlocks) -> ServingBundle:
    ids: list[str] = inputs.videos.column("video_id").to_pylist()
    recommender = inputs.recommender
    domains = OtherDomains.from_recommender(recommender, ids)
    content = CatalogContent(inputs.videos, inputs.fused, other_domains=tuple(domains.factors))
    own, index = domains.without(inputs.videos), FaissIndex(config.index)
    if inputs.fused is not None:
        # What is never recommended would only use up results.
        vectors = inputs.fused.filter(
            pc.is_in(inputs.fused.column("entity_id"), value_set=own.column("video_id").combine_chunks())
        )
        index.add(vectors.column("entity_id").to_pylist(), embedding_matrix(vectors), map_blocks)
    neighbors = _neighbors(inputs, config, ids, domains, map_blocks)
    released = None if recommender is None else _released(recommender)
    popular = tuple(popular_videos(own, inputs.interactions, config, released))
    live = None if inputs.live is None else OnlineLiveModel(inputs.live)
    ranker = inputs.ranker or NeighborRanker.from_neighbors(
        config.neighbor_ranker,
        content,
        neighbors.ids,
        indices=neighbors.indices,
        scores=neighbors.scores,
        popular=popular,
    )
    return ServingBundle(
        uri=uri,
        version="",
        made_at=time.time_ns() // 1000,
        encoder=None if inputs.fused is None else embeddings_encoder(inputs.fused),
        content=content,
        texts=inputs.texts,
        ranker=ranker.with_videos(content),
        neighbors=neighbors,
        popular=popular,
        popularity=count_popularity(popular, own, inputs.interactions, released),
        index=index,
        text_index=Bm25Index.from_videos(inputs.videos),
        embed=inputs.embed,
        profiles=inputs.profiles,
        history_factors=domains.factors,
        other_videos=domains.videos,
        live=live,
        early_leave_s=None if live is None else live.early_leave_s,
        moments=_index_moments(inputs, own),
        smoke_answers=SMOKE_ANSWERS.empty_table(),
        creators=CREATORS.arrow().empty_table() if inputs.creators is None else inputs.creators,
        creator_model=None if inputs.creator_model is None else join_uri(uri, CREATOR_MODEL),
    )


def _neighbors(
    inputs: BundleInputs, config: BundleConfig, ids: list[str], domains: OtherDomains, map_blocks: MapBlocks
) -> VideoNeighbors:
    """Return the neighbors of the bundle's videos, without those that only held-back content makes."""
    recommender = inputs.recommender
    # Without a ranker, a recommender of popular videos leaves the order of popularity.
    if recommender is None or (inputs.ranker is None and ignores_history(recommender)):
        return VideoNeighbors.empty(ids)
    found = VideoNeighbors.from_recommender(recommender, ids, config.neighbours, domains.videos, map_blocks)
    return found.without(unwatched(inputs.held_back, inputs.interactions))


def _index_moments(inputs: BundleInputs, videos: pa.Table) -> CatalogMoments | None:
    if not inputs.moments or inputs.embed is None:
        return None
    names = moment_encoder_names(inputs.embed.moments, encoder_names(inputs.embed.encoders))
    return index_moments(inputs.moments, videos.column("video_id").combine_chunks(), names)


def _released(recommender: MatrixRecommender) -> PopularRecommender | None:
    """Return the videos by the noised counts of a private recommender; None for others."""
    counts = recommender.released_counts
    return None if counts is None else PopularRecommender.from_counts(recommender.videos, counts)


def popular_videos(
    videos: pa.Table,
    interactions: pa.Table | None,
    config: BundleConfig,
    released: PopularRecommender | None = None,
) -> list[str]:
    """Return at most `config.popular` available videos, the most popular first, ties by id.

    Args:
        videos: VIDEOS.
        interactions: INTERACTIONS; without them the newest videos come first, those without a date last.
        config: Length of the list, and the measure of popularity.
        released: Noised counts, in the place of those of `interactions`.
    """
    available = videos.filter(videos.column("available")).sort_by("video_id")
    if interactions is None and released is None:
        order = [("published_at", "descending"), ("video_id", "ascending")]
        return available.sort_by(order).column("video_id").to_pylist()[: config.popular]
    ids = available.column("video_id").combine_chunks()
    if released is None:
        assert interactions is not None
        model = PopularRecommender(config.popularity).fit(interactions)
    else:
        model = released
    indices = model.videos.find(ids)
    popularity = np.where(indices >= 0, model.popularity[indices], 0)
    best = np.argsort(-popularity, kind="stable")
    return ids.take(pa.array(best[popularity[best] > 0][: config.popular])).to_pylist()


def count_popularity(
    popular: Sequence[str],
    videos: pa.Table,
    interactions: pa.Table | None,
    released: PopularRecommender | None = None,
) -> Popularity:
    """Count the shoppers of popular videos in INTERACTIONS; without them nobody has seen any.

    Args:
        popular: Result of `popular_videos`.
        videos: VIDEOS.
        interactions: INTERACTIONS, of which those with available videos count.
        released: Noised counts, in the place of those of `interactions`.
    """
    if released is not None:
        counts = np.rint(released.popularity).astype(int).tolist()
        noised = dict(zip(released.videos.ids.to_pylist(), counts, strict=True))
        return Popularity.from_order(
            popular, [noised.get(name, 0) for name in popular], sum(count > 0 for count in counts)
        )
    if interactions is None:
        return Popularity.from_order(popular, [0] * len(popular), 0)
    available = videos.filter(videos.column("available")).column("video_id").combine_chunks()
    known = interactions.filter(pc.is_in(interactions.column("video_id"), value_set=available))
    counted = known.group_by("video_id").aggregate([("user_id", "count_distinct")])
    names, users = (counted.column(name).to_pylist() for name in ("video_id", "user_id_count_distinct"))
    by_video = dict(zip(names, users, strict=True))
    return Popularity.from_order(popular, [by_video.get(name, 0) for name in popular], len(by_video))


def _save_components(folder: StorageFolder, bundle: ServingBundle, inputs: BundleInputs) -> list[str]:
    """Save the models of a bundle, each in a folder of its own, and return the folders' names."""
    saved = {
        RANKER: bundle.ranker,
        INDEX: bundle.index,
        CREATOR_MODEL: inputs.creator_model,
        LIVE: bundle.live,
        MOMENTS_FOLDER: bundle.moments,
    }
    present = {name: model for name, model in saved.items() if model is not None}
    for name, model in present.items():
        model.save(join_uri(folder.uri, name))
    names = list(present)
    if inputs.fingerprints is not None:
        ids = bundle.videos.column("video_id").combine_chunks()
        save_fingerprints(join_uri(folder.uri, FINGERPRINTS), inputs.fingerprints, ids)
        names.append(FINGERPRINTS)
    return names


def _data(bundle: ServingBundle, inputs: BundleInputs) -> dict[str, Any]:
    """Return what the manifest says of a bundle's data."""
    return {
        "format": FORMAT,
        "made_at": bundle.made_at,
        # For lists of bundles, which read no other file.
        "videos": bundle.videos.num_rows,
        "encoder": bundle.encoder,
        # Decides whether an erased shopper may be in it, and names nobody.
        "log_end": inputs.log_end,
        # Later events are those that no part of the bundle has seen.
        "log_newest": inputs.log_newest,
        "watched_videos": bundle.popularity.watched_videos,
        "privacy": _privacy(inputs),
        "held_back": dict(inputs.held_back),
    }


def _privacy(inputs: BundleInputs) -> dict[str, Any] | None:
    """Return what private fits have promised and spent, and the parts that they do not cover.

    The promise of the recommender is given as it is, that of the ranker under its name. None without any.
    """
    promise = None if inputs.recommender is None else inputs.recommender.report.get("privacy")
    ranked = None if inputs.ranker is None else inputs.ranker.promise
    if promise is None and ranked is None:
        return None
    others = {
        # Without a private recommender, its neighbors and the popular list are those of exact counts.
        "recommender": (inputs.recommender or inputs.interactions) if promise is None else None,
        RANKER: inputs.ranker if ranked is None else None,
        LIVE: inputs.live,
        CREATOR_MODEL: inputs.creator_model,
        "creators": inputs.creators,
    }
    named = [name for name, part in others.items() if part is not None]
    return {**(promise or {}), **({} if ranked is None else {RANKER: ranked}), "not_covered": named}


def _save_encoder_models(
    folder: StorageFolder, bundle: ServingBundle
) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Save the learned encoders, and return the settings that name their copies, and the copies' folders."""
    if bundle.embed is None:
        return None, {}
    models = copy_encoder_models(bundle.embed, folder.uri)
    return replace_model_folders(bundle.embed.model_dump(mode="json"), models), models


def _write(
    folder: StorageFolder,
    bundle: ServingBundle,
    config: BundleConfig,
    inputs: BundleInputs,
) -> None:
    components = _save_components(folder, bundle, inputs)
    words, vocabulary = bundle.text_index.to_arrays()
    near = {"places": bundle.neighbors.indices, "scores": bundle.neighbors.scores}
    arrays = {NEIGHBOURS + name: array for name, array in near.items()}
    arrays |= {WORDS + name: array for name, array in words.items()}
    tables = {
        "videos": bundle.videos,
        "fused": bundle.content.embeddings,
        "texts": bundle.texts,
        "popular": pa.table(
            {
                "video_id": pa.array(bundle.popular, pa.string()),
                "users": pa.array([bundle.popularity.videos[v].users for v in bundle.popular], pa.int64()),
            }
        ),
        "words": vocabulary,
        "other_videos": pa.table({"video_id": pa.array(bundle.other_videos, pa.string())}),
        "creators": bundle.creators,
        "canaries": bundle.smoke_answers,
    }
    embed, models = _save_encoder_models(folder, bundle)
    about = {
        "encoder": bundle.encoder,
        "embed": embed,
        "profiles": bundle.profiles.model_dump(mode="json"),
        "history_factors": dict(bundle.history_factors),
        "early_leave_s": bundle.early_leave_s,
    }
    parts = {name: component_digest(folder.uri, name) for name in (*components, *models.values())}
    write_artifact(
        folder.uri,
        ModelArtifact(
            KIND,
            config.model_dump(mode="json"),
            arrays,
            {name: table for name, table in tables.items() if table is not None},
            {ABOUT: json.dumps(about, sort_keys=True, ensure_ascii=False).encode()},
            _data(bundle, inputs) | {"parts": parts},
            inputs.measured,
        ),
    )
