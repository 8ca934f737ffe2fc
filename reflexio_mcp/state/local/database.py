"""One SQLite file for all processes of this user on this machine: what limits deletions has to hold for all of them.

Each use opens the file, does one short transaction and closes it, so nothing is left open between calls. Everything
here blocks and runs in worker threads.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reflexio_mcp import private_files
from reflexio_mcp.state.database import STOPPED, Cursor, StateDatabase, StateUnusable, Transaction, why_not

if TYPE_CHECKING:
    import sqlite3

__all__ = ["LocalDatabase"]

WAIT_SECONDS: Final = 10.0
"""How long a transaction waits for another process."""

ADVICE: Final = (
    "check state.db beside the store's file, or in the server's data folder where there is none, and that there is "
    "room on its disk"
)
NO_FILE: Final = (
    "let this server write to its data folder, or name a file in a writable folder with REFLEXIO_MCP_STORE: state.db "
    "is kept beside it"
)

_MIGRATIONS: Final = (
    """
    CREATE TABLE IF NOT EXISTS deletions (
        id INTEGER PRIMARY KEY,
        owner TEXT NOT NULL,
        at REAL NOT NULL,
        number INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS deletions_by_owner ON deletions (owner, at);
    """,
    """
    DROP TABLE IF EXISTS follow_ups;
    ALTER TABLE deletions ADD COLUMN job INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        owner TEXT NOT NULL,
        caller TEXT NOT NULL,
        number INTEGER NOT NULL,
        what TEXT NOT NULL,
        follows INTEGER NOT NULL,
        tool TEXT NOT NULL,
        job_order TEXT NOT NULL,
        state TEXT NOT NULL,
        told TEXT NOT NULL DEFAULT '',
        worker TEXT NOT NULL,
        began REAL NOT NULL,
        alive REAL NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX jobs_by_owner ON jobs (owner, number);
    """,
    # AUTOINCREMENT: no id comes again, so what is given back late is not taken from what somebody else counted.
    """
    CREATE TABLE counted (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        owner TEXT NOT NULL,
        at REAL NOT NULL,
        number INTEGER NOT NULL,
        job INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO counted SELECT id, owner, at, number, job FROM deletions;
    DROP TABLE deletions;
    ALTER TABLE counted RENAME TO deletions;
    CREATE INDEX deletions_by_owner ON deletions (owner, at);
    """,
    "ALTER TABLE jobs ADD COLUMN ids TEXT NOT NULL DEFAULT ''",
)
"""What makes each version of the file out of the one before. No column goes, so that a process of an earlier version
can still count its deletions."""


class _LocalTransaction(Transaction):
    def __init__(self, connection: "sqlite3.Connection", now: float) -> None:
        super().__init__(now)
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        sql = sql.replace(" FOR UPDATE SKIP LOCKED", "")
        return self._connection.execute(sql, parameters)  # pyright: ignore[reportArgumentType] - plain values

    def serialise(self, subject: str) -> None:
        # A transaction holds the whole file from its beginning.
        return


class LocalDatabase(StateDatabase):
    """The file, made when it is first needed.

    Args:
        path: returns the file's path; called at the first use. `None` keeps the state in memory, for this process
            alone: nobody means it to last.
        clock: epoch seconds.
    """

    def __init__(
        self, path: Callable[[], Path | None] = lambda: None, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._memory: sqlite3.Connection | None = None

    def exists(self) -> bool:
        path = self._path()
        return self._memory is not None or (path is not None and path.exists())

    @contextlib.contextmanager
    def transaction(self) -> Generator[Transaction]:
        # Imported at the first deletion: a server starts without it.
        import sqlite3

        with self._lock:
            if self._closed:
                raise StateUnusable(STOPPED, ADVICE)
            try:
                connection = self._open()
                kept = connection is self._memory
                with contextlib.nullcontext() if kept else contextlib.closing(connection):
                    connection.execute("BEGIN IMMEDIATE")
                    try:
                        yield _LocalTransaction(connection, self._clock())
                        connection.execute("COMMIT")
                    except BaseException:
                        with contextlib.suppress(sqlite3.Error):
                            connection.execute("ROLLBACK")
                        raise
            except sqlite3.Error as error:
                raise StateUnusable("the state file cannot be used", ADVICE) from error

    def check(self) -> None:
        path = self._path()
        if path is None:
            return
        folder = path.parent
        try:
            while not folder.exists() and folder != folder.parent:
                folder = folder.parent
            there = path.exists()
        except OSError as error:  # such as a folder that this user may not look into
            raise _unmade(why_not(error)) from error
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            why = "its folder cannot be written" if folder.is_dir() else os.strerror(errno.ENOTDIR)
            raise _unmade(why)
        if there:
            # It begins with the right to write.
            with self.transaction():
                return

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._memory is not None:
                self._memory.close()
                self._memory = None

    def _open(self) -> "sqlite3.Connection":
        import sqlite3

        if self._memory is not None:
            return self._memory
        if self._file is None and (path := self._path()) is not None:
            try:
                private_files.make_folder(path.parent)
                with contextlib.suppress(FileExistsError):
                    os.close(private_files.create(path))
                private_files.restrict(path)
                self._file = path
            except OSError as error:
                # Never counted in memory instead: a limit would hold for this process alone, and until its end.
                raise _unmade(why_not(error)) from error
        if self._file is None:
            self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            _migrate(self._memory)
            return self._memory
        connection = sqlite3.connect(self._file, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            # What was deleted from the file is not to be found in it.
            connection.execute("PRAGMA secure_delete = ON")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _unmade(why: str) -> StateUnusable:
    return StateUnusable(f"the state file cannot be made: {why}", NO_FILE)


def _migrate(connection: "sqlite3.Connection") -> None:
    """Bring the file to the newest version; another process may be doing the same."""
    if _version(connection) >= len(_MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in _MIGRATIONS[_version(connection) :]:
            # One by one: `executescript` would end the transaction.
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: "sqlite3.Connection") -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]
