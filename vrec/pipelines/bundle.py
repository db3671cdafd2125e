"""`vrec bundle`: the outputs of other commands, put together for serving."""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.held_back import with_first_dates
from vrec.bundle.inputs import BundleInputs, validate_inputs
from vrec.bundle.write import check_new_folder, write_bundle
from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.errors import BundleError, VrecError
from vrec.core.tables import MANIFEST, StorageFolder, read_embeddings, read_manifest, read_media, read_moments
from vrec.core.types import Modality
from vrec.core.uris import absolute_uri
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import MOMENT_MODALITIES
from vrec.events.creators import follows_from_events
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.fit.local import fit_model
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.held_content import find_held, hold_back_content
from vrec.pipelines.inputs import InputData, InputPaths, inputs_report, log_end, read_inputs
from vrec.privacy.config import require_no_epsilon
from vrec.profiles.creators import creator_statistics
from vrec.ranking.registry import LOG_END, TEST_REPORT, load_ranker
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.batch import newest_at
from vrec.retrieval.config import check_kind
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.models.creators import CreatorRecommender
from vrec.retrieval.registry import load_recommender

_log = logging.getLogger(__name__)


def make_bundle(
    inputs: InputPaths,
    out: str,
    settings: Settings,
    *,
    ranker: str | None = None,
    recommender: str | None = None,
    live: str | None = None,
    model: str = "auto",
    creators: str | None = None,
    moments: str | None = None,
) -> dict[str, Any]:
    """Write a bundle to the folder `out`, read it back, check it by its smoke requests; return a summary.

    Runs in this process.

    Args:
        inputs: events, VIDEOS and, if there are any, embeddings.
        out: the folder of the bundle.
        settings: `train.ranker.profiles` must be the settings that the ranker was trained with.
        ranker: the folder that `vrec train ranker` left; None ranks in the order of the recommender.
        recommender: the folder that `vrec fit` left; None fits one here.
        live: the folder that `vrec fit --model live` left; None for none.
        model: name of the recommender that is fitted.
        creators: the folder of a recommender of creators; None recommends them by their videos and figures.
        moments: the embedding folder with the moments; None takes those of the embeddings, if they have any.

    Raises:
        BundleError: the inputs do not belong together.
        FitError: the recommender cannot be fitted.
        EventsError, SchemaError, SourceError, ModelError: an input cannot be read.
        OutputError: the folder cannot be written.
    """
    check_kind(model)
    out, begun = absolute_uri(out), time.perf_counter()
    check_new_folder(out)
    events = settings.events.model_copy(update={"of": "video"})
    data = read_inputs(inputs, events, "fused", GateOptions(recommender))
    if data.content is None or data.content.videos is None:
        raise BundleError("no VIDEOS: what is there to recommend?", fix="give --videos a VIDEOS table")
    interactions = aggregate_interactions(data.interactions, settings.events.interest)
    findings = find_held(inputs.embeddings, videos := data.content.videos)
    data, held = hold_back_content(data, inputs.embeddings, settings.bundle)
    copies = findings.copies if "copies" in settings.bundle.hold_back else {}
    fitted = load_recommender(recommender) if recommender else None
    is_private = fitted is not None and fitted.released_counts is not None
    bundle_inputs = BundleInputs(
        videos=with_first_dates(videos, copies),
        ranker=load_ranker(ranker) if ranker else None,
        profiles=settings.train.ranker.profiles,
        fused=data.content.embeddings if data.content else None,
        fingerprints=_fingerprints(inputs.embeddings) if settings.bundle.fingerprints else None,
        held_back=held,
        texts=read_embeddings(inputs.embeddings, "text") if inputs.embeddings else None,
        recommender=fitted,
        live=LiveRecommender.load(live) if live else None,
        interactions=interactions,
        embed=_embed_config(inputs.embeddings, moments) if inputs.embeddings else None,
        moments=_moments(inputs.embeddings, moments),
        # Figures of creators are exact counts, which a private recommender's bundle must not have.
        creators=None if is_private else _creators(data),
        creator_model=CreatorRecommender.load(creators) if creators else None,
    )
    if bundle_inputs.recommender is None:
        require_no_epsilon(settings.privacy, "the fit of `vrec bundle`")
        # Before the fit, which may take minutes.
        validate_inputs(bundle_inputs)
        bundle_inputs = replace(bundle_inputs, recommender=_fit(model, data, interactions, settings))
    measured = _measured(ranker, bundle_inputs)
    bundle_inputs = replace(bundle_inputs, measured=measured, **_log_ends(data, fitted, measured))
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
    summary = _summary(bundle) | inputs_report(data)
    summary |= {"copies": dict(findings.copies), "suspicious": dict(findings.suspicious), "held_back": held}
    return {"out": out, **summary, "seconds": round(time.perf_counter() - begun, 3)}


