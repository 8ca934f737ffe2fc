"""Plan codes: how a second call says "this set, as I saw it".

A code is bound by a secret key to the exact set and options, to the caller's scope and to the moment of the plan.
Stored text cannot know the key, so a code that somebody wrote into a conversation never fits. Whoever has the key can
check a code; the state sees that it is used once.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.traffic.content import add_texts

__all__ = ["CODE_SECONDS", "CodeMaker", "CodeState"]

CODE_SECONDS: Final = 86_400
"""How long a code can be used."""

_CODE = re.compile(r"(\d{1,9})-(\d{10})-([A-Z2-7]{24})")
_SET_CHARS: Final = 16
"""Characters of a code's seal that are for the set; the rest are for the code itself."""


@dataclass(frozen=True, slots=True)
class CodeState:
    """What a code turned out to be.

    Args:
        ours: it was made here, for this scope.
        in_time: it can still be used.
        fits: it was made for exactly this set.
    """

    ours: bool = False
    in_time: bool = False
    fits: bool = False

    @property
    def good(self) -> bool:
        return self.ours and self.in_time and self.fits


class CodeMaker:
    """Makes and checks the codes of one scope.

    Args:
        key: secret bytes; every process that shall accept the others' codes has the same.
        scope: what the codes are bound to besides the set (backend, caller, user).
        others: further keys whose codes are accepted too, while keys are being changed.
        lasting: whether the key outlives this process.
    """

    def __init__(self, key: bytes, scope: str, *others: bytes, lasting: bool = True) -> None:
        self._keys = [hashlib.sha256(b"reflexio-mcp plan code\0" + one).digest() for one in (key, *others)]
        self.lasting = lasting
        self.scope = scope

    def make(self, bound: str, *, count: int, now: float) -> str:
        """The code for a set: how many, when, and the seals of both.

        Args:
            bound: what the code is for, all of it.
            now: epoch seconds.
        """
        begins = f"{count}-{int(now):010d}"
        return f"{begins}-{self._seal(self._keys[0], begins, bound)}{self._own_seal(self._keys[0], begins)}"

    def check(self, code: str, bound: str, *, now: float, seconds: float = CODE_SECONDS) -> CodeState:
        """Whether a code was made for exactly this. Compares in constant time."""
        if not (match := _CODE.fullmatch(code.strip())):
            return CodeState()
        begins, seal = f"{match[1]}-{match[2]}", match[3]
        for key in self._keys:
            if hmac.compare_digest(seal[_SET_CHARS:], self._own_seal(key, begins)):
                fits = hmac.compare_digest(seal[:_SET_CHARS], self._seal(key, begins, bound))
                return CodeState(True, now - int(match[2]) < seconds, fits)
        return CodeState()

    def _seal(self, key: bytes, *parts: str) -> str:
        return base64.b32encode(self._digest(key, "set", *parts)[:10]).decode()

    def _own_seal(self, key: bytes, begins: str) -> str:
        return base64.b32encode(self._digest(key, "code", begins)[:5]).decode()

    def _digest(self, key: bytes, *parts: str) -> bytes:
        digest = hmac.new(key, digestmod=hashlib.sha256)
        add_texts(digest, (self.scope, *parts))
        return digest.digest()
