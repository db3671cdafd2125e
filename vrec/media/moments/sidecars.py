"""Files of subtitles beside videos, on any filesystem that can tell whether a file is there."""

import contextlib
import hashlib
import posixpath
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs

from vrec.core.errors import SourceError
from vrec.core.uris import is_web, resolve
from vrec.media.moments.subtitles import MAX_BYTES, SIDECAR_FORMATS


@dataclass(frozen=True, slots=True)
class Sidecar:
    """File of subtitles beside a video."""

    uri: str
    hash: str
    """SHA-256 of its first MAX_BYTES."""


def find_sidecar(uri: str) -> Sidecar | None:
    """Return the file of subtitles beside a video: its name with another ending, `.srt` before `.vtt`.

    None where there is none that can be read. On the web none is looked for.
    """
    stem, extension = posixpath.splitext(uri)
    if is_web(uri) or "/" in extension or "?" in extension:
        return None
    for ending in SIDECAR_FORMATS:
        beside = stem + ending
        with contextlib.suppress(SourceError, pa.ArrowException, OSError, ValueError):
            filesystem, path = resolve(beside)
            if filesystem.get_file_info(path).type == pafs.FileType.File:
                with filesystem.open_input_stream(path, compression=None) as stream:
                    return Sidecar(beside, hashlib.sha256(stream.read(MAX_BYTES)).hexdigest())
    return None
