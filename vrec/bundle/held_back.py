"""Videos of which the content earns nothing: later copies of others, and doctored ones."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from vrec.bundle.config import BundleConfig
from vrec.core.compute import pc
from vrec.core.schema import VIDEOS
from vrec.robustness.content.copies import later_copies


class ContentFindings(NamedTuple):
    """Findings of an embedding run about the content of videos."""

    copies: Mapping[str, str]
    """First video by later copy."""
    suspicious: Mapping[str, str]
    """Reason by video that may be doctored."""


def content_findings(manifest: Mapping[str, Any], videos: pa.Table) -> ContentFindings:
    """Return the findings in the manifest of an embedding folder about VIDEOS.

    Args:
        manifest: Manifest of `vrec embed`; what earlier versions did not write counts as nothing.
        videos: VIDEOS, whose dates say which of two copies was first.
    """
    ids = videos.column("video_id").to_pylist()
    dates = dict(zip(ids, videos.column("published_at").to_pylist(), strict=True))
    copies = later_copies(manifest.get("near_duplicates") or (), dates)
    doubts = manifest.get("suspicious") or {}
    return ContentFindings(copies, {name: reason for name, reason in doubts.items() if name in dates})


def held_back(findings: ContentFindings, config: BundleConfig) -> dict[str, str]:
    """Return the reason by video of those that the settings hold back."""
    found: dict[str, str] = {}
    if "suspicious" in config.hold_back:
        found |= findings.suspicious
    if "copies" in config.hold_back:
        found |= {name: f"a copy of {first}" for name, first in findings.copies.items()}
    return found


def without_vectors(embeddings: pa.Table | None, video_ids: Mapping[str, str]) -> pa.Table | None:
    """Return EMBEDDINGS without those of videos; None where no other is left."""
    if embeddings is None or not video_ids:
        return embeddings
    names = pa.array(video_ids, pa.string())
    kept = embeddings.filter(pc.invert(pc.is_in(embeddings.column("entity_id"), value_set=names)))
    return kept if kept.num_rows else None


def unwatched(video_ids: Iterable[str], interactions: pa.Table | None) -> list[str]:
    """Return the videos without a row of INTERACTIONS, which only their content can make neighbors."""
    seen = set() if interactions is None else set(interactions.column("video_id").unique().to_pylist())
    return [video_id for video_id in video_ids if video_id not in seen]


def with_first_dates(videos: pa.Table, copies: Mapping[str, str]) -> pa.Table:
    """Return VIDEOS in which each copy has the publishing date of the first, so that it is not new.

    Args:
        videos: VIDEOS.
        copies: First video by later copy.
    """
    if not copies:
        return videos
    ids = videos.column("video_id").to_pylist()
    dates = videos.column("published_at").to_pylist()
    by_id = dict(zip(ids, dates, strict=True))
    changed = [by_id[copies[name]] if name in copies else at for name, at in zip(ids, dates, strict=True)]
    field = VIDEOS.arrow().field("published_at")
    return videos.set_column(videos.column_names.index("published_at"), field, pa.array(changed, field.type))
