"""The SQLite file: private, durable, shared between processes, and free of what was deleted.

Everything here blocks, so it runs in worker threads. Each call opens a connection of its own, so that no call uses a
file that was moved. A commit is on the disk before it is answered, so it survives a killed process and a power loss.

Deleted content can remain in three places:

* The cells it was stored in. SQLite overwrites them with zeros as part of the deletion (`secure_delete`).
* The journal, which exists only during a transaction.
* Unused space inside a page, where SQLite left a copy when it moved rows to a neighbouring page. Only rewriting the
  file (`VACUUM`) removes it, at some 6 ms a megabyte. A thread does that soon after the deletion. The table `upkeep`
  counts deletions and how many of them a rewrite has covered, so that the next process does what this one did not.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from reflexio_mcp import private_files
from reflexio_mcp.embedded_store import errors, schema

logger = logging.getLogger(__name__)

IN_MEMORY: Final = ":memory:"
BUSY_SECONDS: Final = 10.0
"""How long a call waits for another process before it gives up."""

REWRITE_SECONDS: Final = 0.5
"""How long after a deletion the file is rewritten. One rewrite covers all deletions of that time."""

REWRITE_SHARE: Final = 0.05
"""The share of time that rewriting a large file may take while deletions go on."""

CLOSING_REWRITE_BYTES: Final = 64 * 1024 * 1024
"""A larger file is not rewritten when the process ends; the next process does it."""

_SETTINGS: Final = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA secure_delete = ON;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
"""


class Database:
    """One store file, made by the first call.

    Args:
        path: the file, or `:memory:` for a store that ends with this object.
        busy_seconds: how long to wait for another process.
    """

    def __init__(self, path: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._in_memory = path == IN_MEMORY
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        """Held by a write, and by every call of a store in memory."""
        self._opening = threading.Lock()
        self._memory: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._rewriting: threading.Timer | None = None
        self._pause = REWRITE_SECONDS
        self._closed = False

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Open a connection that sees one state of the store.

        Raises:
            StoreBusy: another process used the file for too long.
            StoreFailed: the file cannot be used, or is not the one that was opened before.
        """
        with _translated(), self._open() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, *, deletes: bool = False) -> Generator[sqlite3.Connection]:
        """Open a connection in a write transaction: on the disk when the block ends, rolled back if it raises.

        Args:
            deletes: the block deletes content, which no file may contain afterwards.

        Raises:
            StoreBusy: another process used the file for too long; nothing was changed.
            StoreFailed: the file cannot be used; nothing was changed unless the error says otherwise.
        """
        with _translated(), self._lock:
            with self._open() as connection:
                connection.execute("BEGIN IMMEDIATE")
                before = connection.total_changes
                try:
                    yield connection
                    changed = connection.total_changes != before
                    if deletes and changed:
                        connection.execute("UPDATE upkeep SET deletions = deletions + 1")
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            if self._file != _id_of(self._path):
                raise errors.written_elsewhere()
            if deletes and changed and not self._in_memory:
                self._rewrite_soon()

    def close(self) -> None:
        """Rewrite the file if that is due. Later calls fail. Closing twice is fine."""
        with self._lock:
            if self._rewriting:
                self._rewriting.cancel()
            with suppress(OSError):  # the file may be gone
                if self._file and Path(self._path).stat().st_size <= CLOSING_REWRITE_BYTES:
                    self._rewrite()
            if self._memory:
                self._memory.close()
            self._closed = True

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        if self._closed:
            raise sqlite3.ProgrammingError("the store was closed")
        if self._in_memory:
            with self._lock:
                if self._memory is None:
                    self._memory = self._connect()
                    schema.migrate(self._memory)
                yield self._memory
            return
        with self._opening:
            if self._file is None:
                self._file = self._prepare()
            elif self._file != _id_of(self._path):
                self._file = None
                logger.warning("the store file was moved, replaced or removed while it was in use")
                raise errors.file_changed()
        with closing(self._connect()) as connection:
            yield connection

    def _prepare(self) -> tuple[int, int] | None:
        """Make the file if there is none, bring it up to date, and return which file it is."""
        path = Path(os.path.realpath(self._path))
        private_files.make_folder(path.parent)
        with suppress(FileExistsError):
            # SQLite would make it with wider permissions.
            os.close(private_files.create(path))
        with closing(self._connect()) as connection:
            version = schema.check(connection)
            # Only now: a file of another program stays as it is.
            private_files.restrict(path)
            if version < schema.SCHEMA_VERSION:
                schema.migrate(connection)
            with suppress(sqlite3.OperationalError):
                # Earlier versions kept a log beside the file, and one of them may still be running.
                connection.execute("PRAGMA journal_mode = DELETE")
            if _rewrite_is_due(connection):
                self._rewrite_soon()
        return _id_of(self._path)

    def _connect(self) -> sqlite3.Connection:
        # A file that was removed is not made anew here.
        name = IN_MEMORY if self._in_memory else f"{Path(self._path).absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            name, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False, uri=True
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.executescript(_SETTINGS)
        except BaseException:
            connection.close()
            raise
        return connection

    def _rewrite_soon(self) -> None:
        if self._rewriting is None:
            self._rewriting = threading.Timer(self._pause, self._rewrite)
            self._rewriting.daemon = True
            self._rewriting.start()

    def _rewrite(self) -> None:
        """Rewrite the file without anything that is no longer stored, if that is due and nobody prevents it."""
        began = time.monotonic()
        with self._lock:
            self._rewriting = None
            with suppress(sqlite3.Error, OSError, errors.StoreError), self._open() as connection:
                (deletions,) = connection.execute("SELECT deletions FROM upkeep").fetchone()
                if _rewrite_is_due(connection):
                    connection.execute("VACUUM")
                    connection.execute("UPDATE upkeep SET scrubbed = max(scrubbed, ?)", [deletions])
        self._pause = max(REWRITE_SECONDS, (time.monotonic() - began) / REWRITE_SHARE)


def _rewrite_is_due(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT deletions <> scrubbed FROM upkeep").fetchone()[0])


def _id_of(path: str) -> tuple[int, int] | None:
    """Device and inode of a file; `None` if there is no such file."""
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise errors.store_error(error) from error
