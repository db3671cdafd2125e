"""Short names for values: the same content, the same name."""

import hashlib
import json
from collections.abc import Mapping


def digest(value: Mapping[str, object]) -> str:
    """12 hex digits of the SHA-256 of a JSON-able mapping, whatever its order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
