# cryptography comes with the extra: where it is not installed, this file is not checked against it.
# pyright: basic, reportMissingImports=false
"""Seals what stands in the database and is for this server's eyes only."""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Sealer"]

_VERSION: Final = b"\x01"
_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12


class Sealer:
    """AES-256-GCM under the first of several keys; what any of them sealed is opened.

    Args:
        keys: the state keys, the newest first.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        made = [hashlib.sha256(b"reflexio-mcp recovery copy\0" + key.encode()).digest() for key in keys]
        self._keys = {hashlib.sha256(b"name\0" + key).digest()[:_NAME_BYTES]: AESGCM(key) for key in made}

    def seal(self, data: bytes, place: str) -> bytes:
        """Seal data for the place where it stands: moved elsewhere, it does not open."""
        name, key = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + name + nonce + key.encrypt(nonce, data, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed.

        Raises:
            ValueError: it was sealed for another place or with a key that is gone, or it was changed.
        """
        name, rest = sealed[1 : 1 + _NAME_BYTES], sealed[1 + _NAME_BYTES :]
        key = self._keys.get(name)
        if sealed[:1] != _VERSION or key is None:
            raise ValueError("sealed with a key that this server does not have")
        try:
            return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], place.encode())
        except InvalidTag as error:
            raise ValueError("not what this server sealed") from error
