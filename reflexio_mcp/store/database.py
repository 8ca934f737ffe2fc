"""The SQLite file: how it is opened, shared between threads and processes, and kept free of what was deleted.

Everything here blocks and runs in worker threads. One connection writes, a few read; each reading call sees one
moment of the file. A commit is on the disk before it is answered (`synchronous=FULL`), so it survives a killed
process and a power loss.

Deleted content is overwritten with zeros (`secure_delete`) and the write-ahead log, which still holds it, is
emptied after each deletion. Somebody else who is reading at that moment can delay this: then it is tried again
until it works, and at the latest when the file is next opened or closed.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reflexio_mcp.store import schema
from reflexio_mcp.store.errors import StoreError, is_busy, store_error

IN_MEMORY: Final = ":memory:"
BUSY_SECONDS: Final = 10.0
"""How long a call waits for another process before it gives up."""

MAX_READERS: Final = 2
CACHE_KIBIBYTES: Final = 2000
"""Page cache a connection may grow to."""

WAL_LIMIT_BYTES: Final = 8 * 1024 * 1024

PURGE_PATIENCE_SECONDS: Final = 1.0
"""How long a deletion waits for readers before the log is emptied behind its back."""

PURGE_TRY_MILLISECONDS: Final = 100
PURGE_RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between later attempts; the last repeats."""

_create_lock = threading.Lock()


class Database:
    """One store file. Opens on first use; a failed opening is tried again on the next use.

    Args:
        path: the file, or `:memory:` for a store that dies with this object.
        busy_seconds: how long to wait for another process.
    """

    def __init__(self, path: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._open_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._read_slots = threading.BoundedSemaphore(MAX_READERS)
        self._writer: sqlite3.Connection | None = None
        self._idle_readers: list[sqlite3.Connection] = []
        self._purge_timer: threading.Timer | None = None
        self._purge_attempt = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the store.

        Raises:
            StoreBusy: another process held the file for too long.
            StoreFailed: the file cannot be used.
        """
        with _translated():
            writer = self._opened()
            if self._path == IN_MEMORY:
                with self._write_lock:
                    yield writer
                return
            with self._read_slots:
                connection = self._idle_readers.pop() if self._idle_readers else self._connect()
                try:
                    connection.execute("BEGIN")
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    self._idle_readers.append(connection)

    @contextmanager
    def writing(self, *, deletes: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection inside a write transaction: committed and on the disk when the block ends, rolled back
        when it raises.

        Args:
            deletes: the block deletes content, so afterwards no file may hold it any more.

        Raises:
            StoreBusy: another process held the file for too long; nothing was changed.
            StoreFailed: the file cannot be used; nothing was changed.
        """
        with _translated(), self._write_lock:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if deletes and connection.total_changes != before and self._path != IN_MEMORY:
                self._purge_log(connection)

    def close(self) -> None:
        """Close all connections. Deleted content that still awaits its purge is purged now, if nobody prevents it.

        No call may be running. Closing twice is fine.
        """
        with self._open_lock:
            self._closed = True
            self._stop_purge_timer()
            writer, self._writer = self._writer, None
            readers, self._idle_readers = self._idle_readers, []
        for connection in readers:
            connection.close()
        if writer is not None:
            if self._path != IN_MEMORY:
                _empty_log(writer, self._busy_seconds)
            writer.close()

    def _opened(self) -> sqlite3.Connection:
        if self._writer is not None:
            return self._writer
        with self._open_lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the store was closed")
            if self._writer is None:
                self._writer = self._open()
            return self._writer

    def _open(self) -> sqlite3.Connection:
        if self._path != IN_MEMORY:
            _create_private_file(Path(self._path))
        connection = self._connect()
        try:
            version = schema.check(connection)
            if self._path != IN_MEMORY:
                self._use_write_ahead_log(connection)
            if version < schema.SCHEMA_VERSION:
                schema.migrate(connection)
            if self._path != IN_MEMORY:
                # What a process that was killed left in the log, deleted content included.
                _empty_log(connection, 0)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        for pragma in (
            "synchronous = FULL",
            "fullfsync = ON",
            "secure_delete = ON",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            # A sorter that spills would leave content in a temporary file.
            "temp_store = MEMORY",
            f"cache_size = -{CACHE_KIBIBYTES}",
            f"journal_size_limit = {WAL_LIMIT_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        # Switching ignores the busy timeout when two processes try at once.
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _purge_log(self, connection: sqlite3.Connection) -> None:
        """Empty the log now, or see to it that it is emptied later. Holds the write lock."""
        self._stop_purge_timer()
        deadline = time.monotonic() + PURGE_PATIENCE_SECONDS
        while not _empty_log(connection, PURGE_TRY_MILLISECONDS / 1000):
            if time.monotonic() > deadline:
                self._purge_attempt = 0
                self._purge_later()
                return
            # Between attempts readers and other processes get their turn.
            time.sleep(0.02)

    def _purge_later(self) -> None:
        pause = PURGE_RETRY_SECONDS[min(self._purge_attempt, len(PURGE_RETRY_SECONDS) - 1)]
        self._purge_attempt += 1
        self._purge_timer = threading.Timer(pause, self._purge_again)
        self._purge_timer.daemon = True
        self._purge_timer.start()

    def _purge_again(self) -> None:
        with self._write_lock, self._open_lock:
            if self._writer is not None and not self._closed:
                if not _empty_log(self._writer, PURGE_TRY_MILLISECONDS / 1000):
                    self._purge_later()

    def _stop_purge_timer(self) -> None:
        if self._purge_timer is not None:
            self._purge_timer.cancel()
            self._purge_timer = None


def _empty_log(connection: sqlite3.Connection, wait_seconds: float) -> bool:
    """Move the write-ahead log into the file and cut it to nothing. False when somebody is still using it."""
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(wait_seconds * 1000)}")
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        # The commit before it stands; a log that could not be emptied is emptied later.
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")
    return not busy


def _create_private_file(path: Path) -> None:
    """Make the file (0600) and its folder (0700) before SQLite would with wider permissions.

    Never opens a file that exists: closing that descriptor would drop the locks SQLite holds on it in this process.
    """
    with _create_lock:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise store_error(error) from error
