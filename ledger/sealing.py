"""Results encrypted at rest: AES-256-GCM, each under a key that the store never sees (decision 0023).

A sealed result is bound to its operation: moved to another record it does not open. It names the key that it was sealed
with, so keys can be changed one after the other: the first of those that are given seals, all of them open.

Layout: mark (2 bytes, which no plain result begins with), key id (8), nonce (12, random), ciphertext and tag (16).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Sequence

MARK = b"\xc1\x01"
"""0xc1 begins nothing in msgpack, which plain results are written in; the second byte is this layout's number."""

KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
"""Random ones may be used for 2^32 results with one key (NIST SP 800-38D, 8.3): a thousand a second for 49 days. Change
keys before that."""


class Unsealable(Exception):
    """A sealed result that cannot be opened: its key is not here, or it is not what was sealed. The message says
    which."""


class Sealing:
    """Seals with the first of `keys`, opens with any. `nonce` yields random bytes, never the same again.

    Raises `ValueError` for keys that are none, and where the library for it is not installed.
    """

    def __init__(self, keys: Sequence[bytes], nonce: Callable[[int], bytes] = os.urandom) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ValueError("encryption needs the library `cryptography`: install holdfast[encryption]") from None
        if not keys:
            raise ValueError("no key to encrypt with")
        self._forged = InvalidTag
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._id = key_id(keys[0])
        self._nonce = nonce

    def seal(self, operation: str, data: bytes) -> bytes:
        """Return `data` so that only who has the key can read it, as a result of `operation`."""
        nonce = self._nonce(NONCE_BYTES)
        return b"".join((MARK, self._id, nonce, self._ciphers[self._id].encrypt(nonce, data, _bound_to(operation))))

    def open(self, operation: str, sealed: bytes) -> bytes:
        """Return what was sealed as a result of `operation`. Raises `Unsealable`."""
        nonce_at = len(MARK) + KEY_ID_BYTES
        data_at = nonce_at + NONCE_BYTES
        named = sealed[len(MARK) : nonce_at]
        cipher = self._ciphers.get(named)
        if cipher is None:
            raise Unsealable(f"it was encrypted with key {named.hex()}, which is not here")
        try:
            return cipher.decrypt(sealed[nonce_at:data_at], sealed[data_at:], _bound_to(operation))
        except (self._forged, ValueError):
            raise Unsealable("it is not what was encrypted for this operation") from None


def is_sealed(stored: bytes) -> bool:
    """Say whether a stored result is a sealed one."""
    return stored.startswith(MARK)


def read_key(text: bytes) -> bytes:
    """Return the key that a file holds: 32 bytes, in hexadecimal or base64. Raises `ValueError`; the text is not
    repeated."""
    stripped = b"".join(text.split())
    try:
        key = bytes.fromhex(stripped.decode("ascii")) if len(stripped) == 2 * KEY_BYTES else _base64(stripped)
    except (ValueError, binascii.Error):
        raise ValueError(f"it holds no key: {KEY_BYTES} bytes, in hexadecimal or base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"its key has {len(key)} bytes, and needs {KEY_BYTES}")
    return key


def key_id(key: bytes) -> bytes:
    """Return what a sealed result calls its key: nothing that leads to it."""
    return hashlib.sha256(b"holdfast key id\0" + key).digest()[:KEY_ID_BYTES]


def _base64(text: bytes) -> bytes:
    return base64.b64decode(text.replace(b"-", b"+").replace(b"_", b"/"), validate=True)


def _bound_to(operation: str) -> bytes:
    return b"holdfast result\0" + operation.encode()
