"""Cached features of a catalog, computed on Ray Data: only new videos are decoded and encoded.

`extract_features` reads in the order of its stages, those of `vrec embed` with other encoders: list → plan →
decode, encode and checkpoint → merge → write.
"""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.digest import digest
from vrec.core.errors import ModelError, SourceError
from vrec.core.schema import FAILURES, conform
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.encoders.build import encoder_names
from vrec.encoders.learned.features import FeatureSet
from vrec.media.catalog import open_source
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.embed.checkpoints import PARTS, previous_state, remove_parts
from vrec.pipelines.embed.compact import select_parts, update_uris
from vrec.pipelines.embed.plan import EmbedPlan, hash_contents, list_catalog, make_plan, recipe_digest
from vrec.pipelines.embed.run import embed_pending
from vrec.pipelines.embed.stages import PART_METADATA
from vrec.pipelines.features.merge import concatenate_feature_sets, merge_parts
from vrec.pipelines.features.stages import FeatureJob
from vrec.pipelines.output import lock_folder, open_output

FACTS = "facts"
"""The subfolder of the table of decoded videos, whose name is the fingerprint of their features."""
VERSION = 1
"""Version of the computation: raised whenever the same videos and settings give other features."""


@dataclass(frozen=True, slots=True)
class ExtractedFeatures:
    """Features of a catalog, and its failures."""

    features: FeatureSet
    uri: str
    """The folder of the features."""
    reused: bool
    """Whether all features came from an earlier run."""
    new: int
    """Videos decoded in this run."""
    failures: pa.Table
    """FAILURES: videos without features."""


def extract_features(
    videos: str, out: str, settings: Settings, *, address: str | None = None, log: TextIO | None = None
) -> ExtractedFeatures:
    """Compute the features of the catalog `videos` and store them in the folder `out`.

    Features of an earlier or a killed run that are unchanged stay. A bad video costs only a row of FAILURES.

    Args:
        videos: folder or VIDEOS table.
        out: the folder of the features.
        settings: `embed` says how videos are decoded and encoded, `train.encoder.features` what is stored.
        address: the Ray cluster, as `connect_cluster` takes it.
        log: stream for progress, standard error by default.

    Raises:
        SourceError: no video can be used.
        ModelError: `out` holds something else.
        SchemaError, ConfigError, OutputError, ClusterError: the job cannot run.
    """
    source, folder = open_source(videos), open_output(out, PARTS)
    with lock_folder(folder), contextlib.ExitStack() as stack:
        connect = functools.cache(lambda: stack.enter_context(connect_cluster(address)))

        # List the catalog.
        refs, duplicates = list_catalog(source)
        job = feature_job(folder, settings)
        previous = _load_previous(folder)

        # Plan: compare with the state that earlier runs left.
        old_tables = [name] if previous and folder.exists(name := _facts_name(previous)) else []
        state = previous_state(folder, old_tables)
        plan = make_plan(refs, duplicates, state, job.recipe, lambda rows: hash_contents(rows, job, connect))

        # Decode, encode and checkpoint on the workers, one part per batch.
        totals = embed_pending(plan.pending, job, connect, log, label="features")
        plan.parts.update(dict.fromkeys(totals.parts))
        if previous and old_tables and not plan.parts and not plan.dropped:
            facts = folder.read_parquet(old_tables[0])
            return ExtractedFeatures(previous, folder.uri, True, 0, _failures(facts, duplicates))

        # Merge the parts with the features that are reused.
        parts = list(select_parts(folder, plan.parts))
        facts = _merge_facts(folder, old_tables, plan, parts, refs)
        if not facts["error"].null_count:
            raise SourceError(f"{source.uri}: {_unusable_message(facts)}", fix="fix or replace the videos")
        sets = [_reusable_rows(previous, plan), merge_parts(parts, job)]
        features = concatenate_feature_sets([features for features in sets if features is not None])

        # Write.
        _write(folder, features, facts)
        return ExtractedFeatures(features, folder.uri, False, totals.videos, _failures(facts, duplicates))


def feature_job(folder: StorageFolder, settings: Settings) -> FeatureJob:
    """Return the description of a run for its workers.

    Frames are encoded by the frozen network, and nothing is fused: learned heads are trained on its features.
    """
    encoders = settings.embed.encoders
    encoders = encoders.model_copy(update={"frames": encoders.cnn, "fusion": None})
    config = settings.embed.model_copy(update={"encoders": encoders, "moments": None})
    features = settings.train.encoder.features
    recipe = recipe_digest(config, encoder_names(encoders))
    key = {"embed": recipe, "features": features.model_dump(mode="json"), "version": VERSION}
    return FeatureJob(folder.uri, config, digest(key), features)


def _load_previous(folder: StorageFolder) -> FeatureSet | None:
    if not folder.exists(MANIFEST):
        return None
    try:
        return FeatureSet.load(folder.uri)
    except ModelError as error:
        raise ModelError(str(error), fix="give --features another folder, or remove this one") from None


def _facts_name(features: FeatureSet) -> str:
    return f"{FACTS}/{features.fingerprint}.parquet"


def _merge_facts(
    folder: StorageFolder, old: Sequence[str], plan: EmbedPlan, parts: Sequence[pa.Table], refs: pa.Table
) -> pa.Table:
    """Return the metadata of every video of the current catalog, by id."""
    reused = plan.reused["video_id"].filter(pc.equal(plan.reused["origin"], ""))
    tables = [folder.read_parquet(name) for name in old]
    tables = [table.filter(pc.is_in(table["video_id"], value_set=reused)) for table in tables]
    facts = pa.concat_tables([*tables, *(part.select(PART_METADATA) for part in parts)])
    # A file that moved is not decoded again.
    return update_uris(facts.sort_by("video_id"), refs)


def _failures(facts: pa.Table, duplicates: pa.Table) -> pa.Table:
    failed = facts.filter(pc.is_valid(facts["error"])).select(FAILURES.arrow().names)
    return conform(pa.concat_tables([failed.cast(duplicates.schema), duplicates]), FAILURES, stage="features")


def _unusable_message(facts: pa.Table) -> str:
    first = facts.slice(0, 1).to_pylist()[0]
    count = f"none of {facts.num_rows:,} videos" if facts.num_rows > 1 else "the one video cannot"
    can = "can be used; the first, " if facts.num_rows > 1 else "be used: "
    return f"{count} {can}{first['video_id']}: {first['error']}: {first['message']}"


def _reusable_rows(old: FeatureSet | None, plan: EmbedPlan) -> FeatureSet | None:
    """Return the rows of earlier features that are still valid, None without any."""
    if old is None or not plan.reused.num_rows:
        return None
    stays = set(plan.reused["video_id"].filter(pc.equal(plan.reused["origin"], "")).to_pylist())
    return old.select([row for row, video in enumerate(old.video_ids) if video in stays])


def _write(folder: StorageFolder, features: FeatureSet, facts: pa.Table) -> None:
    # Facts first: features without their facts would be computed again.
    name = _facts_name(features)
    folder.write_parquet(name, facts)
    features.save(folder.uri)
    for file in folder.files(FACTS):
        if f"{FACTS}/{file}" != name:
            folder.remove(f"{FACTS}/{file}")
    remove_parts(folder)
