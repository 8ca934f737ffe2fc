"""The tables of the state, and the SQLite file of one machine. `postgresql` is the other engine.

SQL has `?` for a parameter and `main.` before a table. A parameter can be a list: `id IN ?`.
"""

import contextlib
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reflexio_mcp import private_files

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SqliteDatabase", "StateUnusable", "nothing_can_be_deleted"]

VERSION: Final = 13

WEEK_OLD: Final = 4
"""Files up to this version record only one week, so they are emptied."""

TABLES: Final = """
CREATE TABLE {schema}deletions (
    id {identity},
    at double precision NOT NULL,
    account text NOT NULL,
    user_id text NOT NULL,
    caller text NOT NULL,
    code text UNIQUE,
    counted bigint NOT NULL,
    intention {bytes},
    gone bigint NOT NULL DEFAULT 0,
    finished double precision,
    outcome text NOT NULL DEFAULT '',
    receipt {bytes},
    erased_names text NOT NULL DEFAULT '',
    chain text NOT NULL DEFAULT '',
    begun bigint NOT NULL DEFAULT 0,
    ended bigint NOT NULL DEFAULT 0,
    restores bigint NOT NULL DEFAULT 0,
    stores_until double precision
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
    names text NOT NULL,
    sealing_key text NOT NULL,
    sealed {bytes} NOT NULL
);
CREATE INDEX copies_by_account ON {schema}copies (account, id);
CREATE INDEX copies_by_deletion ON {schema}copies (deletion);
CREATE TABLE {schema}must_go (
    id {identity},
    restore bigint NOT NULL,
    erasure bigint NOT NULL,
    account text NOT NULL,
    user_id text NOT NULL,
    sealing_key text NOT NULL,
    sealed {bytes} NOT NULL,
    settled double precision
);
CREATE INDEX must_go_by_restore ON {schema}must_go (restore);
CREATE INDEX must_go_by_erasure ON {schema}must_go (erasure);
CREATE TABLE {schema}log (
    id {identity},
    at double precision NOT NULL DEFAULT ({now}),
    line text NOT NULL,
    chain text NOT NULL
)
"""
"""Users, accounts, callers, names and plan codes are keyed tags, and content is sealed; only `log.line` is readable.

`deletions` has restores, too: `restores` is the deletion whose copy is restored, 0 for a deletion. `begun` and `ended`
are the numbers of their log lines, which tell the order of two jobs whatever the clock does. `finished` is NULL as long
as a restore may store something, which it does until `stores_until` at the longest.
"""

WAIT_SECONDS: Final = 10.0
"""Maximum wait for another process."""

ADVICE: Final = (
    "check state.db (next to the store's file, or in the server's data folder), and that its folder can be written and "
    "has room; the next start creates a removed file again"
)
OTHER_VERSION: Final = (
    "the state was made by another version of reflexio-mcp",
    "start that version, or remove the state with its recovery copies and its audit log",
)
OLD_COPIES: Final = (
    "recovery copies of an earlier version are in the folder `recovery`, and this version cannot read or erase them",
    "restore what is needed with the earlier version, and remove the folder",
)

SQLITE_TABLES: Final = "DROP TABLE IF EXISTS jobs; DROP TABLE IF EXISTS deletions;" + TABLES.format(
    schema="",
    identity="INTEGER PRIMARY KEY AUTOINCREMENT",
    bytes="blob",
    now="(julianday('now') - 2440587.5) * 86400.0",
)

Value = str | float | bytes | None


