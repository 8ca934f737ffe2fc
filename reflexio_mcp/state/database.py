"""What the rules of this folder ask of a database, whichever it is.

SQL is written once, with `?` for a parameter, in what SQLite and PostgreSQL have in common. PostgreSQL has to be told
what must not run side by side: by `serialise`, and by `FOR UPDATE SKIP LOCKED` at the end of a SELECT, where rows that
another transaction changes are passed over. SQLite lets one writer in at a time and needs neither.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

__all__ = [
    "STOPPED",
    "Cursor",
    "StateDatabase",
    "StateUnusable",
    "Transaction",
    "advice",
    "nothing_goes",
    "why_not",
]

STOPPED: Final = "this server has stopped"


class StateUnusable(OSError):
    """The database cannot be used; nothing was changed, or that is not known.

    Args:
        problem: why, in words without a path, an address or a secret.
        advice: what the operator does about it, as the end of "Ask the operator to".
        unknown: the connection was lost while the change was made final, so it may stand.
    """

    def __init__(self, problem: str, advice: str, *, unknown: bool = False) -> None:
        super().__init__(0, problem)
        self.advice = advice
        self.unknown = unknown


def why_not(error: OSError) -> str:
    """The reason in an error, in words that name no path."""
    return error.strerror or "an input/output error"


def advice(error: OSError, otherwise: str = "") -> str:
    """What the operator does about an error, as the end of "Ask the operator to".

    Args:
        otherwise: what to do where the error does not say it.
    """
    return error.advice if isinstance(error, StateUnusable) else otherwise or "look at the server's log"


def nothing_goes(error: OSError) -> str:
    """The sentence for a state that cannot be written: at the start, in a status and from doctor."""
    return f"Nothing can be deleted now: {why_not(error)}. To mend that, {advice(error)}."


class Cursor(Protocol):
    """What a statement returned."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Transaction(ABC):
    """What happens in one step, or not at all.

    Args:
        now: epoch seconds when it began, by the one clock that all processes of this state share.
    """

    def __init__(self, now: float) -> None:
        self.now = now

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        """Run one statement, with a `?` for each parameter."""

    @abstractmethod
    def serialise(self, subject: str) -> None:
        """Wait until no other transaction that named this subject is open, and keep others waiting until the end."""


class StateDatabase(ABC):
    """A database that all processes of one state share. Everything here blocks and runs in worker threads."""

    _closed = False

    def open(self) -> None:
        """Let it be used again after `close`. Nothing is opened before its first use."""
        self._closed = False

    @abstractmethod
    def exists(self) -> bool:
        """Whether anything may have been kept so far, by any process."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """Run the block in one transaction; what it wrote is on the disk when it has been left.

        Raises:
            StateUnusable: nothing can be read or written now.
        """

    @abstractmethod
    def check(self) -> None:
        """Try whether a deletion could be recorded now, and leave nothing behind.

        Raises:
            StateUnusable: why it could not.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what is held. A thread that comes late is refused: nobody would close what it opens."""
