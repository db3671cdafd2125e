"""Masks for credentials inside URIs, in everything that is printed, logged or written to a table of failures.

A presigned URL is a password: whoever has its query can read the file. docs/security.md says what is masked.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

MASK = "***"

_SHOWN = (
    r"endpoint_override|region|scheme|allow_bucket_creation|allow_bucket_deletion|retry_limit_seconds"
    r"|X-Amz-Algorithm|X-Amz-Date|X-Amz-Expires|X-Amz-SignedHeaders"
)
"""Names in a query whose values are no secrets: a list of those that are would miss the next service's."""
_VALUE = r"[^&\s\"'`]+?(?=[:.,;)\]}>]*(?:[&\s\"'`]|$))"
_QUERY_VALUE = re.compile(rf"([?&](?!(?:{_SHOWN})=)[^=&?\s]+=){_VALUE}", re.IGNORECASE)
_QUERY_NAME = re.compile(rf"(\?)(?![^=&\s]+=){_VALUE}")
# The key of an object store may hold `/`, which belongs encoded in a URI, and is masked where it is not.
_PASSWORD = re.compile(r"(://[^/?#\s:@\"']*):(?:[^/?#\s\"']*|(?!\d{1,5}/)[^?#\s\"']*?)@")
_TOKEN = re.compile(r"(https?://)[^/?#\s:@\"']+@", re.IGNORECASE)


def mask_credentials(text: str) -> str:
    """Return text with the credentials of every URI in it replaced by `***`.

    Masked are passwords (`s3://KEY:SECRET@bucket`), tokens before a host (`https://TOKEN@host`), and the
    values in a query, except those of settings such as `region`. Text without a URI stays as it is.
    """
    if "://" not in text:
        return text
    text = _PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _TOKEN.sub(rf"\1{MASK}@", text)
    return _QUERY_NAME.sub(rf"\1{MASK}", _QUERY_VALUE.sub(rf"\1{MASK}", text))


def mask_values(value: T) -> T:
    """Return a copy of JSON-like values in which every text went through `mask_credentials`."""
    masked: Any = value
    if isinstance(value, str):
        masked = mask_credentials(value)
    elif isinstance(value, Mapping):
        masked = {mask_values(key): mask_values(inner) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        masked = [mask_values(inner) for inner in value]
    return masked
