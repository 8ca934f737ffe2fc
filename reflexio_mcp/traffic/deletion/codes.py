"""Plan codes: how a second call says "this set, as I saw it".

A secret key binds a code to the exact set and options, to the caller's scope and to the time of the plan. Stored text
cannot know the key, so a code that somebody wrote into a conversation never fits. The state lets a code be used once.
"""

import base64
import hashlib
import hmac
import re
from typing import Final, Literal

from reflexio_mcp.traffic.content import add_texts

__all__ = ["CODE_SECONDS", "CodeMaker", "Misfit"]

CODE_SECONDS: Final = 86_400
"""Seconds in which a code can be used."""

Misfit = Literal["unknown", "old", "other"]
"""Why a code does not fit: it was not made here for this scope, it is too old, or it is for another set."""

_CODE = re.compile(r"(\d{10})-([A-Z2-7]{8})([A-Z2-7]{16})")


class CodeMaker:
    """Makes and checks the codes of one scope.

    Args:
        key: secret bytes that are the same in every process whose codes are accepted.
        scope: the backend, caller and user that codes are bound to.
        others: further keys whose codes are accepted, while keys are being changed.
        lasting: whether the key outlives this process.
    """

    def __init__(self, key: bytes, scope: str, *others: bytes, lasting: bool = True) -> None:
        self._keys = [hashlib.sha256(b"reflexio-mcp plan code\0" + one).digest() for one in (key, *others)]
        self.lasting = lasting
        self.scope = scope

    def make(self, bound: str, *, now: float) -> str:
        """Return the code for a set: the time, a seal of the time, and a seal of the time and the set.

        Args:
            bound: everything that the code is for.
            now: epoch seconds.
        """
        time, key = f"{int(now):010d}", self._keys[0]
        return f"{time}-{self._seal(key, time)[:8]}{self._seal(key, time, bound)}"

    def check(self, code: str, bound: str, *, now: float) -> Misfit | None:
        """Return why a code does not fit this set; `None` if it fits. Compares in constant time."""
        if match := _CODE.fullmatch(code.strip()):
            time, ours, seal = match.groups()
            for key in self._keys:
                if hmac.compare_digest(ours, self._seal(key, time)[:8]):
                    fits = hmac.compare_digest(seal, self._seal(key, time, bound))
                    return "old" if now - int(time) >= CODE_SECONDS else None if fits else "other"
        return "unknown"

    def _seal(self, key: bytes, *parts: str) -> str:
        digest = hmac.new(key, digestmod=hashlib.sha256)
        add_texts(digest, (self.scope, *parts))
        return base64.b32encode(digest.digest()[:10]).decode()
