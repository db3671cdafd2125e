"""Names of encoders: what they are made of, in twelve hexadecimal digits."""

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from vrec.core.digest import digest
from vrec.core.errors import ConfigError


def encoder_name(kind: str, parts: Mapping[str, object]) -> str:
    """`kind@` and the first 12 hexadecimal digits of the SHA-256 of `parts`.

    `parts` holds whatever changes the vectors, as JSON values; key order is irrelevant.
    """
    return f"{kind}@{digest(parts)}"


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; hashed again only when its size or time of change differ.

    Raises OSError when the file cannot be read.
    """
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # they are only part of the cache's key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_file(package: str, relative: str, *, install: str) -> Path:
    """The path of a data file that an installed package ships, found without importing the package.

    Raises ConfigError, whose fix is to install `install`, when the package or the file is missing.
    """
    spec = importlib.util.find_spec(package)
    origin = spec.origin if spec is not None else None
    path = Path(origin).parent / relative if origin else None
    if path is None or not path.is_file():
        raise ConfigError(f"{relative} of the package {install} is missing", fix=f"pip install {install}")
    return path
