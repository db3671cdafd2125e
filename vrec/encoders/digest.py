"""Names of encoders: their kind and a digest of all that changes their vectors."""

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.core.digest import digest
from vrec.core.errors import ConfigError


def encoder_name(kind: str, parts: Mapping[str, object]) -> str:
    """Return `kind@` and the first 12 hexadecimal digits of the SHA-256 of `parts`.

    Args:
        kind: Kind of the encoder, such as "cnn".
        parts: Everything that changes the vectors, as JSON values; the order of keys is irrelevant.
    """
    return f"{kind}@{digest(parts)}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; hash it again only when its size or mtime changed.

    Raises:
        OSError: The file cannot be read.
    """
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # only part of the cache key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def arrays_digest(arrays: Mapping[str, npt.NDArray[Any]], *, header: str = "") -> str:
    """Return the SHA-256, in hexadecimal, of a header and of names, dtypes, shapes and bytes of arrays."""
    sha = hashlib.sha256(header.encode())
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def package_file(package: str, relative: str, *, install: str) -> Path:
    """Return the path of a data file of an installed package, without importing the package.

    Raises:
        ConfigError: The package or the file is missing; the fix is to install `install`.
    """
    spec = importlib.util.find_spec(package)
    origin = spec.origin if spec is not None else None
    path = Path(origin).parent / relative if origin else None
    if path is None or not path.is_file():
        raise ConfigError(f"{relative} of the package {install} is missing", fix=f"pip install {install}")
    return path
