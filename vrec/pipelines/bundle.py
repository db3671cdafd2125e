"""`vrec bundle`: what other commands left in their folders, put together for serving."""

import time
from typing import Any

import pyarrow.fs as pafs
from pydantic import ValidationError

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import write_bundle
from vrec.config.settings import Settings
from vrec.core.errors import BundleError
from vrec.core.tables import StorageFolder, absolute_uri, read_embeddings, read_manifest
from vrec.encoders.config import EmbedConfig
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.ranking.registry import load_ranker
from vrec.retrieval.registry import load_recommender


def make_bundle(
    inputs: InputPaths, out: str, settings: Settings, *, ranker: str, recommender: str | None = None
) -> dict[str, Any]:
    """What was put together and written to the folder `out`, after reading it back and asking its canaries.

    `ranker` and `recommender` are folders of `vrec train ranker` and `vrec fit`. Profiles are those of
    `train.ranker.profiles`, so the settings must be those that the ranker was trained with. Runs in this process.
    Raises BundleError for what does not belong together, EventsError, SchemaError, SourceError or ModelError
    for what cannot be read, OutputError for a folder that cannot be written.
    """
    out, begun = absolute_uri(out), time.perf_counter()
    material = read_inputs(inputs, settings.events, "fused")
    if material.content is None or material.content.videos is None:
        raise BundleError("no VIDEOS: what is there to recommend?", fix="give --videos a VIDEOS table")
    parts = BundleInputs(
        videos=material.content.videos,
        ranker=load_ranker(ranker),
        profiles=settings.train.ranker.profiles,
        fused=material.content.embeddings,
        texts=read_embeddings(inputs.embeddings, "text") if inputs.embeddings else None,
        recommender=load_recommender(recommender) if recommender else None,
        interactions=aggregate_interactions(material.interactions, settings.events.interest),
        embed=_embed_config(inputs.embeddings) if inputs.embeddings else None,
    )
    write_bundle(out, parts, settings.bundle)
    written = ServingBundle.load(out)
    written.check()
    return {
        "out": out,
        "version": written.version,
        "encoder": written.encoder,
        "videos": written.videos.num_rows,
        "vectors": len(written.index),
        "texts": 0 if written.texts is None else written.texts.num_rows,
        "neighbours": int((written.neighbors.places >= 0).any(axis=1).sum()),
        "popular": len(written.popular),
        "bytes": _size(StorageFolder(out)),
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
            fix="embed the catalogue again with this version",
        ) from None


def _size(folder: StorageFolder) -> int:
    found = folder.filesystem.get_file_info(pafs.FileSelector(folder.path, recursive=True))
    return sum(info.size for info in found if info.type == pafs.FileType.File)
