"""One SQLite file that only its owner can read, for all processes of this user on this machine."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reflexio_mcp import private_files
from reflexio_mcp.state.tables import TABLES, VERSION, Cursor, Database, StateUnusable, Transaction

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SqliteDatabase"]

WAIT_SECONDS: Final = 10.0
"""How long a transaction waits for another process."""

ADVICE: Final = (
    "check state.db beside the store's file, or in the server's data folder if there is no store file, and that its "
    "folder can be written and has room; a file that was removed is made anew when the server starts again"
)
NEWER: Final = ("the state file was made by a newer version of reflexio-mcp", "start that version")
OLD_COPIES: Final = (
    "recovery copies of an earlier version are in the folder `recovery`, and this version cannot read or erase them",
    "restore what is needed with the earlier version, and to remove the folder",
)

TYPES: Final = {
    "schema": "",
    "identity": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "bytes": "blob",
    "now": "(julianday('now') - 2440587.5) * 86400.0",
}


class _SqliteTransaction(Transaction):
    def __init__(self, connection: "sqlite3.Connection", now: float) -> None:
        super().__init__(now)
        self._connection = connection

    def run(self, sql: str, parameters: Sequence[object]) -> Cursor:
        return self._connection.execute(sql, parameters)  # pyright: ignore[reportArgumentType] - plain values

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._connection.executemany(sql, rows)  # pyright: ignore[reportArgumentType] - plain values

    def serialise(self, subject: str) -> None:
        # A transaction that writes has the whole file from its beginning.
        return


class SqliteDatabase(Database):
    """The file, made when something is first written. Each use opens it for one short transaction.

    Args:
        path: returns the file's path; called at the first use. `None` keeps the state in memory.
        old_copies: returns the folder in which earlier versions kept recovery copies.
        clock: epoch seconds.
    """

    def __init__(
        self,
        path: Callable[[], Path | None],
        old_copies: Callable[[], Path | None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._old_copies = old_copies
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = False
        self._memory: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Generator[Transaction]:
        # Imported at the first deletion: a server starts without it.
        import sqlite3

        with self._lock:
            try:
                connection = self._connected(writes)
                try:
                    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                    yield _SqliteTransaction(connection, self._clock())
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if connection is not self._memory:
                        connection.close()
            except StateUnusable:
                raise
            except (sqlite3.Error, OSError) as error:
                raise StateUnusable("the state file cannot be used", ADVICE) from error

    def close(self) -> None:
        """Forget a state that is kept in memory; a file is open only while it is used."""
        with self._lock:
            if self._memory:
                self._memory.close()
                self._memory = None

    def _connected(self, writes: bool) -> "sqlite3.Connection":
        path = self._path()
        if path is None:
            self._memory = self._memory or _opened(":memory:", check_same_thread=False)
            return self._memory
        if not self._seen:
            if not writes and not _there(path):
                return _opened(":memory:")
            self._make(path)
        # A file that is removed from now on is not made anew: the cap and the copies would be gone in silence.
        return _opened(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT_SECONDS)

    def _make(self, path: Path) -> None:
        if (folder := self._old_copies()) and _there(folder) and any(folder.iterdir()):
            raise StateUnusable(*OLD_COPIES)
        private_files.make_folder(path.parent)
        # Never kept in memory instead: a limit would hold for this process alone, and until its end.
        with contextlib.suppress(FileExistsError):
            os.close(private_files.create(path))
        private_files.restrict(path)
        self._seen = True


def _there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:  # and no other error
        return False
    return True


def _opened(name: str, **options: Any) -> "sqlite3.Connection":
    """A connection to a file that has the tables; another process may be making them."""
    import sqlite3

    connection = sqlite3.connect(name, isolation_level=None, **options)
    try:
        # What is deleted from the file is not left in it.
        connection.execute("PRAGMA secure_delete = ON")
        if _version(connection) != VERSION:
            connection.execute("BEGIN IMMEDIATE")
            _migrate(connection)
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: "sqlite3.Connection") -> None:
    version = _version(connection)
    if version > VERSION:
        raise StateUnusable(*NEWER)
    if version < VERSION:
        # What earlier versions counted and noted is over within a week.
        for table in ("deletions", "jobs"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in TABLES.format(**TYPES).split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: "sqlite3.Connection") -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]
