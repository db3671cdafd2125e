"""A bundle made of its parts and written as a folder."""

import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vrec.bundle.bm25 import Lexicon
from vrec.bundle.bundle import NEIGHBOURS, WORDS, Bundle
from vrec.bundle.catalog import ABOUT, FORMAT, INDEX, KIND, RANKER, part_digest, version_of
from vrec.bundle.config import BundleConfig
from vrec.bundle.inputs import Parts, checked, encoder_of, vectors_of
from vrec.bundle.models import copy_models, embed_with
from vrec.bundle.neighbors import Neighbours
from vrec.bundle.smoke_requests import CANARIES, ask, canary_videos, compare
from vrec.core.artifact import Artefact, write_artefact
from vrec.core.errors import BundleError
from vrec.core.protocols import Content
from vrec.core.tables import MANIFEST, Folder, join
from vrec.retrieval.index.index import FaissIndex
from vrec.retrieval.models.popular import Popular

__all__ = ["BundleConfig", "Parts", "write_bundle"]


def write_bundle(uri: str, parts: Parts, config: BundleConfig) -> str:
    """The version of the bundle that was made of the parts and written to the folder `uri`.

    The manifest is written last: without it there is no bundle, and a writer killed before may be followed
    by another. A folder that holds a bundle already is refused, since services may be reading it. Raises
    BundleError for that and for parts that do not belong together, SchemaError for tables of other columns,
    OutputError where the folder cannot be written.
    """
    folder = Folder(uri)
    if folder.exists(MANIFEST):
        raise BundleError(
            f"{uri}: there is a {MANIFEST} already, and a bundle is never changed",
            mend="give a new folder; a running service moves to it with a reload",
        )
    folder.check_writable()
    bundle = _made(folder.uri, checked(parts), config)
    bundle = replace(bundle, canaries=ask(bundle, canary_videos(bundle.neighbours.ids, config.canaries)))
    # What is not finite now is found by the one who makes it.
    compare(bundle.canaries, bundle.canaries, uri)
    _write(folder, bundle, config)
    return version_of(json.loads(folder.read(MANIFEST)))


def _made(uri: str, parts: Parts, config: BundleConfig) -> Bundle:
    ids: list[str] = parts.videos.column("video_id").to_pylist()
    content, index = Content(parts.videos, parts.fused), FaissIndex(config.index)
    if parts.fused is not None:
        index.add(parts.fused.column("entity_id").to_pylist(), vectors_of(parts.fused))
    neighbours = Neighbours.none(ids)
    if parts.recommender is not None:
        neighbours = Neighbours.of(parts.recommender, ids, config.neighbours)
    return Bundle(
        uri=uri,
        version="",
        made_at=time.time_ns() // 1000,
        encoder=None if parts.fused is None else encoder_of(parts.fused),
        content=content,
        texts=parts.texts,
        ranker=parts.ranker.with_videos(content),
        neighbours=neighbours,
        popular=tuple(popular_first(parts.videos, parts.interactions, config)),
        index=index,
        lexicon=Lexicon.of(parts.videos),
        embed=parts.embed,
        profiles=parts.profiles,
        canaries=CANARIES.empty_table(),
    )


def popular_first(videos: pa.Table, interactions: pa.Table | None, config: BundleConfig) -> list[str]:
    """The ids of at most `config.popular` available videos, the most popular first, ties by id.

    Without INTERACTIONS the newest first, those of unknown age last.
    """
    offer = videos.filter(videos.column("available")).sort_by("video_id")
    if interactions is None:
        order = [("published_at", "descending"), ("video_id", "ascending")]
        return offer.sort_by(order).column("video_id").to_pylist()[: config.popular]
    ids = offer.column("video_id").combine_chunks()
    model = Popular(config.popularity).fit(interactions)
    places = model.videos.find(ids)
    popularity = np.where(places >= 0, model.popularity[places], 0)
    best = np.argsort(-popularity, kind="stable")
    return ids.take(pa.array(best[popularity[best] > 0][: config.popular])).to_pylist()


def _write(folder: Folder, bundle: Bundle, config: BundleConfig) -> None:
    bundle.ranker.save(join(folder.uri, RANKER))
    bundle.index.save(join(folder.uri, INDEX))
    words, vocabulary = bundle.lexicon.store()
    near = {"places": bundle.neighbours.places, "scores": bundle.neighbours.scores}
    arrays = {NEIGHBOURS + name: array for name, array in near.items()}
    arrays |= {WORDS + name: array for name, array in words.items()}
    tables = {
        "videos": bundle.videos,
        "fused": bundle.content.embeddings,
        "texts": bundle.texts,
        "popular": pa.table({"video_id": pa.array(bundle.popular, pa.string())}),
        "words": vocabulary,
        "canaries": bundle.canaries,
    }
    embed, models = None, dict[str, str]()
    if bundle.embed is not None:
        models = copy_models(bundle.embed, folder.uri)
        embed = embed_with(bundle.embed.model_dump(mode="json"), models)
    about = {
        "encoder": bundle.encoder,
        "embed": embed,
        "profiles": bundle.profiles.model_dump(mode="json"),
    }
    data = {
        "format": FORMAT,
        "made_at": bundle.made_at,
        "parts": {name: part_digest(folder.uri, name) for name in (RANKER, INDEX, *models.values())},
    }
    write_artefact(
        folder.uri,
        Artefact(
            KIND,
            config.model_dump(mode="json"),
            arrays,
            {name: table for name, table in tables.items() if table is not None},
            {ABOUT: json.dumps(about, sort_keys=True, ensure_ascii=False).encode()},
            data,
        ),
    )
