"""The SQLite file: how it is opened, shared between threads and processes, and kept free of what was deleted.

Everything here blocks, so it runs in worker threads, but for a short read: handing one to a thread beside a busy
event loop costs more than the read. It is tried on a connection that waits for nobody and gives up after
`SHORT_SECONDS`. One connection writes, a few read; a reading call sees one state of the file. A commit is on the disk
before it is answered (`synchronous=FULL`), so it survives a killed process and a power loss. `upkeep` removes deleted
content.

An open connection keeps using its file after somebody has moved or removed it, and what is written then is lost.
So each call checks that the files in the folder are still the ones that are open (device and inode). If they are
not, the connections are closed, the call fails, and the next one opens the file that is there.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reflexio_mcp import private_files
from reflexio_mcp.embedded_store import errors, schema, upkeep

logger = logging.getLogger(__name__)

IN_MEMORY: Final = ":memory:"
BUSY_SECONDS: Final = 10.0
"""How long a call waits for another process before it gives up."""

MAX_READERS: Final = 2
SHORT_SECONDS: Final = 0.001
"""When a read on the event loop is given up. It holds the loop up somewhat longer, with what SQLite does between two
looks at the clock and where another thread has its turn."""

STEPS_BETWEEN_LOOKS: Final = 100
"""Instructions of SQLite's machine between two looks at the clock: a few rows."""

SHORT_TEXT_BYTES: Final = 65_536
"""A row with a longer text is not read on the event loop."""

CACHE_KIBIBYTES: Final = 2000
"""Page cache a connection may grow to."""

WAL_LIMIT_BYTES: Final = 8 * 1024 * 1024

FileId = tuple[int, int] | None
"""Device and inode; `None` when there is no such file."""


class Connection(sqlite3.Connection):
    """A connection that keeps the last scan of sessions for the next page."""

    scan: object = None


class TakesLonger(Exception):
    """A read is not short, or has to wait: it belongs in a worker thread."""


class _Limit:
    """Ends what a connection does when its time is over."""

    until = 0.0

    def is_over(self) -> bool:
        return time.perf_counter() > self.until


@dataclass(eq=False)
class _OpenFile:
    """The connections to one file, and which files on the disk they belong to."""

    paths: tuple[str, ...]
    ids: tuple[FileId, ...]
    writer: Connection
    readers: list[Connection] = field(default_factory=list[Connection])
    short: list[Connection] = field(default_factory=list[Connection])
    """The connection for short reads, while none is made; none for a store in memory."""

    limit: _Limit = field(default_factory=_Limit)
    log_is_clean: bool = True


