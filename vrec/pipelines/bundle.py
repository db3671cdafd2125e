"""`vrec bundle`: the outputs of other commands, put together for serving."""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from vrec.bundle.bundle import ServingBundle
from vrec.bundle.held_back import with_first_dates
from vrec.bundle.inputs import BundleInputs, validate_inputs
from vrec.bundle.write import check_new_folder, write_bundle
from vrec.config.settings import Settings
from vrec.core.blocks import MapBlocks, map_in_turn
from vrec.core.compute import pc
from vrec.core.errors import BundleError, VrecError
from vrec.core.tables import MANIFEST, StorageFolder, read_embeddings, read_manifest, read_media, read_moments
from vrec.core.types import CatalogContent, Modality
from vrec.core.uris import absolute_uri, is_uri
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import MOMENT_MODALITIES
from vrec.events.shards.manifest import EventShards
from vrec.pipelines.bundle_log import BundleLog, ShardedLog, log_of_inputs, log_of_shards
from vrec.pipelines.fit.local import fit_model
from vrec.pipelines.fit.sharded import PAIR_BYTES, large_shards
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.held_content import find_held, without_held
from vrec.pipelines.inputs import InputPaths, consents_of, read_content, read_inputs, read_videos
from vrec.pipelines.task_runner import BASE_BYTES, TaskCall, TaskRunner
from vrec.privacy.config import require_no_epsilon
from vrec.ranking.registry import LOG_END, TEST_REPORT, load_ranker
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.batch import newest_at
from vrec.retrieval.config import check_kind
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.models.creators import CreatorRecommender
from vrec.retrieval.registry import load_recommender

_log = logging.getLogger(__name__)

VIDEO_BYTES = 10_000
"""Memory of a video while a bundle is put together, with its neighbors and vectors."""


@dataclass(frozen=True, slots=True)
class BundleOrder:
    """Bundle to be made, beside its events."""

    paths: InputPaths
    out: str
    settings: Settings
    ranker: str | None = None
    """The folder that `vrec train ranker` left; None ranks in the order of the recommender."""
    recommender: str | None = None
    """The folder that `vrec fit` left; None fits one."""
    live: str | None = None
    """The folder that `vrec fit --model live` left; None for none."""
    model: str = "auto"
    """Name of the recommender that is fitted."""
    creators: str | None = None
    """The folder of a recommender of creators; None recommends them by their videos and figures."""
    moments: str | None = None
    """The embedding folder with the moments; None takes those of the embeddings, if they have any."""

    @property
    def uses_uris(self) -> bool:
        """True where another machine finds every file under its name."""
        tables = asdict(self.paths) | {"out": self.out, "ranker": self.ranker, "live": self.live}
        tables |= {"recommender": self.recommender, "creators": self.creators, "moments": self.moments}
        return all(is_uri(one) for one in tables.values() if isinstance(one, str))


def make_bundle(
    inputs: InputPaths,
    out: str,
    settings: Settings,
    *,
    address: str | None = None,
    **models: Any,
) -> dict[str, Any]:
    """Write a bundle to the folder `out`, read it back, check it by its smoke requests; return a summary.

    Runs in this process; where there are many events in shards, as tasks on the cluster, with the neighbors
    and the index by blocks of videos.

    Args:
        inputs: events, VIDEOS and, if there are any, embeddings.
        out: the folder of the bundle.
        settings: `train.ranker.profiles` must be the settings that the ranker was trained with.
        address: the Ray cluster, as `connect_cluster` takes it.
        **models: the other fields of `BundleOrder`.

    Raises:
        BundleError: the inputs do not belong together.
        FitError: the recommender cannot be fitted.
        EventsError, SchemaError, SourceError, ModelError: an input cannot be read.
        OutputError: the folder cannot be written.
        ClusterError: Ray cannot be reached.
    """
    order, begun = BundleOrder(inputs, absolute_uri(out), settings, **models), time.perf_counter()
    check_kind(order.model)
    check_new_folder(order.out)
    summary = None
    if (table := large_shards(inputs, settings, address)) is not None:
        from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
        from vrec.pipelines.ray_tasks import RayTasks

        with connect_cluster(address), unwrap_ray_errors():
            summary = bundle_shards(RayTasks(), table, order, elsewhere=address is not None)
    if summary is None:
        events = settings.events.model_copy(update={"of": "video"})
        data = read_inputs(inputs, events, "fused", GateOptions(order.recommender))
        content = _with_videos(data.content)
        summary = assemble_bundle(order, log_of_inputs(data, settings), content)
    return {"out": order.out, **summary, "seconds": round(time.perf_counter() - begun, 3)}


def bundle_shards(
    tasks: TaskRunner, table: EventShards, order: BundleOrder, *, elsewhere: bool = False
) -> dict[str, Any] | None:
    """Make a bundle of events in shards, by calls; None where rows at fault have to be cut first.

    One call puts the bundle together, and holds the interactions and the bundle. Where the cluster is
    `elsewhere` and does not find the files of this machine, it runs here.
    """
    paths, settings = order.paths, order.settings
    videos = read_videos(paths.videos) if paths.videos else None
    consents = consents_of(paths, settings.events)
    content = _with_videos(read_content(paths, "video", "fused", videos, consents))
    gates = GateOptions(order.recommender)
    log = log_of_shards(tasks, table, paths, settings, content=content, gates=gates)
    if log is None:
        _log.info("rows at fault have to be cut: the events are read in this process")
        return None
    blocks, pairs = log.gathered.blocks, log.gathered.pairs
    # Without the references, which a task would hold and not get.
    log = replace(log, gathered=replace(log.gathered, blocks=(), hides=()))
    if elsewhere and not order.uses_uris:
        return _assemble(order, log, content, tasks.on_ray, *map(tasks.fetch, blocks))
    memory = BASE_BYTES + PAIR_BYTES * pairs + VIDEO_BYTES * (0 if videos is None else videos.num_rows)
    call = TaskCall(_assemble, (order, log, tasks.share(content), tasks.on_ray, *blocks), memory)
    return tasks.run([call])[0][0]


