"""Key agreement, masks and sealed messages of secure sums, all by the library `cryptography`.

X25519 (RFC 7748), HKDF-SHA-256 (RFC 5869), ChaCha20 and ChaCha20-Poly1305 (RFC 8439).
"""

import os

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vrec.core.errors import FederatedError
from vrec.privacy.secure_sum.fixed_point import Words

KEY_BYTES = 32
"""Bytes of private and public keys, and of the seeds of masks."""
_NONCE_BYTES = 12
_VERSION = b"vrec secure sum 1 "


def new_private_key() -> bytes:
    """Return a new private key of X25519."""
    return os.urandom(KEY_BYTES)


def public_key(private: bytes) -> bytes:
    """Return the public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def shared_key(private: bytes, public: bytes, session: bytes, purpose: str) -> bytes:
    """Return the 32 bytes that the owners of two key pairs share, for one session and purpose.

    Raises:
        FederatedError: The public key is none, such as one of small order.
    """
    try:
        agreed = X25519PrivateKey.from_private_bytes(private).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        raise FederatedError("a public key of a client is not valid", fix="run the round again") from None
    return HKDF(SHA256(), KEY_BYTES, session, _VERSION + purpose.encode()).derive(agreed)


def mask_words(seed: bytes, length: int) -> Words:
    """Return (length,) uniform words, the key stream of ChaCha20 under a seed that is used once."""
    stream = Cipher(ChaCha20(seed, bytes(16)), None).encryptor().update(bytes(8 * length))
    return np.frombuffer(stream, "<u8").astype(np.uint64)


def seal(key: bytes, data: bytes, about: bytes) -> bytes:
    """Encrypt a message between two clients; `about` must be the same when it is opened."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, data, about)


def unseal(key: bytes, sealed: bytes, about: bytes) -> bytes:
    """Decrypt a message of `seal`.

    Raises:
        FederatedError: It was changed, or is of another key, sender, receiver or session.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise FederatedError(
            "a sealed share of another client cannot be opened", fix="run the round again"
        ) from None
