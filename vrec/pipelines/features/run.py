"""A catalogue's features, made on Ray Data and kept: only what is new is decoded and shown to the network.

plan (what changed) → features (one part a batch, as `vrec embed` does) → one FeatureSet with all of them.
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
from vrec.media.source import open_source
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.embed.checkpoints import PARTS, previous_state
from vrec.pipelines.embed.compact import select_parts
from vrec.pipelines.embed.plan import EmbedPlan, deduplicate_refs, make_plan, recipe_digest
from vrec.pipelines.embed.run import hash_contents, lock_folder, open_output, run_plan
from vrec.pipelines.embed.stages import PART_FACTS
from vrec.pipelines.features.merge import concatenate_feature_sets, merge_parts
from vrec.pipelines.features.stages import FeatureJob

FACTS = "facts"
"""The subfolder of what is known of each video that was decoded, by the fingerprint of its features."""
VERSION = 1
"""Raised whenever the same videos and settings come to give other features."""


@dataclass(frozen=True, slots=True)
class ExtractedFeatures:
    """A catalogue's features, and what came of its videos."""

    features: FeatureSet
    uri: str
    reused: bool
    """Whether all of them were there already."""
    new: int
    """Videos that were decoded in this run."""
    failures: pa.Table
    """FAILURES: videos without features."""


def extract_features(
    videos: str, out: str, settings: Settings, *, address: str | None = None, log: TextIO | None = None
) -> ExtractedFeatures:
    """The features of the catalogue `videos`, kept in the folder `out`.

    `videos` is a folder or a VIDEOS table; `settings.embed` says how it is decoded and encoded, and
    `settings.train.encoder.features` what is kept. What an earlier or a killed run left in `out` and is unchanged
    is kept. Progress goes to `log`, standard error by default. Raises SourceError where no video can be used,
    SchemaError, ConfigError, OutputError or ClusterError where the job cannot run, and ModelError where `out`
    holds something else; a bad video costs a FAILURES row only.
    """
    source, folder = open_source(videos), open_output(out)
    with lock_folder(folder), contextlib.ExitStack() as stack:
        reach = functools.cache(lambda: stack.enter_context(connect_cluster(address)))
        refs, duplicates = deduplicate_refs(source.refs(), source.uri)
        job = feature_job(folder, settings)
        old = _earlier(folder)
        facts = [name] if old and folder.exists(name := _facts_name(old)) else []
        state = previous_state(folder, facts)
        plan = make_plan(refs, duplicates, state, job.recipe, lambda rows: hash_contents(rows, job, reach))
        totals = run_plan(plan, job, reach, log, verb="features")
        plan.parts.update(dict.fromkeys(totals.parts))
        if old and facts and not plan.parts and not plan.dropped:
            found = folder.read_parquet(facts[0])
            return ExtractedFeatures(old, folder.uri, True, 0, _failures(found, duplicates))
        parts = list(select_parts(folder, plan.parts))
        found = _facts(folder, facts, plan, parts, refs)
        if not found["error"].null_count:
            raise SourceError(f"{source.uri}: {_unusable_message(found)}", fix="fix or replace the videos")
        made = merge_parts(parts, job)
        features = concatenate_feature_sets(
            [some for some in (_reusable_rows(old, plan), made) if some is not None]
        )
        _write(folder, features, found)
        return ExtractedFeatures(features, folder.uri, False, totals.videos, _failures(found, duplicates))


def feature_job(folder: StorageFolder, settings: Settings) -> FeatureJob:
    """What workers are told: a network for the frames and nothing fused, since what heads take is frozen."""
    encoders = settings.embed.encoders
    encoders = encoders.model_copy(update={"frames": encoders.cnn, "fusion": None})
    config = settings.embed.model_copy(update={"encoders": encoders})
    kept = settings.train.encoder.features
    recipe = recipe_digest(config, encoder_names(encoders))
    parts = {"embed": recipe, "features": kept.model_dump(mode="json"), "version": VERSION}
    return FeatureJob(folder.uri, config, digest(parts), kept)


def _earlier(folder: StorageFolder) -> FeatureSet | None:
    if not folder.exists(MANIFEST):
        return None
    try:
        return FeatureSet.load(folder.uri)
    except ModelError as error:
        raise ModelError(str(error), fix="give --features another folder, or remove this one") from None


def _facts_name(features: FeatureSet) -> str:
    return f"{FACTS}/{features.fingerprint}.parquet"


def _facts(
    folder: StorageFolder, old: Sequence[str], plan: EmbedPlan, parts: Sequence[pa.Table], refs: pa.Table
) -> pa.Table:
    """The facts of every video of the catalogue as it is now, by id."""
    stays = plan.reused["video_id"].filter(pc.equal(plan.reused["origin"], ""))
    before = [folder.read_parquet(name) for name in old]
    kept = [table.filter(pc.is_in(table["video_id"], value_set=stays)) for table in before]
    found = pa.concat_tables([*kept, *(part.select(PART_FACTS) for part in parts)]).sort_by("video_id")
    # A file that moved is not decoded again for it.
    place = pc.index_in(found["video_id"], value_set=refs["video_id"])
    at = found.column_names.index("uri")
    return found.set_column(at, found.schema.field(at), refs["uri"].take(place))


def _failures(facts: pa.Table, duplicates: pa.Table) -> pa.Table:
    failed = facts.filter(pc.is_valid(facts["error"])).select(FAILURES.arrow().names)
    return conform(pa.concat_tables([failed.cast(duplicates.schema), duplicates]), FAILURES, stage="features")


def _unusable_message(facts: pa.Table) -> str:
    first = facts.slice(0, 1).to_pylist()[0]
    count = f"none of {facts.num_rows:,} videos" if facts.num_rows > 1 else "the one video cannot"
    can = "can be used; the first, " if facts.num_rows > 1 else "be used: "
    return f"{count} {can}{first['video_id']}: {first['error']}: {first['message']}"


def _reusable_rows(old: FeatureSet | None, plan: EmbedPlan) -> FeatureSet | None:
    """The rows of earlier features that are still good."""
    if old is None or not plan.reused.num_rows:
        return None
    stays = set(plan.reused["video_id"].filter(pc.equal(plan.reused["origin"], "")).to_pylist())
    return old.select([row for row, video in enumerate(old.video_ids) if video in stays])


def _write(folder: StorageFolder, features: FeatureSet, facts: pa.Table) -> None:
    # Facts first: features whose facts are missing would be made again.
    name = _facts_name(features)
    folder.write_parquet(name, facts)
    features.save(folder.uri)
    for file in folder.files(FACTS):
        if f"{FACTS}/{file}" != name:
            folder.remove(f"{FACTS}/{file}")
    for file in folder.files(PARTS):
        folder.remove(f"{PARTS}/{file}")
