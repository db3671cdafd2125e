"""Keyed pseudonyms of ids: HMAC-SHA-256 under keys derived for each tenant, domain and kind of id.

Krawczyk et al. 1997 (RFC 2104, HMAC), Krawczyk and Eronen 2010 (RFC 5869, HKDF), Harkins 2008 (RFC 5297).
"""

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vrec.core.errors import PrivacyError, ServeError
from vrec.core.secrets import FILE_SUFFIX, read_secret

IdKind = Literal["user", "session", "event"]
"""Kinds of ids, each with a key of its own."""

MIN_KEY_BYTES = 32
PREFIX = "p1-"
"""Beginning of every pseudonym; the digit is the version of the scheme."""
SEALED_PREFIX = "s1-"
"""Beginning of every sealed pseudonym of LINKS."""
SESSION = "session:"
"""Beginning of a user_id that stands for a session; it stays legible."""

_SALT = b"vrec pseudonyms 1"
_PSEUDONYM = re.compile(r"(?:session:)?p1-[a-z2-7]{32}")
_BLOCK_BYTES = 64
"""Bytes of a block of SHA-256."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]
"""Pairs of digits of base32 in lower case (RFC 4648) by the 10 bits that they stand for."""
_PLACES = range(150, -1, -10)
"""Places of these bits in a pseudonym."""
_CODES = np.frombuffer(_LETTERS.encode(), np.uint8)
_BYTE_PLACES = np.array([1 << 32, 1 << 24, 1 << 16, 1 << 8, 1], np.uint64)
_DIGIT_PLACES = np.arange(35, -1, -5, dtype=np.uint64)
"""Places of the 8 digits in each 5 bytes."""
_FEW = 8
"""Ids below which they are made one by one."""
_BYTES = 20
"""Bytes of the HMAC in a pseudonym: 160 bits, of which a billion ids share one with a chance below 1e-30."""


def read_key(variable: str, environment: Mapping[str, str] | None = None) -> bytes:
    """Return the key in an environment variable, or in the file that VARIABLE_FILE names.

    Args:
        variable: Name of the variable; a key is never an argument of a command, which others can list.
        environment: The environment variables; None takes those of the process.

    Raises:
        PrivacyError: There is no key, it has fewer than 32 bytes, or its file is empty or cannot be read.
    """
    try:
        key = read_secret(variable, environment).encode()
    except ServeError as error:
        raise PrivacyError(str(error), fix=error.fix) from None
    path = (os.environ if environment is None else environment).get(variable + FILE_SUFFIX, "")
    if not key and path:
        raise PrivacyError(
            f"{variable}{FILE_SUFFIX} names {path}, which is empty",
            fix="make a key with `openssl rand -hex 32`, and put it into that file",
        )
    if not key:
        raise PrivacyError(
            f"{variable} is not set, and neither is {variable}{FILE_SUFFIX}",
            fix=f"make a key with `openssl rand -hex 32`, and put it into {variable}, "
            f"or its file's path into {variable}{FILE_SUFFIX}",
        )
    return check_key(key, variable)


def check_key(key: bytes, name: str) -> bytes:
    """Return a key of 32 bytes or more.

    Raises:
        PrivacyError: It is shorter, and might be found by trying.
    """
    if len(key) < MIN_KEY_BYTES:
        raise PrivacyError(
            f"{name} has {len(key)} bytes, fewer than {MIN_KEY_BYTES}",
            fix="make a key with `openssl rand -hex 32`",
        )
    return key


def derive_key(key: bytes, *parts: str, length: int = 32) -> bytes:
    """Return a key derived by HKDF-SHA-256 for a purpose; other purposes give independent keys.

    Args:
        key: The secret.
        parts: The purpose. Each part carries its length, so that ("ab", "c") and ("a", "bc") differ.
        length: Bytes of the derived key.
    """
    texts = [part.encode() for part in parts]
    info = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
    return HKDF(SHA256(), length, _SALT, info).derive(key)


class Pseudonymizer:
    """Function from the ids of one tenant, domain and kind to pseudonyms.

    Equal ids have equal pseudonyms. Those of other tenants, domains or kinds cannot be compared with them
    without the key.
    """

    def __init__(self, key: bytes, tenant: str, domain: str, kind: IdKind = "user") -> None:
        """Derive the key; raises PrivacyError for a secret of fewer than 32 bytes."""
        derived = derive_key(check_key(key, "the key"), "id", tenant, domain, kind).ljust(_BLOCK_BYTES, b"\0")
        # HMAC's two hashes with the key taken in, once: half the time of hmac.digest for a short id.
        self._inner = hashlib.sha256(bytes(one ^ 0x36 for one in derived))
        self._outer = hashlib.sha256(bytes(one ^ 0x5C for one in derived))
        self._sessions = Pseudonymizer(key, tenant, domain, "session") if kind == "user" else None

    def __call__(self, text: str) -> str:
        """Return the pseudonym of an id: 35 characters, or 43 of a user_id that stands for a session.

        An empty id, which stands for none, stays empty.
        """
        if not text:
            return text
        if self._sessions is not None and text.startswith(SESSION):
            return SESSION + self._sessions(text.removeprefix(SESSION))
        bits = int.from_bytes(self._digest(text), "big")
        return PREFIX + "".join([_PAIRS[bits >> place & 1023] for place in _PLACES])

    def many(self, texts: Sequence[str]) -> list[str]:
        """Return the pseudonyms of many ids, in less than half the time that they would take one by one."""
        if len(texts) < _FEW:
            return [self(text) for text in texts]
        copy_inner, copy_outer, digests = self._inner.copy, self._outer.copy, bytearray()
        for text in texts:
            inner, outer = copy_inner(), copy_outer()
            inner.update(text.encode("utf-8", "surrogatepass"))
            outer.update(inner.digest())
            digests += outer.digest()[:_BYTES]
        groups = np.frombuffer(digests, np.uint8).reshape(-1, 5).astype(np.uint64)
        bits = groups @ _BYTE_PLACES
        letters = _CODES[(bits[:, None] >> _DIGIT_PLACES & np.uint64(31)).astype(np.intp)]
        joined, width = letters.tobytes().decode(), _BYTES * 8 // 5
        made = [PREFIX + joined[start : start + width] for start in range(0, len(joined), width)]
        if self._sessions is None:
            return [one if text else text for text, one in zip(texts, made, strict=True)]
        pairs = zip(texts, made, strict=True)
        return [self(text) if not text or text.startswith(SESSION) else one for text, one in pairs]

    def _digest(self, text: str) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.digest()[:_BYTES]


def is_pseudonym(text: str) -> bool:
    """Return whether an id has the form of a pseudonym."""
    return _PSEUDONYM.fullmatch(text) is not None


class LinkSeal:
    """Deterministic encryption of the accounts in LINKS, by AES-SIV under the link key of a tenant.

    A sealed account fits no id in any data set, so who has LINKS without the link key can join nothing by it.
    """

    def __init__(self, key: bytes, tenant: str) -> None:
        """Derive the key; raises PrivacyError for a secret of fewer than 32 bytes."""
        self._cipher = AESSIV(derive_key(check_key(key, "the link key"), "link", tenant, length=64))

    def seal(self, pseudonym: str, domain: str) -> str:
        """Return the sealed form of a pseudonym of another domain."""
        sealed = self._cipher.encrypt(pseudonym.encode(), [domain.encode()])
        return SEALED_PREFIX + base64.b32encode(sealed).decode().lower().rstrip("=")

    def open(self, sealed: str, domain: str) -> str:
        """Return the pseudonym of a sealed form.

        Raises:
            PrivacyError: It was sealed with another key, for another tenant or domain, or is damaged.
        """
        body = sealed.removeprefix(SEALED_PREFIX).upper()
        try:
            data = base64.b32decode(body + "=" * (-len(body) % 8))
            return self._cipher.decrypt(data, [domain.encode()]).decode()
        except (ValueError, InvalidTag):
            raise PrivacyError(
                f"an account of the domain {domain} was sealed with another link key, for another tenant, or "
                "is damaged",
                fix="give the link key and the tenant with which LINKS was written",
            ) from None
