"""Format of a table's file, told by its content: Parquet, CSV, TSV or JSON lines, also compressed."""

from typing import Literal

import pyarrow.fs as pafs

HEAD_BYTES = 1 << 16
Compression = Literal["gzip", "zstd", "bz2"]
_COMPRESSIONS: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
)


def detect_format(filesystem: pafs.FileSystem, path: str) -> tuple[str, Compression | None]:
    """Return the format of a file, `Parquet`, `json` or a text file's separator, and its compression."""
    if filesystem.get_file_info(path).type == pafs.FileType.Directory:
        return "Parquet", None
    head = _read_head(filesystem, path, None)
    compression: Compression | None = next(
        (name for mark, name in _COMPRESSIONS if head.startswith(mark)), None
    )
    if compression:
        head = _read_head(filesystem, path, compression)
    name = path.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2")
    if head.startswith(b"PAR1") or name.endswith(".parquet"):
        return "Parquet", compression
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "json", compression
    if name.endswith((".jsonl", ".ndjson")):
        return "json", compression
    header = head.splitlines()[0] if head else b""
    usual = "\t" if name.endswith((".tsv", ".tab")) else ","
    others = (separator for separator in "\t;|" if separator.encode() in header)
    return (usual if usual.encode() in header else next(others, usual)), compression


def _read_head(filesystem: pafs.FileSystem, path: str, compression: Compression | None) -> bytes:
    with filesystem.open_input_stream(path, compression=compression) as stream:
        return stream.read(HEAD_BYTES)
