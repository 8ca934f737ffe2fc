"""One SQLite file for all processes of this user on this machine: what limits deletions has to hold for all of them.

Each use opens the file, does one short transaction and closes it, so nothing is left open between calls. Everything
here blocks and runs in worker threads.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reflexio_mcp import private_files

if TYPE_CHECKING:
    import sqlite3

__all__ = ["StateDatabase"]

WAIT_SECONDS: Final = 10.0
"""How long a transaction waits for another process."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS deletions (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    at REAL NOT NULL,
    number INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS follow_ups (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    what TEXT NOT NULL,
    began REAL NOT NULL,
    alive REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS deletions_by_owner ON deletions (owner, at);
"""


class StateDatabase:
    """The file, made when it is first needed.

    Args:
        path: returns the file's path; called at the first use. `None` keeps the state in memory, for this process
            alone, and so does a folder in which no file can be made.
    """

    def __init__(self, path: Callable[[], Path | None] = lambda: None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: Path | None = None
        self._memory: sqlite3.Connection | None = None

    def exists(self) -> bool:
        """Whether some process of this user has made the file."""
        path = self._path()
        return path is not None and path.exists()

    @contextlib.contextmanager
    def transaction(self) -> Generator["sqlite3.Connection"]:
        """Run the block in one transaction, which no other process can interrupt.

        Raises:
            OSError: the file cannot be read or written, or another process kept it for too long.
        """
        # Imported at the first deletion: a server starts without it.
        import sqlite3

        with self._lock:
            try:
                connection = self._open()
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    try:
                        yield connection
                        connection.execute("COMMIT")
                    except BaseException:
                        with contextlib.suppress(sqlite3.Error):
                            connection.execute("ROLLBACK")
                        raise
                finally:
                    if connection is not self._memory:
                        connection.close()
            except sqlite3.Error as error:
                raise OSError(0, "the state file cannot be used") from error

    def close(self) -> None:
        """Forget what is kept in memory."""
        with self._lock:
            if self._memory is not None:
                self._memory.close()
                self._memory = None

    def _open(self) -> "sqlite3.Connection":
        import sqlite3

        if self._memory is not None:
            return self._memory
        if self._file is None and (path := self._path()) is not None:
            with contextlib.suppress(OSError):
                private_files.make_folder(path.parent)
                with contextlib.suppress(FileExistsError):
                    os.close(private_files.create(path))
                private_files.restrict(path)
                self._file = path
        if self._file is None:
            self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._memory.executescript(_SCHEMA)
            return self._memory
        connection = sqlite3.connect(self._file, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection
