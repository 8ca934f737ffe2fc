"""What the state is asked to keep, and what it returns. Times are epoch seconds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = [
    "CapReached",
    "CodeUsed",
    "Copied",
    "Deletion",
    "Finished",
    "Intention",
    "Outcome",
    "Owner",
    "RecoveryCopy",
]

Outcome = Literal["complete", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of deletions and recovery copies.

    A user owns the copies of their own requests and learnings, whoever deleted them. An owner without a user owns
    every copy of the account.

    Args:
        account: the backend and the organisation there. An API key is no part of it: keys are exchanged, copies stay.
        user: the user of the scope, or empty.
        caller: for whom the hourly cap counts.
    """

    account: str
    user: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Intention:
    """A deletion that is about to begin.

    Args:
        target: what is deleted, in words.
        number: how many requests and learnings the hourly cap counts.
        code: the plan code, which is good for one deletion, or empty.
        planned: returned as `Deletion.planned`, such as the planned ids; sealed.
        facts: the content of the first log line.
    """

    tool: str
    target: str
    number: int
    code: str = ""
    planned: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Deletion(NamedTuple):
    """A deletion on record.

    Args:
        gone: how many were deleted so far.
        finished: `None` if the deletion runs, or if its process ended early.
        outcome: empty before the end.
        chain: the chain value of the last log line.
        here: whether this process began the deletion.
    """

    number: int
    at: float
    gone: int
    finished: float | None
    outcome: Outcome | Literal[""]
    chain: str
    here: bool
    tool: str
    target: str
    asked: int
    planned: str
    receipt: str


class Finished(NamedTuple):
    """The end of a deletion: how many copies were erased, and the chain value of the last log line."""

    erased: int
    chain: str


@dataclass(frozen=True, slots=True)
class Copied:
    """One request or learning as it was.

    Args:
        kind: such as `request` or `profile`; `kind` and `id` together identify it.
        user: the user of the request or learning.
        names: what an erasure finds the copy by, each as `x:text`: its own id, those of its interactions (`i:…`) and
            of its sources.
        content: what was stored; sealed.
        deletion: the number of the deletion; set by the state.
    """

    kind: str
    id: str
    user: str
    names: Sequence[str]
    content: str
    deletion: int = 0


@dataclass(frozen=True, slots=True)
class RecoveryCopy:
    """Everything that one deletion removed and that can be put back.

    Args:
        counts: how many of each kind.
    """

    deletion: int
    at: float
    until: float
    counts: Counter[str]


class CapReached(Exception):
    """A deletion is larger than the hourly cap allows now; nothing was recorded.

    Args:
        limit: deletions an hour.
        room: how many may be deleted now.
        wait: seconds until the deletion fits, or, if it never does, until one more fits.
    """

    def __init__(self, limit: int, room: int, wait: float) -> None:
        super().__init__(f"{room} of {limit} deletions are left")
        self.limit = limit
        self.room = room
        self.wait = wait


class CodeUsed(Exception):
    """A plan code was used for the deletion `number`; nothing was recorded."""

    def __init__(self, number: int) -> None:
        super().__init__(f"used for deletion {number}")
        self.number = number
