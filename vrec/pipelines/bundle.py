"""`vrec bundle`: the outputs of other commands, put together for serving."""

import contextlib
import json
import logging
import time
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.inputs import BundleInputs, validate_inputs
from vrec.bundle.write import check_new_folder, write_bundle
from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import BundleError, VrecError
from vrec.core.tables import MANIFEST, StorageFolder, read_embeddings, read_manifest
from vrec.core.uris import absolute_uri
from vrec.encoders.config import EmbedConfig
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.fit.local import fit_model
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.ranking.registry import TEST_REPORT, load_ranker
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import check_kind
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.registry import load_recommender

_log = logging.getLogger(__name__)


def make_bundle(
    inputs: InputPaths,
    out: str,
    settings: Settings,
    *,
    ranker: str | None = None,
    recommender: str | None = None,
    model: str = "auto",
) -> dict[str, Any]:
    """Write a bundle to the folder `out`, read it back, check it by its smoke requests; return a summary.

    Runs in this process.

    Args:
        inputs: events, VIDEOS and, if there are any, embeddings.
        out: the folder of the bundle.
        settings: `train.ranker.profiles` must be the settings that the ranker was trained with.
        ranker: the folder that `vrec train ranker` left; None ranks in the order of the recommender.
        recommender: the folder that `vrec fit` left; None fits one here.
        model: name of the recommender that is fitted.

    Raises:
        BundleError: the inputs do not belong together.
        FitError: the recommender cannot be fitted.
        EventsError, SchemaError, SourceError, ModelError: an input cannot be read.
        OutputError: the folder cannot be written.
    """
    check_kind(model)
    out, begun = absolute_uri(out), time.perf_counter()
    check_new_folder(out)
    data = read_inputs(inputs, settings.events, "fused")
    if data.content is None or data.content.videos is None:
        raise BundleError("no VIDEOS: what is there to recommend?", fix="give --videos a VIDEOS table")
    interactions = aggregate_interactions(data.interactions, settings.events.interest)
    bundle_inputs = BundleInputs(
        videos=data.content.videos,
        ranker=load_ranker(ranker) if ranker else None,
        profiles=settings.train.ranker.profiles,
        fused=data.content.embeddings,
        texts=read_embeddings(inputs.embeddings, "text") if inputs.embeddings else None,
        recommender=load_recommender(recommender) if recommender else None,
        interactions=interactions,
        embed=_embed_config(inputs.embeddings) if inputs.embeddings else None,
    )
    if bundle_inputs.recommender is None:
        # Before the fit, which may take minutes.
        validate_inputs(bundle_inputs)
        bundle_inputs = replace(bundle_inputs, recommender=_fit(model, data, interactions, settings))
    bundle_inputs = replace(bundle_inputs, measured=_measured(ranker, bundle_inputs.recommender))
    _log.info("writing a bundle of %s videos", f"{bundle_inputs.videos.num_rows:,}")
    write_bundle(out, bundle_inputs, settings.bundle)
    _log.info("checking it with its smoke requests")
    try:
        bundle = ServingBundle.load(out)
        bundle.check()
    except VrecError:
        # Without its manifest it is no bundle, and the command may be run again.
        StorageFolder(out).remove(MANIFEST)
        raise
    return {
        "out": out,
        "version": bundle.version,
        "encoder": bundle.encoder,
        "ranker": bundle.ranker.kind,
        "videos": bundle.videos.num_rows,
        "vectors": len(bundle.index),
        "texts": 0 if bundle.texts is None else bundle.texts.num_rows,
        "neighbours": int((bundle.neighbors.indices >= 0).any(axis=1).sum()),
        "popular": len(bundle.popular),
        "bytes": StorageFolder(out).total_bytes(),
        "seconds": round(time.perf_counter() - begun, 3),
    }


def _measured(ranker: str | None, recommender: MatrixRecommender | None) -> dict[str, dict[str, Any]]:
    """Return what was measured of the models: a ranker's test, if its folder has one, and a fit's report."""
    found: dict[str, dict[str, Any]] = {}
    if ranker is not None:
        with contextlib.suppress(FileNotFoundError):
            found["ranker"] = json.loads(StorageFolder(ranker).read(TEST_REPORT))
    if recommender is not None and recommender.report:
        found["recommender"] = dict(recommender.report)
    return found


def _fit(model: str, data: InputData, interactions: pa.Table, settings: Settings) -> MatrixRecommender:
    """Return a recommender that is fitted on the bundle's events and videos; they must have one in common."""
    assert data.content is not None
    assert data.content.videos is not None
    watched, ids = interactions.column("video_id"), data.content.videos.column("video_id")
    if not pc.any(pc.is_in(watched, value_set=pc.unique(ids))).as_py():
        raise BundleError(
            f"none of the videos in the events is among the {len(ids):,} in VIDEOS, such as {ids[0]}",
            fix="give the events of these videos, or map the column with their ids",
        )
    _log.info("fitting %s on %s events", model, f"{data.events.num_rows:,}")
    fitted, _ = fit_model(model, settings.retrieval, interactions, data.content)
    for line in report_lines(fitted.report):
        _log.info("%s", line)
    return fitted


def _embed_config(uri: str) -> EmbedConfig:
    """Return the settings in the manifest of an embedding folder."""
    manifest = read_manifest(uri) or {}
    try:
        return EmbedConfig.model_validate(manifest.get("config", {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(
            f"{uri} was embedded with settings of another version of vrec: "
            f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}",
            fix="embed the catalog again with this version",
        ) from None
