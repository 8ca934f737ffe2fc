"""Plan codes: what a second call brings to say "this set, as I saw it".

A code is bound to the exact set of ids, the caller's scope and the moment of the plan by a key that stored text
cannot know, so that a code written into a conversation by somebody else never fits. No state is kept: whoever
has the key can check it.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CodeMaker", "PlanCode", "read_code"]

_CODE = re.compile(r"(\d{1,7})-([0-9a-z]{1,8})-([A-Z2-7]{16})")


@dataclass(frozen=True, slots=True)
class PlanCode:
    """A code taken apart: how many requests it was for, when it was made (epoch seconds), and its seal."""

    count: int
    made_at: int
    seal: str


class CodeMaker:
    """Makes and checks the codes of one caller.

    Args:
        key: secret bytes; every process that shall accept the others' codes has the same.
        scope: what the codes are bound to besides the set (backend, user).
    """

    def __init__(self, key: bytes, scope: str) -> None:
        self._key = hashlib.sha256(b"reflexio-mcp plan code\0" + key).digest()
        self._scope = scope

    def make(self, request_ids: Iterable[str], *, flags: str, now: float) -> str:
        """The code for a set.

        Args:
            request_ids: in any order.
            flags: what else the person saw and must not change (such as `learnings`).
            now: epoch seconds.
        """
        ids = sorted(request_ids)
        made_at = int(now)
        return f"{len(ids)}-{_base36(made_at)}-{self._seal(ids, flags, made_at)}"

    def fits(self, code: PlanCode, request_ids: Iterable[str], *, flags: str) -> bool:
        """Whether the code was made for exactly this set. Compares in constant time."""
        ids = sorted(request_ids)
        return hmac.compare_digest(code.seal, self._seal(ids, flags, code.made_at))

    def _seal(self, ids: list[str], flags: str, made_at: int) -> str:
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (self._scope, flags, str(made_at), *ids):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return base64.b32encode(digest.digest()[:10]).decode()


def read_code(text: str) -> PlanCode | None:
    """Take a code apart; `None` when it does not have the form of one."""
    if not (match := _CODE.fullmatch(text.strip())):
        return None
    return PlanCode(int(match[1]), int(match[2], 36), match[3])


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
