"""`vrec robustness content`: what an embedding folder tells of copied and doctored videos."""

from itertools import permutations
from typing import Any

import pyarrow as pa

from vrec.bundle.held_back import content_findings
from vrec.core.errors import SourceError
from vrec.core.schema import VIDEOS
from vrec.core.tables import read_embeddings, read_manifest, read_media
from vrec.core.types import Modality
from vrec.pipelines.inputs import read_videos
from vrec.profiles.update import embedding_matrix
from vrec.robustness.content.agreement import modality_agreement

COMPARED: tuple[Modality, ...] = ("frames", "text", "audio")
LOWEST = 20
"""Number of videos with the least agreement that are reported per pair of modalities."""


def report_content(embeddings: str, videos: str | None = None) -> dict[str, Any]:
    """Return the copies, the suspicious videos, and those whose modalities agree least.

    Args:
        embeddings: Folder of `vrec embed`; a path or a URI.
        videos: VIDEOS with publishing dates, which say who was first; without it the first by id is.

    Raises:
        SourceError, SchemaError: A table cannot be read.
    """
    manifest = read_manifest(embeddings)
    if manifest is None:
        raise SourceError(f"{embeddings}: no embeddings there", fix="give the folder that `vrec embed` wrote")
    table = _undated(read_media(embeddings)) if videos is None else read_videos(videos)
    findings = content_findings(manifest, table)
    return {
        "videos": int(manifest["counts"]["embedded"]),
        "copies": dict(findings.copies),
        "suspicious": dict(findings.suspicious),
        "agreement": _agreement(embeddings),
    }


def _undated(media: pa.Table) -> pa.Table:
    ids = media.column("video_id").combine_chunks()
    dates = pa.nulls(len(ids), VIDEOS.arrow().field("published_at").type)
    return pa.table({"video_id": ids, "published_at": dates})


def _agreement(uri: str) -> list[dict[str, Any]]:
    """Return the videos whose second modality is least like that of their neighbors by the first."""
    tables = {modality: read_embeddings(uri, modality) for modality in COMPARED}
    rows: list[dict[str, Any]] = []
    for first, second in permutations([m for m in COMPARED if tables[m] is not None], 2):
        one, other = tables[first], tables[second]
        assert one is not None
        assert other is not None
        both = sorted(set(one.column("entity_id").to_pylist()) & set(other.column("entity_id").to_pylist()))
        if len(both) < 2:
            continue
        values = modality_agreement(_vectors(one, both), _vectors(other, both))
        order = sorted(zip(values.tolist(), both, strict=True))[:LOWEST]
        rows += [
            {"video_id": name, "by": first, "compared": second, "agreement": round(value, 4)}
            for value, name in order
        ]
    return rows


def _vectors(table: pa.Table, video_ids: list[str]) -> Any:
    row = {name: number for number, name in enumerate(table.column("entity_id").to_pylist())}
    return embedding_matrix(table)[[row[name] for name in video_ids]]