def _assemble(
    order: BundleOrder, log: ShardedLog, content: CatalogContent, on_ray: bool, *blocks: Any
) -> dict[str, Any]:
    mapper: MapBlocks = map_in_turn
    if on_ray:
        from vrec.pipelines.fit.tasks import map_blocks_on_ray as mapper
    return assemble_bundle(order, log.with_interactions(blocks), content, mapper)


def assemble_bundle(
    order: BundleOrder, log: BundleLog, content: CatalogContent, map_blocks: MapBlocks = map_in_turn
) -> dict[str, Any]:
    """Put a bundle together, write and check it; return a summary.

    Args:
        order: The bundle.
        log: What it needs of events.
        content: VIDEOS, and embeddings if there are any.
        map_blocks: Runner of the blocks of videos.
    """
    inputs, out, settings = order.paths, order.out, order.settings
    assert content.videos is not None
    findings = find_held(inputs.embeddings, content.videos)
    content, held = without_held(content, inputs.embeddings, settings.bundle)
    assert content.videos is not None
    copies = findings.copies if "copies" in settings.bundle.hold_back else {}
    fitted = load_recommender(order.recommender) if order.recommender else None
    is_private = fitted is not None and fitted.released_counts is not None
    bundle_inputs = BundleInputs(
        videos=with_first_dates(content.videos, copies),
        ranker=load_ranker(order.ranker) if order.ranker else None,
        profiles=settings.train.ranker.profiles,
        fused=content.embeddings,
        fingerprints=_fingerprints(inputs.embeddings) if settings.bundle.fingerprints else None,
        held_back=held,
        texts=read_embeddings(inputs.embeddings, "text") if inputs.embeddings else None,
        recommender=fitted,
        live=LiveRecommender.load(order.live) if order.live else None,
        interactions=log.interactions,
        embed=_embed_config(inputs.embeddings, order.moments) if inputs.embeddings else None,
        moments=_moments(inputs.embeddings, order.moments),
        # Figures of creators are exact counts, which a private recommender's bundle must not have.
        creators=None if is_private else log.creators,
        creator_model=CreatorRecommender.load(order.creators) if order.creators else None,
    )
    if bundle_inputs.recommender is None:
        require_no_epsilon(settings.privacy, "the fit of `vrec bundle`")
        # Before the fit, which may take minutes.
        validate_inputs(bundle_inputs)
        bundle_inputs = replace(bundle_inputs, recommender=_fit(order, log, content))
    measured = _measured(order.ranker, bundle_inputs)
    bundle_inputs = replace(bundle_inputs, measured=measured, **_log_ends(log.end, fitted, measured))
    _log.info("writing a bundle of %s videos", f"{bundle_inputs.videos.num_rows:,}")
    write_bundle(out, bundle_inputs, settings.bundle, map_blocks)
    bundle = _checked(out)
    found = {"copies": dict(findings.copies), "suspicious": dict(findings.suspicious), "held_back": held}
    return _summary(bundle) | log.report | found


def _checked(out: str) -> ServingBundle:
    """Load a bundle and check it by its smoke requests."""
    _log.info("checking it with its smoke requests")
    try:
        bundle = ServingBundle.load(out)
        bundle.check()
    except VrecError:
        # Without its manifest it is no bundle, and the command may be run again.
        StorageFolder(out).remove(MANIFEST)
        raise
    return bundle


def _with_videos(content: CatalogContent | None) -> CatalogContent:
    """Return the content; raise BundleError without VIDEOS."""
    if content is None or content.videos is None:
        raise BundleError("no VIDEOS: what is there to recommend?", fix="give --videos a VIDEOS table")
    return content


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
    end: int | None, fitted: MatrixRecommender | None, measured: Mapping[str, Mapping[str, Any]]
) -> dict[str, int | None]:
    """Return the ends of the oldest and the newest log that a part of the bundle was made of."""
    ends = [end, measured.get("ranker", {}).get(LOG_END)]
    if fitted is not None and fitted.histories.at.size:
        ends.append(newest_at(fitted))
    known = [one for one in ends if one is not None]
    return {"log_end": min(known, default=None), "log_newest": max(known, default=None)}


def _fit(order: BundleOrder, log: BundleLog, content: CatalogContent) -> MatrixRecommender:
    """Return a recommender that is fitted on the bundle's events and videos; they must have one in common."""
    assert content.videos is not None
    watched, ids = log.interactions.column("video_id"), content.videos.column("video_id")
    if not pc.any(pc.is_in(watched, value_set=pc.unique(ids))).as_py():
        raise BundleError(
            f"none of the videos in the events is among the {len(ids):,} in VIDEOS, such as {ids[0]}",
            fix="give the events of these videos, or map the column with their ids",
        )
    _log.info("fitting %s on %s events", order.model, f"{log.events:,}")
    fitted, _ = fit_model(order.model, order.settings.retrieval, log.interactions, content)
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
