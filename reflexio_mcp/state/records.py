"""What the state is asked to keep, and what it returns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
    """Whose deletions and recovery copies they are.

    A user's copies are those of his own requests and learnings, whoever deleted them; an owner without a user sees
    every copy of the account.

    Args:
        account: the backend and the organisation there. A key is no part of it: keys are exchanged, copies stay.
        user: the user that the scope is confined to, or empty.
        caller: for whom the hourly cap counts.
    """

    account: str
    user: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Intention:
    """A deletion that is about to begin.

    Args:
        tool: the tool that was called.
        target: what is deleted, in words.
        number: how many requests and learnings the hourly cap counts.
        code: the plan code, which is good for one deletion, or empty.
        planned: what the caller wants back from `Deletion.planned`, such as the planned ids as JSON; sealed.
        facts: what the first line of the log says.
    """

    tool: str
    target: str
    number: int
    code: str = ""
    planned: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion on record. Times are epoch seconds.

    Args:
        gone: how many were deleted so far, as `State.note` and `State.finish` got it.
        finished: when it ended; `None` if it runs, or if its process ended early.
        here: it was begun by this process.
        outcome: empty before it has ended.
        planned, receipt: as `State.begin` and `State.finish` got them.
        erased: how many recovery copies of requests and learnings it removed.
        chain: the chain value of its last log line.
    """

    number: int
    at: float
    gone: int
    finished: float | None
    outcome: Outcome | Literal[""]
    erased: int
    chain: str
    here: bool
    tool: str
    target: str
    asked: int
    planned: str
    receipt: str


@dataclass(frozen=True, slots=True)
class Finished:
    """How a deletion ended: its `Deletion.erased` and `Deletion.chain`."""

    erased: int
    chain: str


@dataclass(frozen=True, slots=True)
class Copied:
    """One request or learning as it was.

    Args:
        kind: such as `request` or `profile`; `kind` and `id` together name it.
        user: whose it is.
        names: by which an erasure finds it, each as `x:text`: its own, those of its interactions (`i:…`) and of its
            sources.
        content: what was stored; sealed.
        deletion: the number of the deletion that removed it; set by the state.
    """

    kind: str
    id: str
    user: str
    names: Sequence[str]
    content: str
    deletion: int = 0


@dataclass(frozen=True, slots=True)
class RecoveryCopy:
    """All that one deletion removed and that can be put back. Times are epoch seconds.

    Args:
        deletion: the number of the deletion.
        counts: how many of each kind.
    """

    deletion: int
    at: float
    until: float
    counts: Counter[str]


class CapReached(Exception):
    """A deletion is larger than what may be deleted now; nothing was recorded.

    Args:
        limit: deletions an hour.
        room: how many may be deleted now.
        wait: seconds until it fits, or, if it never does, until one more does.
    """

    def __init__(self, limit: int, room: int, wait: float) -> None:
        super().__init__(f"{room} of {limit} deletions are left")
        self.limit = limit
        self.room = room
        self.wait = wait


class CodeUsed(Exception):
    """A plan code was used before; nothing was recorded.

    Args:
        number: the deletion that it was used for.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"used for deletion {number}")
        self.number = number
