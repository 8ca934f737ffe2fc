"""The tables of the state, and what it asks of a database, whichever it is.

SQL is written once, with `?` for a parameter and `main.` before a table. A parameter that is a list stands for all of
its values: `id IN ?`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, cast

__all__ = [
    "TABLES",
    "VERSION",
    "Cursor",
    "Database",
    "StateUnusable",
    "Transaction",
    "nothing_can_be_deleted",
]

VERSION: Final = 10
"""The version of the tables. Earlier versions of this server made versions 1 to 4, which had other tables."""

TABLES: Final = """
CREATE TABLE {schema}deletions (
    id {identity},
    at double precision NOT NULL,
    account text NOT NULL,
    user_id text NOT NULL,
    caller text NOT NULL,
    code text UNIQUE,
    process text NOT NULL,
    counted bigint NOT NULL,
    intention {bytes},
    gone bigint NOT NULL DEFAULT 0,
    finished double precision,
    outcome text NOT NULL DEFAULT '',
    receipt {bytes},
    erased bigint NOT NULL DEFAULT 0,
    chain text NOT NULL DEFAULT ''
);
CREATE INDEX deletions_by_caller ON {schema}deletions (caller, at);
CREATE TABLE {schema}copies (
    id {identity},
    deletion bigint NOT NULL,
    at double precision NOT NULL,
    until double precision NOT NULL,
    account text NOT NULL,
    user_id text NOT NULL,
    kind text NOT NULL,
    item text NOT NULL,
    content text NOT NULL,
    names text NOT NULL,
    sealing_key text NOT NULL,
    sealed {bytes} NOT NULL
);
CREATE INDEX copies_by_account ON {schema}copies (account, id);
CREATE INDEX copies_by_content ON {schema}copies (content);
CREATE INDEX copies_by_deletion ON {schema}copies (deletion);
CREATE TABLE {schema}log (
    id {identity},
    at double precision NOT NULL DEFAULT ({now}),
    line text NOT NULL,
    chain text NOT NULL
)
"""
"""Users, accounts, callers and plan codes are in there as keyed marks, and what was stored is sealed."""


class StateUnusable(OSError):
    """The state cannot be used; nothing was changed.

    Args:
        problem: why, in words without a path, an address or a secret.
        advice: what the operator does about it, as the end of "Ask the operator to".
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(0, problem)
        self.advice = advice


def nothing_can_be_deleted(error: StateUnusable) -> str:
    """The sentence for a state that cannot be used: at the start, in a status and from doctor."""
    return f"Nothing can be deleted now: {error.strerror}. To mend that, {error.advice}."


class Cursor(Protocol):
    """What a statement returned."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Transaction(ABC):
    """What happens in one step, or not at all.

    Args:
        now: epoch seconds, by the one clock that all processes of this state share.
    """

    def __init__(self, now: float) -> None:
        self.now = now

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        """Run one statement."""
        parts, values = sql.split("?"), list[object]()
        for place, one in enumerate(parameters):
            several = isinstance(one, list)
            some = cast("list[object]", one) if several else [one]
            marks = ", ".join("?" * len(some))
            parts[place] += f"({marks})" if several else marks
            values += some
        return self.run("".join(parts), values)

    @abstractmethod
    def run(self, sql: str, parameters: Sequence[object]) -> Cursor:
        """Run one statement whose parameters are single values."""

    @abstractmethod
    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row of single values."""

    @abstractmethod
    def serialise(self, subject: str) -> None:
        """Wait until no other transaction that named this subject is open, and keep others waiting until the end."""


class Database(ABC):
    """A database that all processes of one state share. Everything here blocks."""

    @abstractmethod
    def transaction(self, *, writes: bool = True) -> AbstractContextManager[Transaction]:
        """Run the block in one transaction; what it wrote is on the disk when the block has been left.

        Args:
            writes: whether it may write. If not, nothing is made that is not there.

        Raises:
            StateUnusable: the database cannot be read or written now.
        """

    def close(self) -> None:
        """Give back what is held between two uses. It can be used again."""
        return