class StateUnusable(OSError):
    """The state cannot be used; nothing was changed.

    Args:
        problem: why, without a path, an address or a secret.
        advice: the end of a sentence that begins with "Ask the operator to".
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(0, problem)
        self.advice = advice


def nothing_can_be_deleted(error: StateUnusable) -> str:
    return f"Nothing can be deleted now: {error.strerror}. To fix this, {error.advice}."


class Transaction:
    """Statements that take effect together or not at all. `now` is the time by the clock of the state."""

    def __init__(self, cursor: Any, now: float) -> None:
        self.now = now
        self._cursor = cursor

    def execute(self, sql: str, *parameters: Value | list[str] | list[int]) -> list[Any]:
        parts, values = sql.split("?"), list[Value]()
        for place, one in enumerate(parameters):
            several = one if isinstance(one, list) else [one]
            parts[place] += f"({', '.join('?' * len(several))})"
            values += several
        done = self._cursor.execute(self._translated("".join(parts)), values)
        return done.fetchall() if done.description else []

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._cursor.executemany(self._translated(sql), rows)

    def serialise(self, subject: str) -> None:
        """Block other transactions on this subject until this one ends."""
        # A write transaction of SQLite locks the whole file.

    def _translated(self, sql: str) -> Any:
        return sql


class Database(ABC):
    """A database that all processes of one state share. Calls block."""

    @abstractmethod
    def transaction(self, *, writes: bool = True) -> AbstractContextManager[Transaction]:
        """Run the block in one transaction, which is on disk afterwards."""

    def read(self, sql: str, *parameters: Value | list[str] | list[int]) -> list[Any]:
        with self.transaction(writes=False) as transaction:
            return transaction.execute(sql, *parameters)

    def close(self) -> None:
        return


class SqliteDatabase(Database):
    """A private file, created at the first use. Each transaction opens it.

    Args:
        path: returns the path, or `None` to keep the state in memory.
        old_copies: returns the folder in which earlier versions kept recovery copies.
    """

    def __init__(
        self, path: Callable[[], Path | None], old_copies: Callable[[], Path | None] = lambda: None
    ) -> None:
        self._path = path
        self._old_copies = old_copies
        self._lock = threading.Lock()
        self._made = False
        self._memory: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Generator[Transaction]:
        import sqlite3

        with self._lock:
            try:
                connection = self._connected(sqlite3.connect)
                try:
                    connection.execute("PRAGMA secure_delete = ON")
                    connection.execute("BEGIN IMMEDIATE" if writes or not self._made else "BEGIN")
                    transaction = Transaction(connection, time.time())
                    if not self._made:
                        _make_tables(transaction)
                    yield transaction
                    connection.commit()
                    self._made = True
                finally:
                    connection.rollback()
                    if connection is not self._memory:
                        connection.close()
            except StateUnusable:
                raise
            except (sqlite3.Error, OSError) as error:
                raise StateUnusable("the state file cannot be used", ADVICE) from error

    def close(self) -> None:
        with self._lock:
            if self._memory:
                self._memory.close()
                self._memory, self._made = None, False

    def _connected(self, connect: Callable[..., "sqlite3.Connection"]) -> "sqlite3.Connection":
        path = self._path()
        if path is None:
            if self._memory is None:
                self._memory = connect(":memory:", isolation_level=None, check_same_thread=False)
                # A thread that nobody waits for may open the database after `close`.
                weakref.finalize(self, self._memory.close)
            return self._memory
        if not self._made:
            if (folder := self._old_copies()) and folder.is_dir() and any(folder.iterdir()):
                raise StateUnusable(*OLD_COPIES)
            private_files.make_folder(path.parent)
            with contextlib.suppress(FileExistsError):
                os.close(private_files.create(path))
            private_files.restrict(path)
        # A removed file is not recreated: its cap and copies would be lost without notice.
        address = f"{path.absolute().as_uri()}?mode=rw"
        return connect(address, uri=True, isolation_level=None, timeout=WAIT_SECONDS)


def _make_tables(transaction: Transaction) -> None:
    ((version,),) = transaction.execute("PRAGMA user_version")
    if WEEK_OLD < version != VERSION:
        raise StateUnusable(*OTHER_VERSION)
    if version != VERSION:
        for statement in (*SQLITE_TABLES.split(";"), f"PRAGMA user_version = {VERSION}"):
            transaction.execute(statement)
