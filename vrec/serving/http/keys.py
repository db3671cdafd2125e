"""API keys: parsing, lookup and scope checks."""

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self, get_args

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes

from vrec.config.serve import KeyScope
from vrec.core.errors import ServeError
from vrec.core.secrets import WatchedSecret
from vrec.serving.http.audit import mark_audited
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.shopper_tokens import SHOPPER_HEADER, ShopperTokens
from vrec.serving.tenants.context import DEFAULT_TENANT

SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
BROWSER: KeyScope = "browser"
"""Scope of keys in pages, which act for the shopper that the shop's server signs."""
BROWSER_GIVES: frozenset[KeyScope] = frozenset({"read", "events"})
"""Scopes that such keys count as having in the operations that allow them."""
HEADER = "X-API-Key"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """API key, without its secret."""

    name: str
    scopes: frozenset[KeyScope]
    digest: bytes
    """SHA-256 of the secret. It has 256 random bits: a slow hash would not make it harder to guess."""
    expires_at: float = math.inf
    """Seconds since 1970 from which it is not accepted any more."""
    tenant: str = DEFAULT_TENANT
    """Tenant that the key belongs to."""

    @property
    def handle(self) -> str:
        """Name of this key alone: others may have the same name, but not the same digits behind it."""
        return f"{self.name}@{self.digest.hex()[:12]}"

    @property
    def is_browser(self) -> bool:
        """True if pages have the key, for one signed shopper at a time."""
        return BROWSER in self.scopes

    def has_expired(self) -> bool:
        """Return whether it is not accepted any more."""
        return time.time() >= self.expires_at


class ApiKeyring:
    """Keys that a tenant accepts. Several keys may have one name, such as an old and a new one."""

    def __init__(
        self,
        keys: tuple[ApiKey, ...],
        source: WatchedSecret | None = None,
        tokens: ShopperTokens | None = None,
        tenant: str | None = DEFAULT_TENANT,
    ) -> None:
        """Take the keys.

        Args:
            keys: The keys of all tenants.
            source: Variable or file that they came from, if it is to be followed.
            tokens: Check of the shoppers of browser keys; without it, such keys can do nothing.
            tenant: The tenant whose keys are accepted; None accepts those of all.
        """
        self._source, self._tokens, self._tenant = source, tokens, tenant
        self._keys = self._own(keys)

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str],
        variable: str,
        secrets_variable: str | None = None,
        tenant: str | None = DEFAULT_TENANT,
    ) -> Self | None:
        """Parse the keys of an environment variable, or of its file; None if it is absent or empty.

        Args:
            environment: The environment variables.
            variable: Variable of the keys of all tenants.
            secrets_variable: Variable of the secrets that sign shoppers; None without browser keys.
            tenant: The tenant whose keys are accepted; None accepts those of all.

        Returns:
            The keyring, without keys if those are all of other tenants; None for a service without keys.

        Raises:
            ServeError: A file cannot be read, an entry is not `[tenant/]name:scopes:sha256[:expiry]`, or
                there are browser keys and no secrets.
        """
        source = WatchedSecret(variable, environment)
        keys = _parse_keys(source.value, variable)
        secret = WatchedSecret(secrets_variable, environment) if secrets_variable else None
        if (
            tenant is not None
            and any(key.is_browser for key in keys)
            and (secret is None or not secret.value)
        ):
            raise ServeError(
                f"{variable} has a key with the scope {BROWSER}, and {secrets_variable} has no secret",
                fix=f"put a secret of the shop's server into {secrets_variable}: `openssl rand -hex 32`",
            )
        tokens = None if secret is None else ShopperTokens(secret, tenant or DEFAULT_TENANT)
        return cls(keys, source, tokens, tenant) if keys else None

    def check_shopper(self, request: Request, token: str | None, user_ids: Iterable[str]) -> None:
        """Raise HttpProblem if a browser key acts for another shopper than the signed one.

        Args:
            request: The request.
            token: Its header X-Shopper-Token.
            user_ids: Ids of the profiles that it acts for.
        """
        key: ApiKey | None = request.state.key
        if key is not None and key.is_browser:
            if self._tokens is None:
                raise HttpProblem(403, "forbidden", "this service has no secret that signs shoppers")
            self._tokens.check(token, user_ids)

    def check_surfaces(self, request: Request, surfaces: Iterable[str], reserved: str | None) -> None:
        """Raise HttpProblem if a browser key sends events of a surface that is the shop's server's.

        Args:
            request: The request.
            surfaces: Surfaces of its events.
            reserved: Surface that no page may send; None for no such surface.
        """
        key: ApiKey | None = request.state.key
        if key is not None and key.is_browser and reserved is not None and reserved in surfaces:
            detail = f"a page may send no events of the surface {reserved}: that is for the shop's server"
            raise HttpProblem(403, "forbidden", detail)

    def with_handle(self, handle: str) -> ApiKey | None:
        """Return the key of a handle if it is still accepted, or None."""
        self._reload()
        return next((key for key in self._keys if key.handle == handle and not key.has_expired()), None)

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret if it has not expired, or None."""
        key = self.find_any(secret)
        return None if key is None or key.has_expired() else key

    def find_any(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, expired or not, or None.

        A file of keys that has changed is read again first. Every key is compared, each in constant time: the
        time reveals neither which key matches nor how many of its characters do.
        """
        self._reload()
        digest, match = hashlib.sha256(secret.encode(errors="surrogatepass")).digest(), None
        for key in self._keys:
            if hmac.compare_digest(digest, key.digest):
                match = key
        return match

    def _reload(self) -> None:
        if self._source is not None:
            self._source.reload(self._replace)

    def _replace(self, text: str) -> None:
        if not (keys := _parse_keys(text, "the file of keys")):
            raise ServeError("the file of keys has none", fix="put at least one entry into it")
        self._keys = self._own(keys)

    def _own(self, keys: Iterable[ApiKey]) -> tuple[ApiKey, ...]:
        return tuple(key for key in keys if self._tenant is None or key.tenant == self._tenant)


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
    if request.state.expired_key is not None:
        detail = f"the key {request.state.expired_key} has expired: use the one that replaced it"
        raise HttpProblem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="vrec"'})
    if key is None:
        detail = f"this operation needs an API key: send it as `Authorization: Bearer KEY` or `{HEADER}: KEY`"
        if request_secret(request.headers):
            detail = "the service does not know this API key: check that it is complete and was not replaced"
        raise HttpProblem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="vrec"'})
    # `browser` among an operation's scopes allows these keys too; nobody needs it.
    allowed = key.scopes | (BROWSER_GIVES if BROWSER in scopes.scopes and key.is_browser else set())
    missing = [scope for scope in scopes.scopes if scope not in allowed and scope != BROWSER]
    if missing:
        detail = f"the key {key.name} does not have the scope {', '.join(missing)}: use a key that has it"
        raise HttpProblem(403, "forbidden", detail)