def _fingerprints(embeddings: str | None) -> pa.Table:
    """Return the fingerprints of an embedding folder; raise BundleError if there are none."""
    media = None if embeddings is None else read_media(embeddings).select(["video_id", "fingerprint"])
    if media is None or media.column("fingerprint").null_count == media.num_rows:
        raise BundleError(
            "bundle.fingerprints is set, and there are no fingerprints",
            fix="give --embeddings made with embed.near_duplicates, or leave bundle.fingerprints out",
        )
    return media.filter(pc.is_valid(media.column("fingerprint")))


def _summary(bundle: ServingBundle) -> dict[str, Any]:
    """Return the figures of a bundle."""
    return {
        "version": bundle.version,
        "encoder": bundle.encoder,
        "ranker": bundle.ranker.kind,
        "videos": bundle.videos.num_rows,
        "vectors": len(bundle.index),
        "texts": 0 if bundle.texts is None else bundle.texts.num_rows,
        "neighbours": int((bundle.neighbors.indices >= 0).any(axis=1).sum()),
        "popular": len(bundle.popular),
        "creators": bundle.creators.num_rows,
        "moments": 0 if bundle.moments is None else len(bundle.moments),
        "bytes": StorageFolder(bundle.uri).total_bytes(),
    }


def _measured(ranker: str | None, inputs: BundleInputs) -> dict[str, dict[str, Any]]:
    """Return what was measured of the models: a ranker's test, if its folder has one, and a fit's report.

    A private ranker has no test, but what its training promised.
    """
    found: dict[str, dict[str, Any]] = {}
    if inputs.ranker is not None and inputs.ranker.promise is not None:
        found["ranker"] = {"privacy": inputs.ranker.promise}
    elif ranker is not None:
        with contextlib.suppress(FileNotFoundError):
            found["ranker"] = json.loads(StorageFolder(ranker).read(TEST_REPORT))
    if inputs.recommender is not None and inputs.recommender.report:
        found["recommender"] = dict(inputs.recommender.report)
    return found


def _log_ends(
    data: InputData, fitted: MatrixRecommender | None, measured: Mapping[str, Mapping[str, Any]]
) -> dict[str, int | None]:
    """Return the ends of the oldest and the newest log that a part of the bundle was made of."""
    ends = [log_end(data.events), measured.get("ranker", {}).get(LOG_END)]
    if fitted is not None and fitted.histories.at.size:
        ends.append(newest_at(fitted))
    known = [end for end in ends if end is not None]
    return {"log_end": min(known, default=None), "log_newest": max(known, default=None)}


def _creators(data: InputData) -> pa.Table:
    """Return CREATORS by the events, and by FOLLOWS if given, else by the follows among the events."""
    assert data.content is not None
    assert data.content.videos is not None
    events = data.events
    if data.about_creators is not None:
        events = pa.concat_tables([events, data.about_creators])
    follows = data.content.follows
    if follows is None or not pc.any(pc.not_equal(follows.column("entity"), "user")).as_py():
        follows = follows_from_events(events, data.content.videos)
    return creator_statistics(events, data.content.videos, follows)


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


def _moments(embeddings: str | None, moments: str | None) -> dict[Modality, pa.Table | None]:
    """Return MOMENTS by modality of the folder `moments`, or else of the embeddings."""
    if embeddings is None and moments is not None:
        raise BundleError(
            "moments without embeddings: nothing says with which encoders to search them",
            fix="give --embeddings too",
        )
    folder = moments or embeddings
    if folder is None:
        return {}
    found: dict[Modality, pa.Table | None] = {
        modality: read_moments(folder, modality) for modality in MOMENT_MODALITIES
    }
    if moments is not None and not any(table is not None for table in found.values()):
        raise BundleError(f"{moments} has no moments", fix="make them with `vrec embed --moments`")
    return found


def _embed_config(uri: str, moments: str | None = None) -> EmbedConfig:
    """Return the settings in the manifest of an embedding folder, with those of another folder's moments."""
    if moments is not None:
        return _embed_config(uri).model_copy(update={"moments": _embed_config(moments).moments})
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
