"""`vrec bundle`: what other commands left in their folders, put together for serving."""

import time
from typing import Any

import pyarrow.fs as pafs
from pydantic import ValidationError

from vrec.bundle.bundle import Bundle
from vrec.bundle.inputs import Parts
from vrec.bundle.write import write_bundle
from vrec.config.settings import Settings
from vrec.core.errors import BundleError
from vrec.core.tables import Folder, absolute, read_embeddings, read_manifest
from vrec.encoders.config import EmbedConfig
from vrec.events.interactions import gather
from vrec.pipelines.inputs import Where, read_material
from vrec.ranking.registry import load as load_ranker
from vrec.retrieval.registry import load as load_recommender


def bundle(
    where: Where, out: str, settings: Settings, *, ranker: str, recommender: str | None = None
) -> dict[str, Any]:
    """What was put together and written to the folder `out`, after reading it back and asking its canaries.

    `ranker` and `recommender` are folders of `vrec train ranker` and `vrec fit`. Profiles are those of
    `train.profiles`, so the settings must be those that the ranker was trained with. Runs in this process.
    Raises BundleError for what does not belong together, EventsError, SchemaError, SourceError or ModelError
    for what cannot be read, OutputError for a folder that cannot be written.
    """
    out, begun = absolute(out), time.perf_counter()
    material = read_material(where, settings.events, "fused")
    if material.content is None or material.content.videos is None:
        raise BundleError("no VIDEOS: what is there to recommend?", mend="give --videos a VIDEOS table")
    parts = Parts(
        videos=material.content.videos,
        ranker=load_ranker(ranker),
        profiles=settings.train.profiles,
        fused=material.content.embeddings,
        texts=read_embeddings(where.embeddings, "text") if where.embeddings else None,
        recommender=load_recommender(recommender) if recommender else None,
        interactions=gather(material.interactions, settings.events.interest),
        embed=_embed_config(where.embeddings) if where.embeddings else None,
    )
    write_bundle(out, parts, settings.bundle)
    written = Bundle.load(out)
    written.check()
    return {
        "out": out,
        "version": written.version,
        "encoder": written.encoder,
        "videos": written.videos.num_rows,
        "vectors": len(written.index),
        "texts": 0 if written.texts is None else written.texts.num_rows,
        "neighbours": int((written.neighbours.places >= 0).any(axis=1).sum()),
        "popular": len(written.popular),
        "bytes": _size(Folder(out)),
        "seconds": round(time.perf_counter() - begun, 3),
    }


def _embed_config(uri: str) -> EmbedConfig:
    """The settings that an embedding folder was made with, as its manifest has them."""
    manifest = read_manifest(uri) or {}
    try:
        return EmbedConfig.model_validate(manifest.get("config", {}))
    except ValidationError as error:
        what = error.errors()[0]
        raise BundleError(
            f"{uri} was embedded with settings of another version of vrec: "
            f"{'.'.join(map(str, what['loc']))}: {what['msg'].lower()}",
            mend="embed the catalogue again with this version",
        ) from None


def _size(folder: Folder) -> int:
    found = folder.filesystem.get_file_info(pafs.FileSelector(folder.path, recursive=True))
    return sum(info.size for info in found if info.type == pafs.FileType.File)
