"""Keys of the state: what it keeps of stored content is sealed, and what it looks up is a keyed mark."""

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from reflexio_mcp.state.tables import StateUnusable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Keys"]

NAME_CHARS: Final = 8
MARK_CHARS: Final = 32
NONCE_BYTES: Final = 12
REST: Final = NAME_CHARS + NONCE_BYTES

CHANGED: Final = "a row of the state was changed, or moved from another place"


class Keys:
    """Secrets that the database does not know. The first one is used; the others still open and find what they made.

    Args:
        secrets: returns them, the newest first; called at the first use.
    """

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets

    @cached_property
    def _keys(self) -> dict[str, tuple[bytes, "AESGCM"]]:
        """Of each secret its name, the key of its marks and the key that seals."""
        # Imported at the first deletion: a server starts without it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        def derived(secret: bytes, purpose: str) -> bytes:
            return hmac.digest(secret, f"reflexio-mcp state {purpose}".encode(), "sha256")

        return {
            derived(one, "name").hex()[:NAME_CHARS]: (derived(one, "mark"), AESGCM(derived(one, "seal")))
            for one in self._secrets()
        }

    @property
    def names(self) -> list[str]:
        """What stands for each key beside what it sealed."""
        return list(self._keys)

    def marks(self, *parts: str) -> list[str]:
        """The marks of a text under each key, that of the newest key first."""
        return [_mark(key, parts) for key, _ in self._keys.values()]

    def mark(self, *parts: str) -> str:
        """The mark of a text under the newest key."""
        return self.marks(*parts)[0]

    def seal(self, text: str, place: str) -> bytes:
        """Seal a text for the place where it is kept: moved elsewhere, it cannot be opened."""
        name, nonce = self.names[0], os.urandom(NONCE_BYTES)
        return (
            name.encode()
            + nonce
            + self._keys[name][1].encrypt(nonce, text.encode("utf-8", "surrogatepass"), place.encode())
        )

    def open(self, sealed: bytes, place: str) -> str:
        """Return what was sealed.

        Raises:
            StateUnusable: it was changed, moved, or sealed with a key that is not here.
        """
        from cryptography.exceptions import InvalidTag

        name, nonce, rest = sealed[:NAME_CHARS].decode("latin-1"), sealed[NAME_CHARS:REST], sealed[REST:]
        try:
            return self._keys[name][1].decrypt(nonce, rest, place.encode()).decode("utf-8", "surrogatepass")
        except (InvalidTag, KeyError, ValueError) as error:
            raise StateUnusable(CHANGED, "find out who writes to the state") from error


def _mark(key: bytes, parts: Sequence[str]) -> str:
    # As JSON, so that parts cannot run into each other.
    return hmac.new(key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()[:MARK_CHARS]
