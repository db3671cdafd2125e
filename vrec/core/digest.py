"""Short content digests for naming values."""

import hashlib
import json
from collections.abc import Mapping


def digest(value: Mapping[str, object]) -> str:
    """Return the first 12 hex digits of a JSON-serializable mapping's SHA-256, whatever its key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