ShopperToken = Annotated[
    str | None,
    Header(
        alias=SHOPPER_HEADER,
        max_length=200,
        description="Signed shopper, needed with a key of the scope `browser`: SECONDS.HMAC.",
    ),
]
"""Header parameter of the operations that browser keys may call."""


def key_name(request: Request) -> str | None:
    """Return the name of the key that a request came with; None without one."""
    key: ApiKey | None = request.state.key
    return None if key is None else key.name


def require_scope(
    scope: KeyScope, keys: ApiKeyring | None, *, browsers: bool = False, audited: bool = True
) -> list[Any]:
    """Return the dependencies of an operation that needs a scope.

    Args:
        scope: The scope.
        keys: The keys; None without keys.
        browsers: Whether keys for pages may call the operation too, which then has to check that the request
            acts for the signed shopper (`ApiKeyring.check_shopper`).
        audited: Whether calls of `manage` are marked for the audit log, with or without keys.
    """
    marks = [Depends(mark_audited)] if scope == "manage" and audited else []
    scopes = [scope, BROWSER] if browsers else [scope]
    return marks if keys is None else [*marks, Security(_check, scopes=scopes)]


def _parse_keys(text: str, variable: str) -> tuple[ApiKey, ...]:
    """Return the keys of entries that are separated by commas or lines; raises ServeError."""
    entries = [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]
    keys = tuple(_parse_key(entry, number, variable) for number, entry in enumerate(entries, start=1))
    owners: dict[bytes, str] = {}
    for key in keys:
        if owners.setdefault(key.digest, key.tenant) != key.tenant:
            raise ServeError(
                f"{variable}: the key {key.name} is one of two tenants",
                fix="make a key for each of them with `vrec serve --new-key TENANT/NAME:SCOPES`",
            )
    return keys


def _parse_key(entry: str, number: int, variable: str) -> ApiKey:
    owner, scopes, digest, expiry, *_ = [*entry.split(":", 3), "", "", "", ""]
    tenant, slash, name = owner.rpartition("/")
    names = scopes.split("+")
    known: frozenset[KeyScope] = frozenset(scope for scope in SCOPES if scope in names)
    is_tenant = not slash or _TENANT.fullmatch(tenant) is not None
    is_sound = (
        is_tenant and _NAME.fullmatch(name) and len(known) == len(set(names)) and _DIGEST.fullmatch(digest)
    )
    if is_sound and (BROWSER not in known or len(known) == 1):
        return ApiKey(name, known, bytes.fromhex(digest), _parse_expiry(expiry, number, variable), tenant)
    # The entry is not quoted: it may be a secret that was put there by mistake.
    form = f"{'TENANT/' if slash else ''}name:scopes:sha256[:expiry]"
    raise ServeError(
        f"{variable}: entry {number} is not {form}, with scopes from read, events, manage joined by +, or "
        "browser alone",
        fix="create a key with `vrec serve --new-key NAME:SCOPES` and put the entry into the variable",
    )


def _parse_expiry(text: str, number: int, variable: str) -> float:
    """Return an expiry as seconds since 1970, infinity for none; raises ServeError."""
    if not text:
        return math.inf
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None and len(text) > len("2027-01-31"):
            raise ValueError("no offset")
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ServeError(
            f"{variable}: the expiry of entry {number} is not a date or a time with an offset",
            fix="write it like 2027-01-31 (from its first second in UTC on) or 2027-01-31T12:00:00Z",
        ) from None
