#!/usr/bin/env bash
# Make the secrets of a new installation in ./secrets, and print API keys for the shop and its operator, which are kept
# nowhere else. What is there already stays. REDIS_HOST is the server of profiles and events (redis).
#
# The folder is for its owner only. The files in it can be read by all who get past it: containers read them, mounted one
# by one, as users of their own. Needs Python 3.
set -euo pipefail
install -d -m 700 secrets
cd secrets

python3 - "${REDIS_HOST:-redis}" <<'PYTHON'
import hashlib
import secrets
import sys
from pathlib import Path


def keep(name, text):
    path = Path(name)
    if not path.exists():
        path.write_text(text)
        path.chmod(0o644)
    return path.read_text()


for name in ("auth_token", "shopper_secrets", "grafana_password", "redis_password"):
    keep(name, secrets.token_hex(32))
keep("redis_url", f"redis://:{Path('redis_password').read_text()}@{sys.argv[1]}:6379/0")
if not Path("api_keys").exists():
    # As `vrec serve --new-key` makes them: the service has their digests only.
    used = {"metrics:read": "metrics_key", "loop:read+manage": "loop_key"}  # by Prometheus, and by `vrec loop`
    specs = ("shop:read+events", "operator:read+events+manage", *used)
    keys = {spec: f"vrec_{secrets.token_urlsafe(32)}" for spec in specs}
    for spec, name in used.items():
        keep(name, keys[spec])
    digests = {spec: hashlib.sha256(key.encode()).hexdigest() for spec, key in keys.items()}
    keep("api_keys", "".join(f"{spec}:{digest}\n" for spec, digest in digests.items()))
    for spec, key in keys.items():
        if spec not in used:
            print(f"API key of {spec.partition(':')[0]}: {key}")
PYTHON
