"""API keys: parsing, lookup and scope checks."""

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
from vrec.core.secrets import read_secret
from vrec.serving.http.errors import HttpProblem

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
HEADER = "X-API-Key"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """API key, without its secret."""

    name: str
    scopes: frozenset[KeyScope]
    digest: bytes
    """SHA-256 of the secret. It has 256 random bits: a slow hash would not make it harder to guess."""


class ApiKeyring:
    """Keys that the service accepts."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = keys

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], variable: str) -> Self | None:
        """Parse the keys of an environment variable, or of its file; None if it is absent or empty.

        Raises:
            ServeError: The file cannot be read, an entry is not `name:scopes:sha256`, or two keys have one
                name.
        """
        text = read_secret(variable, environment)
        entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
        keys = tuple(_parse_key(entry, number, variable) for number, entry in enumerate(entries, start=1))
        if len({key.name for key in keys}) < len(keys):
            raise ServeError(f"{variable}: two keys have the same name", fix="give every key its own name")
        return cls(keys) if keys else None

    def named(self, name: str) -> ApiKey | None:
        """Return the key of a name, or None."""
        return next((key for key in self._keys if key.name == name), None)

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, or None.

        Every key is compared, each in constant time: the time reveals neither which key matches nor how many
        of its characters do.
        """
        digest, match = hashlib.sha256(secret.encode(errors="surrogatepass")).digest(), None
        for key in self._keys:
            if hmac.compare_digest(digest, key.digest):
                match = key
        return match


def create_key(spec: str) -> tuple[str, str]:
    """Create a key.

    Args:
        spec: Name and scopes of the key, `name:scopes`.

    Returns:
        The secret for the user of the key, and the entry for the environment variable, which does not reveal
        the secret.

    Raises:
        ServeError: The name or the scopes are invalid.
    """
    secret = f"vrec_{secrets.token_urlsafe(32)}"
    entry = f"{spec}:{hashlib.sha256(secret.encode()).hexdigest()}"
    _parse_key(entry, 1, "--new-key")
    return secret, entry


def request_secret(headers: Mapping[str, str]) -> str | None:
    """Return the secret in a request's headers (lower-case names): a bearer token, else X-API-Key."""
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
    """Raise HttpProblem if the request's key, set by the middleware, is absent, unknown or lacks a scope.

    The two security schemes are only for the OpenAPI document. Async, since FastAPI calls other functions in
    a thread.
    """
    key: ApiKey | None = request.state.key
    if key is None:
        detail = f"this operation needs an API key: send it as `Authorization: Bearer KEY` or `{HEADER}: KEY`"
        raise HttpProblem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="vrec"'})
    missing = [scope for scope in scopes.scopes if scope not in key.scopes]
    if missing:
        detail = f"the key {key.name} does not have the scope {', '.join(missing)}: use a key that has it"
        raise HttpProblem(403, "forbidden", detail)


def key_name(request: Request) -> str | None:
    """Return the name of the key that a request came with; None without one."""
    key: ApiKey | None = request.state.key
    return None if key is None else key.name


def require_scope(scope: KeyScope, keys: ApiKeyring | None) -> list[Any]:
    """Return the dependencies of an operation that needs a scope; none without keys."""
    return [] if keys is None else [Security(_check, scopes=[scope])]


def _parse_key(entry: str, number: int, variable: str) -> ApiKey:
    name, _, rest = entry.partition(":")
    scopes, _, digest = rest.partition(":")
    names = scopes.split("+")
    known: frozenset[KeyScope] = frozenset(scope for scope in SCOPES if scope in names)
    if _NAME.fullmatch(name) and len(known) == len(set(names)) and _DIGEST.fullmatch(digest):
        return ApiKey(name, known, bytes.fromhex(digest))
    # The entry is not quoted: it may be a secret that was put there by mistake.
    raise ServeError(
        f"{variable}: entry {number} is not name:scopes:sha256, with scopes from "
        f"{', '.join(SCOPES)} joined by +",
        fix="create a key with `vrec serve --new-key NAME:SCOPES` and put the entry into the variable",
    )
