"""Plan codes: how a second call says "this set, as I saw it".

A code is bound by a secret key to the exact requests (each with a mark that tells it from a later request of the same
id), to the caller's scope and to the moment of the plan. Stored text cannot know the key, so a code that somebody wrote
into a conversation never fits. The moment and the number in a code have a seal of their own, so they can be trusted
even when the set has changed since. No state is kept: whoever has the key can check a code.
"""

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.traffic.content import add_texts

__all__ = ["Changes", "CodeMaker", "PlanCode", "PlansSeen", "changes_between", "read_code"]

MARKS_KEPT: Final = 100_000
"""Ids that `PlansSeen` remembers over all its plans; the newest plan is kept whatever its size."""

PLANS_KEPT: Final = 1_000
"""Plans that it remembers: a plan of one id takes far more memory than the id."""

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

    @property
    def of_another_set(self) -> bool:
        """Whether nothing of the earlier set is in this one."""
        gone = self.code is not None and len(self.removed) == self.code.count
        return gone and not set(self.added) & set(self.removed)


class CodeMaker:
    """Makes and checks the codes of one caller.

    Args:
        key: secret bytes; every process that shall accept the others' codes has the same.
        scope: what the codes are bound to besides the set (backend, user).
        others: further keys whose codes are accepted too, while keys are being changed.
        lasting: whether the key outlives this process.
        seen: remembers the set of each code that is given out.
    """

    def __init__(
        self, key: bytes, scope: str, *others: bytes, lasting: bool = True, seen: "PlansSeen | None" = None
    ) -> None:
        self.lasting = lasting
        self._seen = seen or PlansSeen()
        self._keys = [hashlib.sha256(b"reflexio-mcp plan code\0" + one).digest() for one in (key, *others)]
        self.scope = scope
        """Who the codes are for: a digest that differs between backends and users."""

    def make(self, marks: Mapping[str, str], *, flags: str, now: float) -> str:
        """The code for a set.

        Args:
            marks: each request id with its mark.
            flags: what else the person saw and must not change (such as `learnings`).
            now: epoch seconds.
        """
        made_at = int(now)
        key = self._keys[0]
        seals = self._seal(key, marks, flags, made_at) + self._own_seal(key, len(marks), made_at)
        code = f"{len(marks)}-{_base36(made_at)}-{seals}"
        if marks:
            self._seen.remember(self.scope, code, marks)
        return code

    def recall(self, code: str) -> Mapping[str, str] | None:
        """Return the set a code was given out for, or `None` when this process does not remember it."""
        return self._seen.recall(self.scope, code)

    def read(self, text: str) -> PlanCode | None:
        """Take a code apart; `None` when it was made with none of the keys for this scope."""
        code = read_code(text)
        return code if code and self._key_of(code) else None

    def fits(self, code: PlanCode, marks: Mapping[str, str], *, flags: str) -> bool:
        """Whether the code was made for exactly this set. Compares in constant time."""
        key = self._key_of(code)
        if key is None:
            return False
        return hmac.compare_digest(code.seal[:_SET_CHARS], self._seal(key, marks, flags, code.made_at))

    def _key_of(self, code: PlanCode) -> bytes | None:
        made_with = None
        for key in self._keys:
            if hmac.compare_digest(code.seal[_SET_CHARS:], self._own_seal(key, code.count, code.made_at)):
                made_with = key
        return made_with

    def _seal(self, key: bytes, marks: Mapping[str, str], flags: str, made_at: int) -> str:
        entries = (part for entry in sorted(marks.items()) for part in entry)
        return base64.b32encode(self._digest(key, "set", flags, str(made_at), *entries)[:10]).decode()

    def _own_seal(self, key: bytes, count: int, made_at: int) -> str:
        return base64.b32encode(self._digest(key, "code", str(count), str(made_at))[:5]).decode()

    def _digest(self, key: bytes, *parts: str) -> bytes:
        digest = hmac.new(key, digestmod=hashlib.sha256)
        add_texts(digest, (self.scope, *parts))
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
        while (self._marks > MARKS_KEPT or len(self._plans) > PLANS_KEPT) and len(self._plans) > 1:
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
