"""API keys: what the environment says of them, who a request comes from, and what it may do."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes

from vrec.config.serve import KeyScope
from vrec.core.errors import ServeError
from vrec.serving.http.errors import HttpProblem

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
HEADER = "X-API-Key"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without the secret itself."""

    name: str
    scopes: frozenset[KeyScope]
    digest: bytes
    """SHA-256 of the secret. Secrets are 256 random bits, which no slow hash would make harder to guess."""


class ApiKeyring:
    """The keys that are let in."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], variable: str) -> Self | None:
        """The keys of an environment variable, None where it is absent or empty.

        Raises ServeError where an entry is not `name:scopes:sha256`.
        """
        entries = [entry.strip() for entry in environment.get(variable, "").split(",") if entry.strip()]
        keys = tuple(_key_of(entry, number, variable) for number, entry in enumerate(entries, start=1))
        if len({key.name for key in keys}) < len(keys):
            raise ServeError(f"{variable}: two keys have one name", fix="give every key a name of its own")
        return cls(keys) if keys else None

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, or None.

        Every key is compared, each in constant time: which one it is, or how much of it fits, does not show
        in how long it takes.
        """
        digest, found = hashlib.sha256(secret.encode(errors="surrogatepass")).digest(), None
        for key in self._keys:
            if hmac.compare_digest(digest, key.digest):
                found = key
        return found


def create_key(spec: str) -> tuple[str, str]:
    """A new secret, to be given to its user, and the entry for the environment variable.

    The entry does not tell the secret. `asked` is `name:scopes`. Raises ServeError for a name or scopes that
    cannot be.
    """
    secret = f"vrec_{secrets.token_urlsafe(32)}"
    entry = f"{spec}:{hashlib.sha256(secret.encode()).hexdigest()}"
    _key_of(entry, 1, "--new-key")
    return secret, entry


def request_secret(headers: Mapping[str, str]) -> str | None:
    """The secret that a request's headers (names in lower case) bring, as a bearer token or in X-API-Key."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get(HEADER.lower())


_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key as a bearer token.")
_header = APIKeyHeader(name=HEADER, auto_error=False, scheme_name="key", description="An API key.")


async def _check(
    request: Request,
    scopes: SecurityScopes,
    bearer: Annotated[Any, Security(_bearer)],
    header: Annotated[Any, Security(_header)],
) -> None:
    """Raises the problem of a request whose key, found by the gate, is absent, unknown or lacks a scope.

    The two schemes are here for the OpenAPI document alone. Async, or FastAPI would call it in a thread.
    """
    key: ApiKey | None = request.state.key
    if key is None:
        detail = f"this needs a key: send it as `Authorization: Bearer KEY` or `{HEADER}: KEY`"
        raise HttpProblem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="vrec"'})
    lacking = [scope for scope in scopes.scopes if scope not in key.scopes]
    if lacking:
        detail = f"the key {key.name} lacks the scope {', '.join(lacking)}: use one that has it"
        raise HttpProblem(403, "forbidden", detail)


def require_scope(scope: KeyScope, keys: ApiKeyring | None) -> list[Any]:
    """The dependencies of an operation that needs a scope: none where there are no keys."""
    return [] if keys is None else [Security(_check, scopes=[scope])]


def _key_of(entry: str, number: int, variable: str) -> ApiKey:
    name, _, rest = entry.partition(":")
    scopes, _, digest = rest.partition(":")
    given = scopes.split("+")
    known: frozenset[KeyScope] = frozenset(scope for scope in SCOPES if scope in given)
    if _NAME.fullmatch(name) and len(known) == len(set(given)) and _DIGEST.fullmatch(digest):
        return ApiKey(name, known, bytes.fromhex(digest))
    # The entry itself is not quoted: it may be a secret that was put there by mistake.
    raise ServeError(
        f"{variable}: entry {number} is not name:scopes:sha256, scopes being {', '.join(SCOPES)} joined by +",
        fix="make one by `vrec serve --new-key NAME:SCOPES`, and put what it gives into the variable",
    )
