"""Sessions of the console: signed cookies that name an API key without its secret."""

import base64
import binascii
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256

from vrec.core.tables import StorageFolder
from vrec.core.uris import local_path
from vrec.serving.http.keys import ApiKey

SESSION_COOKIE = "vrec-console"
SESSION_S = 8 * 3_600
"""Seconds after which a session ends."""
SIGNING_KEY = "console.key"
"""File in the data folder: the secret that signs sessions, the same for all HTTP replicas."""
REREAD_S = 1.0
"""Seconds between two readings of SIGNING_KEY because of signatures that do not fit."""
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ConsoleSession:
    """Session of a browser."""

    key: str
    """Handle of the API key (`ApiKey.handle`); "" before it is given, and in a service without keys."""
    expires_at: int
    """Seconds since 1970."""
    nonce: str
    """Random text, so that no two sessions have the same form token."""

    @classmethod
    def begin(cls, key: str = "") -> "ConsoleSession":
        """Return a new session."""
        return cls(key, int(time.time()) + SESSION_S, secrets.token_urlsafe(16))


def claimed_key(cookie: str) -> str:
    """Return the handle of the API key that a cookie names, whoever signed it; "" if it names none."""
    try:
        key = json.loads(_decode(cookie.partition(".")[0]))["key"]
    except (ValueError, TypeError, KeyError, binascii.Error):
        return ""
    return key if isinstance(key, str) else ""


class SessionSigner:
    """Signs sessions and the tokens of their forms.

    A signature covers the digest of the API key too: a session ends as soon as the key is removed or its
    secret changes.
    """

    def __init__(self, data: str, find_key: Callable[[str], ApiKey | None]) -> None:
        """Build the signer.

        Args:
            data: The data folder of the service.
            find_key: Function that returns the API key of a handle, or None.
        """
        self._data, self._find_key = data, find_key
        self._secret: bytes | None = None
        self._read_at = 0.0

    def cookie(self, session: ConsoleSession) -> str:
        """Return the cookie of a session; raises OutputError if the signing key cannot be stored."""
        body = _encode(json.dumps(asdict(session)).encode())
        return f"{body}.{self._sign('session', body, session)}"

    def session(self, cookie: str) -> ConsoleSession | None:
        """Return the session of a cookie; None if it was not signed here, or has ended."""
        body, _, signature = cookie.partition(".")
        try:
            session = ConsoleSession(**json.loads(_decode(body)))
            if not isinstance(session.key, str) or session.expires_at <= time.time():
                return None
        except (ValueError, TypeError, binascii.Error):
            return None
        if session.key and self._find_key(session.key) is None:
            return None
        if self._is_signed(body, signature, session):
            return session
        # Two replicas that start together may both have written a signing key: the file has the valid one.
        if time.monotonic() - self._read_at < REREAD_S:
            return None
        self._secret = None
        return session if self._is_signed(body, signature, session) else None

    def form_token(self, session: ConsoleSession) -> str:
        """Return a token that every form of a session has.

        Each page gets another one: the length of compressed pages that repeat what is in their address would
        reveal one that stays (BREACH).
        """
        salt = secrets.token_urlsafe(8)
        return f"{salt}.{self._sign('form', f'{session.nonce} {salt}', session)}"

    def fits(self, token: str, session: ConsoleSession) -> bool:
        """Return whether a form's token is that of the session."""
        salt, _, signature = token.partition(".")
        expected = self._sign("form", f"{session.nonce} {salt}", session)
        return hmac.compare_digest(signature.encode(errors="replace"), expected.encode())

    def _is_signed(self, body: str, signature: str, session: ConsoleSession) -> bool:
        return hmac.compare_digest(signature.encode(), self._sign("session", body, session).encode())

    def _sign(self, use: str, text: str, session: ConsoleSession) -> str:
        key = self._find_key(session.key) if session.key else None
        message = b"\0".join((use.encode(), text.encode(), b"" if key is None else key.digest))
        return _encode(hmac.digest(self._signing_key(), message, sha256))

    def _signing_key(self) -> bytes:
        if self._secret is None:
            self._read_at = time.monotonic()
            folder = StorageFolder(self._data)
            try:
                self._secret = folder.read(SIGNING_KEY)
            except FileNotFoundError:
                self._secret = b""
            if len(self._secret) != _KEY_BYTES:
                folder.write(SIGNING_KEY, secrets.token_bytes(_KEY_BYTES))
                if (path := local_path(folder.path_of(SIGNING_KEY))) is not None and folder.local:
                    os.chmod(path, 0o600)
                self._secret = folder.read(SIGNING_KEY)
        return self._secret


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
