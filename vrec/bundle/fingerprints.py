"""Fingerprints of a bundle's videos, by which copies among uploads are found."""

import pyarrow as pa

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.compute import pc
from vrec.core.errors import BundleError
from vrec.media.duplicates.lookup import CopyIndex

KIND = "fingerprints"


def save_fingerprints(uri: str, fingerprints: pa.Table, video_ids: pa.Array) -> None:
    """Save the fingerprints of some videos in a folder; raise BundleError if one is damaged.

    Args:
        uri: The folder.
        fingerprints: `video_id` and `fingerprint`.
        video_ids: Videos of the bundle; fingerprints of others are left out.
    """
    rows = fingerprints.filter(pc.is_in(fingerprints.column("video_id"), value_set=video_ids))
    rows = rows.select(["video_id", "fingerprint"]).combine_chunks()
    _index(rows)
    write_artifact(uri, ModelArtifact(KIND, {}, {}, {KIND: rows}))


def load_copy_index(uri: str) -> CopyIndex:
    """Load the fingerprints of a folder; raise ModelError if it is damaged."""
    return _index(read_artifact(uri, KIND).tables[KIND])


def _index(rows: pa.Table) -> CopyIndex:
    try:
        return CopyIndex(rows.column("video_id").to_pylist(), rows.column("fingerprint").to_pylist())
    except ValueError as error:
        raise BundleError(f"fingerprints: {error}", fix="embed that video again") from None
