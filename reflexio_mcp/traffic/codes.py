"""Plan codes: what a second call brings to say "this set, as I saw it".

A code is bound to the exact set of ids (each with a mark that tells it from a later request of that id), the
caller's scope and the moment of the plan by a key that stored text cannot know, so that a code written into a
conversation by somebody else never fits. What it says of itself, its moment and number, has a seal of its own: it
can be believed also when the set is another one by now. No state is kept: whoever has the key can check both.
"""

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Changes", "CodeMaker", "PlanCode", "PlansSeen", "changes_between", "read_code"]

MARKS_KEPT: Final = 100_000
"""Ids that `PlansSeen` remembers over all its plans; the newest plan is kept whatever its size."""

_SET_CHARS: Final = 16
"""Characters of a code's seal that are for the set; the rest are for the code itself."""

_CODE = re.compile(r"(\d{1,7})-([0-9a-z]{1,8})-([A-Z2-7]{24})")


@dataclass(frozen=True, slots=True)
class PlanCode:
    """A code taken apart: how many requests it says it is for, when it was made (epoch seconds), and its seals."""

    count: int
    made_at: int
    seal: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is different between the set a code was made for and the set as it is.

    Args:
        code: the code that was brought; `None` when nobody here made it.
        added, removed: the ids, where this process still knows the earlier set.
        known: whether it does.
        flags: what the code was given for, when only that is different (`none` for neither option).
    """

    code: PlanCode | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    known: bool = False
    flags: str = ""


class CodeMaker:
    """Makes and checks the codes of one caller.

    Args:
        key: secret bytes; every process that shall accept the others' codes has the same.
        scope: what the codes are bound to besides the set (backend, user).
    """

    def __init__(self, key: bytes, scope: str) -> None:
        self._key = hashlib.sha256(b"reflexio-mcp plan code\0" + key).digest()
        self._scope = scope

    @property
    def scope(self) -> str:
        """Who the codes are for: a digest that differs between backends and users."""
        return self._scope

    def make(self, marks: Mapping[str, str], *, flags: str, now: float) -> str:
        """The code for a set.

        Args:
            marks: each request id with its mark.
            flags: what else the person saw and must not change (such as `learnings`).
            now: epoch seconds.
        """
        made_at = int(now)
        seals = self._seal(marks, flags, made_at) + self._own_seal(len(marks), made_at)
        return f"{len(marks)}-{_base36(made_at)}-{seals}"

    def read(self, text: str) -> PlanCode | None:
        """Take a code apart; `None` when it was not made with this key for this scope."""
        code = read_code(text)
        if code is None:
            return None
        own = self._own_seal(code.count, code.made_at)
        return code if hmac.compare_digest(code.seal[_SET_CHARS:], own) else None

    def fits(self, code: PlanCode, marks: Mapping[str, str], *, flags: str) -> bool:
        """Whether the code was made for exactly this set. Compares in constant time."""
        return hmac.compare_digest(code.seal[:_SET_CHARS], self._seal(marks, flags, code.made_at))

    def _seal(self, marks: Mapping[str, str], flags: str, made_at: int) -> str:
        entries = (part for entry in sorted(marks.items()) for part in entry)
        return base64.b32encode(self._digest("set", flags, str(made_at), *entries)[:10]).decode()

    def _own_seal(self, count: int, made_at: int) -> str:
        return base64.b32encode(self._digest("code", str(count), str(made_at))[:5]).decode()

    def _digest(self, *parts: str) -> bytes:
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (self._scope, *parts):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
        return digest.digest()


class PlansSeen:
    """The sets behind the codes this process gave out lately, to name what has changed since.

    Only a help: a code is checked without it, and another process that has the key accepts it too.
    """

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[str, str], dict[str, str]] = OrderedDict()
        self._marks = 0

    def remember(self, owner: str, code: str, marks: Mapping[str, str]) -> None:
        """Keep the set of a code. `owner` is the scope it was made in; no other can ask for it."""
        if again := self._plans.pop((owner, code), None):
            self._marks -= len(again)
        self._plans[owner, code] = dict(marks)
        self._marks += len(marks)
        while self._marks > MARKS_KEPT and len(self._plans) > 1:
            _, dropped = self._plans.popitem(last=False)
            self._marks -= len(dropped)

    def recall(self, owner: str, code: str) -> Mapping[str, str] | None:
        """The set of a code, or `None` when it is not remembered."""
        return self._plans.get((owner, code.strip()))


def changes_between(before: Mapping[str, str], after: Mapping[str, str], given: PlanCode | None) -> Changes:
    """What was added and removed; a request that took the id of another counts as both."""
    return Changes(
        given,
        added=tuple(one for one, mark in after.items() if before.get(one) != mark),
        removed=tuple(one for one, mark in before.items() if after.get(one) != mark),
        known=True,
    )


def read_code(text: str) -> PlanCode | None:
    """Take a code apart without looking at its seals; `None` when it does not have the form of one."""
    if not (match := _CODE.fullmatch(text.strip())):
        return None
    return PlanCode(int(match[1]), int(match[2], 36), match[3])


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