class Database:
    """One store file. Opens on first use; a failed opening is tried again on the next use.

    Args:
        path: the file, or `:memory:` for a store that dies with this object.
        busy_seconds: how long to wait for another process.
    """

    def __init__(self, path: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._in_memory = path == IN_MEMORY
        self._busy_seconds = busy_seconds
        self._open_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._read_slots = threading.BoundedSemaphore(MAX_READERS)
        self._file: _OpenFile | None = None
        self._upkeep = upkeep.Alarm(self._keep_up)
        self._scrub_not_before = 0.0
        self._failures = 0
        self._closed = False

    @contextmanager
    def reading(self) -> Generator[Connection, None, None]:
        """A connection that sees one state of the store.

        Raises:
            StoreBusy: another process held the file for too long.
            StoreFailed: the file cannot be used, or is not the one that was opened any more.
        """
        with _translated():
            file = self._opened()
            if self._in_memory:
                with self._write_lock:
                    yield file.writer
                return
            with self._read_slots:
                connection = file.readers.pop() if file.readers else self._connect()
                try:
                    self._check_in_place(file)
                    connection.execute("BEGIN")
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    with self._open_lock:
                        if self._file is file:
                            file.readers.append(connection)
                        else:
                            connection.close()

    @contextmanager
    def reading_at_once(self) -> Generator[Connection, None, None]:
        """As `reading`, for the event loop: one at a time, and without a lock or a file to wait for.

        Raises:
            TakesLonger: it would take too long. Whatever else is wrong, `reading` says.
        """
        file = self._file
        if file is None or not self._is_in_place(file):
            raise TakesLonger
        try:
            connection = file.short.pop()
        except IndexError:
            raise TakesLonger from None
        file.limit.until = time.perf_counter() + SHORT_SECONDS
        try:
            connection.execute("BEGIN")
            yield connection
        except (sqlite3.Error, OSError, OverflowError) as error:
            raise TakesLonger from error
        finally:
            file.limit.until = float("inf")
            file.short.append(connection)
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except sqlite3.Error:  # no transaction may stay open: from now on all reads have a thread
                _close_all(file.short)
            if self._file is not file:  # it was let go meanwhile, by another thread
                _close_all(file.short)

    @contextmanager
    def writing(self, *, deletes: bool = False) -> Generator[Connection, None, None]:
        """A connection inside a write transaction: committed and on the disk when the block ends, rolled back
        when it raises.

        Args:
            deletes: the block deletes content, so afterwards no file may hold it any more.

        Raises:
            StoreBusy: another process held the file for too long; nothing was changed.
            StoreFailed: the file cannot be used; nothing was changed unless it says otherwise.
        """
        with _translated(), self._write_lock:
            file = self._opened()
            self._check_in_place(file, writing=True)
            connection = file.writer
            connection.execute("BEGIN IMMEDIATE")
            before = connection.total_changes
            try:
                yield connection
                changed = connection.total_changes != before
                if deletes and changed:
                    upkeep.count_deletion(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if not changed or self._in_memory:
                return
            file.log_is_clean = False
            if not self._is_in_place(file):
                self._let_go(file)
                raise errors.written_elsewhere()
            if deletes:
                file.log_is_clean = upkeep.empty_log_soon(connection)
                self._upkeep.set(upkeep.SCRUB_DELAY_SECONDS)
            else:
                self._upkeep.set(upkeep.LOG_DELAY_SECONDS)

    def close(self) -> None:
        """Finish the upkeep that is due, if nobody prevents it, and close all connections.

        No call may be running. Closing twice is fine.
        """
        self._upkeep.stop()
        with self._write_lock:
            with self._open_lock:
                self._closed = True
                file = self._file
            if file is None:
                return
            if self._in_memory or not self._is_in_place(file):
                self._let_go(file)
                return
            with self._open_lock:
                self._file = None
            _close_all(file.readers)
            _close_all(file.short)
            with closing(file.writer) as writer, suppress(sqlite3.Error):
                if upkeep.scrub_is_due(writer) and upkeep.file_bytes(writer) <= upkeep.CLOSING_SCRUB_BYTES:
                    upkeep.scrub(writer)
                upkeep.empty_log_soon(writer)

    def _opened(self) -> _OpenFile:
        if self._file is not None:
            return self._file
        with self._open_lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the store was closed")
            if self._file is None:
                self._file = self._open()
            return self._file

    def _open(self) -> _OpenFile:
        if not self._in_memory:
            _make_private(Path(os.path.realpath(self._path)))
        paths = self._paths()
        before = _ids_on_disk(paths)
        connection = self._connect()
        try:
            version = schema.check(connection)
            if not self._in_memory:
                self._use_write_ahead_log(connection)
            if version < schema.SCHEMA_VERSION:
                schema.migrate(connection)
            if not self._in_memory:
                # What a process that was killed left behind, deleted content included.
                upkeep.empty_log(connection, 0)
                if upkeep.scrub_is_due(connection):
                    self._upkeep.set(upkeep.OPENING_DELAY_SECONDS)
            ids = _ids_on_disk(paths)
            if ids[:1] != before[:1]:
                raise errors.file_changed()
        except BaseException:
            connection.close()
            raise
        file = _OpenFile(paths, ids, connection)
        if not self._in_memory:
            with suppress(sqlite3.Error):  # without it, all reads have a thread
                file.short.append(self._connect())
                file.short[0].execute("PRAGMA busy_timeout = 0")
                file.short[0].setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SHORT_TEXT_BYTES)
                file.short[0].set_progress_handler(file.limit.is_over, STEPS_BETWEEN_LOOKS)
        return file

    def _paths(self) -> tuple[str, ...]:
        """Where SQLite has the database, its write-ahead log and the index of that log."""
        if self._in_memory:
            return ()
        # A link that leads elsewhere later leads to another database: that shows in the first of them.
        real = os.path.realpath(self._path)
        return self._path, f"{real}-wal", f"{real}-shm"

    def _is_in_place(self, file: _OpenFile) -> bool:
        return _ids_on_disk(file.paths) == file.ids

    def _check_in_place(self, file: _OpenFile, *, writing: bool = False) -> None:
        if self._is_in_place(file):
            return
        if writing:
            self._let_go(file)
        else:
            with self._write_lock:
                self._let_go(file)
        raise errors.file_changed()

    def _let_go(self, file: _OpenFile) -> None:
        """Close a file that is not in its place any more. The next call opens what is there. Takes the write lock."""
        with self._open_lock:
            if self._file is not file:
                return
            self._file = None
        _close_all(file.readers)
        _close_all(file.short)
        with closing(file.writer) as writer:
            if not self._in_memory:
                logger.warning("the store file was moved, replaced or removed while it was in use")
                if not file.log_is_clean:
                    # What was acknowledged goes with the file, wherever it is now. Left in the log, it would be
                    # lost or, worse, be taken for a part of the file that stands there now.
                    upkeep.empty_log(writer, upkeep.TRY_SECONDS)

    def _connect(self) -> Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_seconds,
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
                if not errors.is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _keep_up(self) -> float | None:
        """One round of upkeep. Returns the seconds until the next, or `None` when nothing is left to do."""
        wait = 0.0
        done = False
        with self._write_lock, suppress(sqlite3.Error):
            file = self._file
            if file is None or self._closed:
                return None
            if not self._is_in_place(file):
                # The next call says so. Until then, what was acknowledged is safe in the file that is open.
                file.log_is_clean = file.log_is_clean or upkeep.empty_log(file.writer, upkeep.TRY_SECONDS)
                return None
            wait = self._scrub_not_before - time.monotonic()
            if wait <= 0 and upkeep.scrub_is_due(file.writer):
                begun = time.monotonic()
                if upkeep.scrub(file.writer):
                    ended = time.monotonic()
                    self._scrub_not_before = ended + (ended - begun) / upkeep.SCRUB_SHARE
                file.log_is_clean = False
            if not file.log_is_clean:
                file.log_is_clean = upkeep.empty_log(file.writer, upkeep.TRY_SECONDS)
            done = file.log_is_clean and not upkeep.scrub_is_due(file.writer)
            if wait > 0 and file.log_is_clean and not done:
                return wait
        if done:
            self._failures = 0
            return None
        self._failures += 1
        return min(upkeep.RETRY_SECONDS * 2 ** (self._failures - 1), upkeep.MAX_RETRY_SECONDS)


def _close_all(connections: list[Connection]) -> None:
    with suppress(IndexError):
        while True:
            connections.pop().close()


def _ids_on_disk(paths: tuple[str, ...]) -> tuple[FileId, ...]:
    return tuple(map(_file_id, paths))


def _file_id(path: str) -> FileId:
    try:
        about = os.stat(path)  # noqa: PTH116 - twice for each call: a Path costs more than the look itself
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _make_private(path: Path) -> None:
    """Make the file and its folder for their owner alone, before SQLite would with wider permissions.

    Never opens a file that exists: closing that descriptor would drop the locks SQLite holds on it in this process.
    """
    private_files.make_folder(path.parent)
    beside = [path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm")]
    with private_files.locked(path.parent):
        if path.exists():
            for one in (path, *beside):
                private_files.restrict(one)
            return
        # They belong to a file that was moved or removed. A process that still has it open must not share them.
        for one in beside:
            one.unlink(missing_ok=True)
        os.close(private_files.create(path))


@contextmanager
def _translated() -> Generator[None, None, None]:
    try:
        yield
    except errors.StoreError:
        raise
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise errors.store_error(error) from error
