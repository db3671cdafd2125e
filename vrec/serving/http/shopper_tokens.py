"""Tokens by which a shop's server vouches for the shopper of a browser key."""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Sequence

from vrec.core.errors import ServeError
from vrec.core.secrets import WatchedSecret
from vrec.serving.http.errors import HttpProblem
from vrec.serving.tenants.context import DEFAULT_TENANT

SHOPPER_HEADER = "X-Shopper-Token"
MIN_SECRET_CHARS = 32
"""Minimum length of a secret that signs tokens."""
_SECRET = re.compile(r"(?:([a-z0-9][a-z0-9-]{0,31}):)?(.+)")
_TOKEN = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")


def sign_shopper(user_id: str, secret: str, expires: int) -> str:
    """Return a token for a shopper: the expiry, a dot, and the HMAC-SHA-256 of `expires.user_id` in hex.

    Args:
        user_id: Id of the profile: a `user_id`, or `session:` and a `session_id`.
        secret: Secret of the shop's server and the service.
        expires: Seconds since 1970 from which the token is not valid any more.
    """
    text = f"{expires}.{user_id}".encode(errors="surrogatepass")
    return f"{expires}.{hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()}"


class ShopperTokens:
    """Check of tokens, by the secrets of an environment variable or of its file, which is read again.

    A secret belongs to the tenant that is named before it, as in `shop-b:SECRET`, else to the default one.
    """

    def __init__(self, secret: WatchedSecret, tenant: str = DEFAULT_TENANT) -> None:
        """Read a tenant's secrets.

        Raises:
            ServeError: A secret is too short, or the file cannot be read.
        """
        self._secret, self._tenant = secret, tenant
        self._secrets = _parse(secret.value, secret.variable, tenant)

    def check(self, token: str | None, user_ids: Iterable[str], now: float | None = None) -> None:
        """Raise HttpProblem unless a token is valid for all these shoppers.

        Args:
            token: Value of the header X-Shopper-Token.
            user_ids: Ids of the profiles that the request acts for.
            now: Seconds since 1970; None takes the clock.
        """
        if token is None:
            raise _unauthorized(f"a browser key needs a signed shopper: send {SHOPPER_HEADER}")
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise _unauthorized(f"{SHOPPER_HEADER} is not SECONDS.HMAC, with 64 lower-case hex digits")
        expires = int(match[1])
        if expires <= (time.time() if now is None else now):
            raise _unauthorized(f"{SHOPPER_HEADER} has expired: let the shop's server sign another one")
        secrets = self._current()
        for user_id in dict.fromkeys(user_ids):
            # Each secret is compared, so that the time does not tell which one it is.
            signed = [hmac.compare_digest(sign_shopper(user_id, one, expires), token) for one in secrets]
            if not any(signed):
                detail = f"{SHOPPER_HEADER} is not signed for the shopper of this request"
                raise HttpProblem(403, "forbidden", detail)

    def _current(self) -> Sequence[str]:
        self._secret.reload(self._replace)
        return self._secrets

    def _replace(self, text: str) -> None:
        self._secrets = _parse(text, self._secret.variable, self._tenant)


def _parse(text: str, variable: str, tenant: str) -> tuple[str, ...]:
    """Return the secrets of a tenant; raises ServeError if any tenant's is too short."""
    owned = [match.groups() for one in re.split(r"[,\s]+", text) if (match := _SECRET.fullmatch(one))]
    secrets = tuple(secret for _, secret in owned)
    if any(len(one) < MIN_SECRET_CHARS for one in secrets):
        raise ServeError(
            f"{variable}: a secret has fewer than {MIN_SECRET_CHARS} characters",
            fix="make one with `openssl rand -hex 32`",
        )
    return tuple(secret for owner, secret in owned if (owner or DEFAULT_TENANT) == tenant)


def _unauthorized(detail: str) -> HttpProblem:
    return HttpProblem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="vrec"'})
