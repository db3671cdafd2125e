"""A bundle made of its parts and written as a folder."""

import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Bm25Index
from vrec.bundle.bundle import NEIGHBOURS, WORDS, ServingBundle
from vrec.bundle.catalog import ABOUT, FORMAT, INDEX, KIND, RANKER, bundle_version, component_digest
from vrec.bundle.config import BundleConfig
from vrec.bundle.inputs import BundleInputs, embedding_matrix, embeddings_encoder, validate_inputs
from vrec.bundle.models import copy_encoder_models, replace_model_folders
from vrec.bundle.neighbors import VideoNeighbors
from vrec.bundle.smoke_requests import (
    SMOKE_ANSWERS,
    check_smoke_answers,
    run_smoke_requests,
    smoke_request_videos,
)
from vrec.core.artifact import ModelArtifact, write_artifact
from vrec.core.errors import BundleError
from vrec.core.tables import MANIFEST, StorageFolder, join_uri
from vrec.core.types import CatalogContent
from vrec.retrieval.index.index import FaissIndex
from vrec.retrieval.models.popular import PopularRecommender

__all__ = ["BundleConfig", "BundleInputs", "write_bundle"]


def write_bundle(uri: str, inputs: BundleInputs, config: BundleConfig) -> str:
    """The version of the bundle that was made of the parts and written to the folder `uri`.

    The manifest is written last: without it there is no bundle, and a writer killed before may be followed
    by another. A folder that holds a bundle already is refused, since services may be reading it. Raises
    BundleError for that and for parts that do not belong together, SchemaError for tables of other columns,
    OutputError where the folder cannot be written.
    """
    folder = StorageFolder(uri)
    if folder.exists(MANIFEST):
        raise BundleError(
            f"{uri}: there is a {MANIFEST} already, and a bundle is never changed",
            fix="give a new folder; a running service moves to it with a reload",
        )
    folder.check_writable()
    bundle = _made(folder.uri, validate_inputs(inputs), config)
    bundle = replace(
        bundle,
        canaries=run_smoke_requests(bundle, smoke_request_videos(bundle.neighbors.ids, config.canaries)),
    )
    # What is not finite now is found by the one who makes it.
    check_smoke_answers(bundle.smoke_answers, bundle.smoke_answers, uri)
    _write(folder, bundle, config)
    return bundle_version(json.loads(folder.read(MANIFEST)))


def _made(uri: str, parts: BundleInputs, config: BundleConfig) -> ServingBundle:
    ids: list[str] = parts.videos.column("video_id").to_pylist()
    content, index = CatalogContent(parts.videos, parts.fused), FaissIndex(config.index)
    if parts.fused is not None:
        index.add(parts.fused.column("entity_id").to_pylist(), embedding_matrix(parts.fused))
    neighbours = VideoNeighbors.empty(ids)
    if parts.recommender is not None:
        neighbours = VideoNeighbors.from_recommender(parts.recommender, ids, config.neighbours)
    return ServingBundle(
        uri=uri,
        version="",
        made_at=time.time_ns() // 1000,
        encoder=None if parts.fused is None else embeddings_encoder(parts.fused),
        content=content,
        texts=parts.texts,
        ranker=parts.ranker.with_videos(content),
        neighbors=neighbours,
        popular=tuple(popular_videos(parts.videos, parts.interactions, config)),
        index=index,
        text_index=Bm25Index.from_videos(parts.videos),
        embed=parts.embed,
        profiles=parts.profiles,
        smoke_answers=SMOKE_ANSWERS.empty_table(),
    )


def popular_videos(videos: pa.Table, interactions: pa.Table | None, config: BundleConfig) -> list[str]:
    """The ids of at most `config.popular` available videos, the most popular first, ties by id.

    Without INTERACTIONS the newest first, those of unknown age last.
    """
    offer = videos.filter(videos.column("available")).sort_by("video_id")
    if interactions is None:
        order = [("published_at", "descending"), ("video_id", "ascending")]
        return offer.sort_by(order).column("video_id").to_pylist()[: config.popular]
    ids = offer.column("video_id").combine_chunks()
    model = PopularRecommender(config.popularity).fit(interactions)
    places = model.videos.find(ids)
    popularity = np.where(places >= 0, model.popularity[places], 0)
    best = np.argsort(-popularity, kind="stable")
    return ids.take(pa.array(best[popularity[best] > 0][: config.popular])).to_pylist()


def _write(folder: StorageFolder, bundle: ServingBundle, config: BundleConfig) -> None:
    bundle.ranker.save(join_uri(folder.uri, RANKER))
    bundle.index.save(join_uri(folder.uri, INDEX))
    words, vocabulary = bundle.text_index.to_arrays()
    near = {"places": bundle.neighbors.places, "scores": bundle.neighbors.scores}
    arrays = {NEIGHBOURS + name: array for name, array in near.items()}
    arrays |= {WORDS + name: array for name, array in words.items()}
    tables = {
        "videos": bundle.videos,
        "fused": bundle.content.embeddings,
        "texts": bundle.texts,
        "popular": pa.table({"video_id": pa.array(bundle.popular, pa.string())}),
        "words": vocabulary,
        "canaries": bundle.smoke_answers,
    }
    embed, models = None, dict[str, str]()
    if bundle.embed is not None:
        models = copy_encoder_models(bundle.embed, folder.uri)
        embed = replace_model_folders(bundle.embed.model_dump(mode="json"), models)
    about = {
        "encoder": bundle.encoder,
        "embed": embed,
        "profiles": bundle.profiles.model_dump(mode="json"),
    }
    data = {
        "format": FORMAT,
        "made_at": bundle.made_at,
        "parts": {name: component_digest(folder.uri, name) for name in (RANKER, INDEX, *models.values())},
    }
    write_artifact(
        folder.uri,
        ModelArtifact(
            KIND,
            config.model_dump(mode="json"),
            arrays,
            {name: table for name, table in tables.items() if table is not None},
            {ABOUT: json.dumps(about, sort_keys=True, ensure_ascii=False).encode()},
            data,
        ),
    )
