"""The SQLite file: how it is opened, shared between threads and processes, and kept free of what was deleted.

Everything here blocks and runs in worker threads. One connection writes, a few read; each reading call sees
one moment of the file. A commit is on the disk before it is answered (`synchronous=FULL`), so it survives a
killed process and a power loss.

What happens to deleted content is told in `upkeep`.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from reflexio_mcp.store import schema, upkeep
from reflexio_mcp.store.errors import StoreError, WouldWait, is_busy, store_error

IN_MEMORY: Final = ":memory:"
BUSY_SECONDS: Final = 10.0
"""How long a call waits for another process before it gives up."""

MAX_READERS: Final = 2
CACHE_KIBIBYTES: Final = 2000
"""Page cache a connection may grow to."""

WAL_LIMIT_BYTES: Final = 8 * 1024 * 1024

_create_lock = threading.Lock()


class Connection(sqlite3.Connection):
    """A connection on which a reader can leave what the next reading may use."""

    memory: object = None


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
        self._writer: Connection | None = None
        self._idle_readers: list[Connection] = []
        self._at_once: Connection | None = None
        self._at_once_lock = threading.Lock()
        self._upkeep = upkeep.Alarm(self._keep_up)
        self._log_is_clean = True
        self._scrub_not_before = 0.0
        self._failures = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
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
    def reading_at_once(self) -> Generator[Connection, None, None]:
        """As `reading`, but without ever waiting: for a look-up by a unique id, on an event loop's own thread.

        Such a look-up takes less than half of what handing it to a thread and back costs.

        Raises:
            WouldWait: not open yet, or not to be read now, for whatever reason; `reading` tells.
        """
        if self._writer is None or self._path == IN_MEMORY or not self._at_once_lock.acquire(blocking=False):
            raise WouldWait
        try:
            if self._at_once is None:
                self._at_once = self._connect(busy_seconds=0)
            connection = self._at_once
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise WouldWait from error
        finally:
            self._at_once_lock.release()

    @contextmanager
    def writing(self, *, deletes: bool = False) -> Generator[Connection, None, None]:
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
                deleted = deletes and connection.total_changes != before
                if deleted:
                    upkeep.count_deletion(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if deleted and self._path != IN_MEMORY:
                self._log_is_clean = upkeep.empty_log_soon(connection)
                self._upkeep.set(upkeep.SCRUB_DELAY_SECONDS)

    def close(self) -> None:
        """Finish the upkeep that is due, if nobody prevents it, and close all connections.

        No call may be running. Closing twice is fine.
        """
        self._upkeep.stop()
        with self._write_lock, self._open_lock, self._at_once_lock:
            self._closed = True
            writer, self._writer = self._writer, None
            readers, self._idle_readers = self._idle_readers, []
            if self._at_once is not None:
                readers.append(self._at_once)
                self._at_once = None
            for connection in readers:
                connection.close()
            if writer is None:
                return
            with closing(writer), suppress(sqlite3.Error):
                if self._path == IN_MEMORY:
                    return
                if upkeep.scrub_is_due(writer) and upkeep.file_bytes(writer) <= upkeep.CLOSING_SCRUB_BYTES:
                    upkeep.scrub(writer)
                upkeep.empty_log_soon(writer)

    def _opened(self) -> Connection:
        if self._writer is not None:
            return self._writer
        with self._open_lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the store was closed")
            if self._writer is None:
                self._writer = self._open()
            return self._writer

    def _open(self) -> Connection:
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
                # What a process that was killed left behind, deleted content included.
                upkeep.empty_log(connection, 0)
                if upkeep.scrub_is_due(connection):
                    self._upkeep.set(upkeep.OPENING_DELAY_SECONDS)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, busy_seconds: float | None = None) -> Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_seconds if busy_seconds is None else busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
        try:
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
        except BaseException:
            connection.close()
            raise
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

    def _keep_up(self) -> float | None:
        """One round of upkeep. Returns the seconds until the next, or `None` when nothing is left to do."""
        wait = 0.0
        done = False
        with self._write_lock, self._open_lock, suppress(sqlite3.Error):
            if self._writer is None or self._closed:
                return None
            wait = self._scrub_not_before - time.monotonic()
            if wait <= 0 and upkeep.scrub_is_due(self._writer):
                begun = time.monotonic()
                if upkeep.scrub(self._writer):
                    ended = time.monotonic()
                    self._scrub_not_before = ended + (ended - begun) / upkeep.SCRUB_SHARE
                self._log_is_clean = False
            if not self._log_is_clean:
                self._log_is_clean = upkeep.empty_log(self._writer, upkeep.TRY_SECONDS)
            done = self._log_is_clean and not upkeep.scrub_is_due(self._writer)
        if done:
            self._failures = 0
            return None
        if wait > 0 and self._log_is_clean:
            return wait
        self._failures += 1
        return min(upkeep.RETRY_SECONDS * 2 ** (self._failures - 1), upkeep.MAX_RETRY_SECONDS)


def _create_private_file(path: Path) -> None:
    """Make the file (0600) and its folder (0700) before SQLite would with wider permissions.

    Never opens a file that exists: closing that descriptor would drop the locks SQLite holds on it in this
    process.
    """
    with _create_lock:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        os.close(descriptor)


@contextmanager
def _translated() -> Generator[None, None, None]:
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise store_error(error) from error
